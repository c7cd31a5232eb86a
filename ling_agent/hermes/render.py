"""Messages and tools to prompt text, byte for byte as the official templates render them.

The templates have names, see `.templates`: `ling2` is that of Ling 2.0, `chatml` the one of Qwen2.5
with its Hermes tool section. Differences to the templates are deliberate and few: tokens in user
and tool text are neutralised, an assistant message may carry the exact text that the model
generated (`raw`), and what the templates silently drop or garble is an error here. `PromptRenderer`
keeps the parts of a prompt, so that the next one of the same conversation costs only what is new in
it.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from .schema import as_list
from .templates import (
    BY_NAME,
    Message,
    Template,
    Tools,
    content_of,
    function_of,
    render_tool_response,
)
from .types import HermesError

T = TypeVar("T")

ROLES = ("system", "user", "assistant", "tool")

TEMPLATES = tuple(BY_NAME)
"""Names of the templates."""


def render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    template: str = "ling2",
    add_generation_prompt: bool = True,
    neutralise: bool = True,
) -> str:
    """The prompt for a conversation.

    Args:
        messages: OpenAI-style messages: `role` (system, user, assistant, tool), `content` (a
            string; None for an assistant that only calls), `tool_calls` with `arguments` as an
            object. An assistant message with `raw` is rendered as exactly that text.
        tools: OpenAI tool objects, rendered in the order given.
        template: One of `TEMPLATES`.
        add_generation_prompt: End with the header of the next assistant turn.
        neutralise: Break the format's own words in user, tool and re-rendered assistant text.

    Returns:
        The prompt text; what a tokenizer reads with special tokens enabled.

    Raises:
        HermesError: A message that the template could not render faithfully; one line says which.
    """
    renderer = PromptRenderer(
        _as_it_is,
        template=template,
        add_generation_prompt=add_generation_prompt,
        neutralise=neutralise,
    )
    return renderer.render(messages, tools)


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A prompt in parts.

    Attributes:
        messages: What it was made of.
        tools: The same.
        head: What stands in front of the messages.
        parts: The text of each message.
        query: Index of the last real user message, if any.
    """

    messages: Sequence[object] = ()
    tools: Tools = ()
    head: str | None = None
    parts: Sequence[str] = ()
    query: int | None = None


class PromptRenderer(Generic[T]):
    """Renders the prompts of one conversation: of each only what the last one did not have.

    The text is always that of `render`. Messages that are the same objects as in the last prompt,
    and tools, are taken to be unchanged. It may be used from several threads.

    Args:
        convert: Makes an OpenAI-style message of each of the caller's objects.
        template: As for `render`.
        add_generation_prompt: As for `render`.
        neutralise: As for `render`.

    Raises:
        HermesError: Unknown template.
    """

    def __init__(
        self,
        convert: Callable[[T], Message],
        *,
        template: str = "ling2",
        add_generation_prompt: bool = True,
        neutralise: bool = True,
    ) -> None:
        if template not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise HermesError(f'unknown template "{template}": one of {known}')
        self._convert = convert
        self._template = BY_NAME[template]
        self._safe = template if neutralise else None
        self._end = self._template.answer if add_generation_prompt else ""
        self._last = _Rendered()

    def render(self, messages: Sequence[T], tools: Tools | None = None) -> str:
        """The prompt for the conversation as it is now.

        Args:
            messages: The conversation.
            tools: OpenAI tool objects, rendered in the order given.

        Raises:
            HermesError: A message that the template could not render faithfully.
        """
        if not messages:
            raise HermesError("an empty conversation cannot be rendered: add a user message")
        last, tools = self._last, tuple(tools or ())
        kept = unchanged(last.messages, messages)
        if last.query is not None and last.query >= kept:
            last, kept = _Rendered(), 0  # which of the messages is the query now?
        new = [self._convert(message) for message in messages[kept:]]
        for at, message in enumerate(new, start=kept):
            _check(at, message)
        query = _last_query(new)
        query = last.query if query is None else kept + query
        # Not the newest one that is kept: its neighbour may be another one now. And reasoning is
        # no longer shown behind a query that is not the last one any more.
        start = max(kept - 1, 0)
        if last.query is not None and query != last.query:
            start = min(start, last.query + 1)
        before = max(start - 1, 0)
        shown = [*map(self._convert, messages[before:kept]), *new]
        parts = [*last.parts[:start], *self._parts(shown, before, start, query)]
        head = last.head if kept and tools == last.tools else None
        if head is None:
            head = self._template.head(self._convert(messages[0]), tools, self._safe)
        self._last = _Rendered(tuple(messages), tools, head, parts, query)
        return "".join((head, *parts, self._end))

    def _parts(
        self, messages: Sequence[Message], before: int, start: int, query: int | None
    ) -> list[str]:
        """The text of each message from ``start`` on; the first one given is number ``before``."""
        template, safe = self._template, self._safe
        roles = ["", *(message["role"] for message in messages), ""]
        parts: list[str] = []
        for at in range(start, before + len(messages)):
            message = messages[at - before]
            previous, role, following = roles[at - before : at - before + 3]
            if role == "tool":
                parts.append(_result(template, message, previous, following, safe))
            elif role == "system" and at == 0:
                parts.append("")  # it is in the head
            else:
                thinking = query is not None and at > query
                parts.append(template.message(message, safe, thinking, not following))
        return parts


def _as_it_is(message: Message) -> Message:
    return message


def unchanged(have: Sequence[object], want: Sequence[object]) -> int:
    """With how many of the same objects two sequences begin."""
    if all(map(operator.is_, have, want)):  # as it mostly is, and faster than to count
        return min(len(have), len(want))
    count = 0
    for same in map(operator.is_, have, want):
        if not same:
            break
        count += 1
    return count


def _result(
    template: Template, message: Message, previous: str, following: str, safe: str | None
) -> str:
    """One result; neighbouring results share a turn."""
    opener, closer = template.results
    before = "" if previous == "tool" else opener
    after = "" if following == "tool" else closer
    return f"{before}\n{render_tool_response(content_of(message, safe))}{after}"


def _last_query(messages: Sequence[Message]) -> int | None:
    """Index of the last real user message; the template shows reasoning only behind it."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            content = cast("str", messages[at]["content"])
            tool_results = ("<tool_response>", "</tool_response>")
            if not (content.startswith(tool_results[0]) and content.endswith(tool_results[1])):
                return at
    return None


# -- what the templates would drop or garble


def _check(at: int, message: Message) -> None:
    role = message.get("role")
    if role == "developer":
        raise HermesError(f"messages[{at}]: the template drops developer messages; use system")
    if role not in ROLES:
        raise HermesError(f"messages[{at}]: unknown role {role!r}; one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list | tuple):
        raise HermesError(f"messages[{at}]: content must be one string, not a list of parts")
    if not isinstance(content, str) and not (role == "assistant" and content is None):
        raise HermesError(f"messages[{at}]: content must be a string, not {type(content).__name__}")
    if role != "assistant":
        for key in ("tool_calls", "raw"):
            if message.get(key):
                raise HermesError(f"messages[{at}]: only assistant messages have {key}")
        return
    if not isinstance(message.get("raw"), str | None):
        raise HermesError(f"messages[{at}]: raw must be the generated text as a string")
    for number, call in enumerate(as_list(message.get("tool_calls"))):
        _check_call(f"messages[{at}].tool_calls[{number}]", call)


def _check_call(where: str, call: object) -> None:
    function = function_of(call)
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise HermesError(f"{where}: the function has no name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise HermesError(f"{where}: the arguments of {name} are not valid JSON") from None
    if not isinstance(arguments, Mapping):
        raise HermesError(f"{where}: the arguments of {name} must be an object")
