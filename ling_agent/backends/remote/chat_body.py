"""A `ModelRequest` as the body of ``/v1/chat/completions``: the same bytes for the same request."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...hermes import neutralise
from ...hermes.grammar import structural_tag
from ...limits import Sampling
from ...messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    to_openai,
)
from ...profiles import Profile
from ..base import ModelRequest, NamedTool
from .answer_format import answer_fields
from .facts import ServerFacts
from .harmless import harmless_message
from .jsons import write_json
from .written import WrittenList

# What a system text may say of thinking, as the templates look for it.
_SWITCH = re.compile(r"detailed thinking (?:on|off)")
# Kinds whose template takes variables from a request; others may refuse the field.
_TAKE_VARIABLES = ("vllm", "sglang", "llama-server")
_OWN_DIALECT = (
    "calls are not held to their schema: the model writes them with <arg_key>, and this server "
    "could only force JSON; they are checked when they are read"
)


def chat_body(
    request: ModelRequest,
    facts: ServerFacts,
    profile: Profile,
    *,
    stream: bool,
    messages: WrittenList | None = None,
) -> dict[str, Any]:
    """The body.

    Args:
        request: What is asked.
        facts: Of the server that is asked.
        profile: Whose special tokens are broken in user and tool text: no server does that; and
            whose thinking is switched.
        stream: Whether the answer comes in events.
        messages: Those of the request, where they are JSON already.
    """
    facts = in_dialect(facts, profile)
    body: dict[str, Any] = {
        "model": facts.model,
        "messages": chat_messages(request.messages, facts, profile)
        if messages is None
        else messages,
        **template_fields(facts, profile),
        **sampling_fields(request.sampling, facts),
        "stream": stream,
    }
    if stream:
        body |= stream_options(facts)
        if facts.kind == "llama-server" and request.watched:
            body["return_progress"] = True  # documented for its streams
    if request.tools:
        body |= _tools(request, facts)
    return body | answer_fields(request, facts, profile)


def in_dialect(facts: ServerFacts, profile: Profile) -> ServerFacts:
    """The facts without what would force the model's calls into JSON, where it writes them
    otherwise; the same object where nothing does.

    Our structural tag and the grammars of ``strict`` and ``required`` know JSON only. llama-server
    makes its grammar from the model's template, and keeps it.
    """
    if profile.dialect == "json" or facts.kind not in ("vllm", "sglang"):
        return facts
    if facts.constraint == "none" and not facts.forces_calls:
        return facts
    return facts.with_note(_OWN_DIALECT, constraint="none", forces_calls=False)


def template_fields(facts: ServerFacts, profile: Profile) -> dict[str, Any]:
    """What the server's chat template is told about thinking; empty where nothing."""
    variables = profile.template_variables
    if not variables or facts.kind not in _TAKE_VARIABLES:
        return {}
    return {"chat_template_kwargs": variables}


def sampling_fields(sampling: Sampling, facts: ServerFacts) -> dict[str, Any]:
    """Every setting that the server knows, explicitly: what is left out it takes from elsewhere."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        facts.max_tokens_name: sampling.max_tokens,
        "seed": sampling.seed,
    }
    if facts.every_sampling_field:
        fields["top_k"] = sampling.top_k or (-1 if facts.kind == "sglang" else 0)
        fields["min_p"] = sampling.min_p
        name = "repeat_penalty" if facts.kind == "llama-server" else "repetition_penalty"
        fields[name] = sampling.repetition_penalty
    return fields


def stream_options(facts: ServerFacts, *, running: bool = False) -> dict[str, Any]:
    """What makes a stream say what it cost.

    Args:
        facts: Of the server.
        running: Whether with each event, for answers that are left in the middle.
    """
    if not facts.usage_in_stream:
        return {}
    options = {"include_usage": True}
    if running and facts.running_usage:
        options["continuous_usage_stats"] = True
    return {"stream_options": options}


def constraint(request: ModelRequest) -> dict[str, Any] | None:
    """The structural tag of a request; None when nothing is to be constrained."""
    if not request.tools or request.tool_choice == "none":
        return None
    choice = request.tool_choice
    only = choice.name if isinstance(choice, NamedTool) else None
    return structural_tag(request.tools, only=only, at_least_one=choice != "auto")


def _tools(request: ModelRequest, facts: ServerFacts) -> dict[str, Any]:
    choice = request.tool_choice
    strict = facts.constraint == "strict"  # in each request: it may be shown in the prompt
    if choice == "none":
        # SGLang then leaves the tools out of the prompt, and the whole prefix would change.
        shown = "auto" if facts.kind == "sglang" else "none"
        return {"tools": _declared(request.tools, strict=strict), "tool_choice": shown}
    if facts.constraint == "structured_outputs":
        # Our own tag also where a call is a must: vLLM's `required` takes no line break between
        # two calls, and answers with a list that its own parser reads.
        tag = write_json(constraint(request)).decode()
        return {
            "tools": _declared(request.tools, strict=False),
            "structured_outputs": {"structural_tag": tag},
            **_choice("auto", facts),
        }
    tools = request.tools
    if isinstance(choice, NamedTool) and not facts.named_choice:
        tools = tuple(tool for tool in tools if tool["function"]["name"] == choice.name)
        choice = "required"
    shown: Any = choice
    if isinstance(choice, NamedTool):
        shown = {"type": "function", "function": {"name": choice.name}}
    return {
        "tools": _declared(tools, strict=strict),
        **_choice(shown if facts.forces_calls else "auto", facts),
    }


def _choice(choice: Any, facts: ServerFacts) -> dict[str, Any]:
    if facts.tool_parser:
        return {"tool_choice": choice}
    # The tools stay in the prompt, and the text comes as it was generated.
    shown = "auto" if facts.kind == "sglang" else "none"
    return {"tool_choice": shown, "skip_special_tokens": False}


def _declared(tools: Sequence[Mapping[str, Any]], *, strict: bool) -> list[Any]:
    if not strict:
        return list(tools)
    return [{**tool, "function": {**tool["function"], "strict": True}} for tool in tools]


def chat_messages(
    messages: Sequence[Message], facts: ServerFacts, profile: Profile, *, first: bool = True
) -> list[dict[str, Any]]:
    """The conversation as servers take it.

    Arguments become JSON text. An observation that answers no call of the message before it (the
    call could not be read, so it is not in the history) is said by the user, behind the others:
    servers refuse it, or match it to another call.

    Args:
        messages: The conversation, or what follows in it from an assistant message on.
        facts: Of the server.
        profile: Of the model; its switch of thinking is put into the first system message.
        first: Whether the conversation begins here.
    """
    shown: list[dict[str, Any]] = []
    if first and messages and profile.system_switch:
        messages = switched(messages, profile.system_switch)
    known: set[str] = set()
    waiting: list[dict[str, Any]] = []
    for given in messages:
        message = harmless_message(given, profile.template)
        if isinstance(message, ToolMessage) and message.call_id not in known:
            waiting.append(
                {"role": "user", "content": neutralise(message.content, profile.template)}
            )
            continue
        if not isinstance(message, ToolMessage):
            shown += waiting
            waiting = []
        if isinstance(message, AssistantMessage):
            known = {call.id for call in message.calls}
            shown.append(_assistant(message, facts))
        elif isinstance(message, UserMessage | ToolMessage):
            safe = neutralise(message.content, profile.template)
            shown.append(to_openai(dataclasses.replace(message, content=safe)))
        else:
            shown.append(to_openai(message))
    return shown + waiting


def switched(messages: Sequence[Message], switch: str) -> Sequence[Message]:
    """The conversation whose first system message says so, unless it speaks of that already.

    It depends on the first message alone, so that the beginning of a prompt never changes.
    """
    head = messages[0]
    if not isinstance(head, SystemMessage):
        return (SystemMessage(switch), *messages)
    if _SWITCH.search(head.content):
        return messages
    text = f"{head.content}\n{switch}" if head.content else switch
    return (dataclasses.replace(head, content=text), *messages[1:])


def _assistant(message: AssistantMessage, facts: ServerFacts) -> dict[str, Any]:
    data = to_openai(message)
    data.pop("raw", None)
    reasoning = data.pop("reasoning_content", None)
    if reasoning and facts.kind in ("vllm", "sglang", "llama-server"):
        data["reasoning" if facts.kind == "vllm" else "reasoning_content"] = reasoning
    for call in data.get("tool_calls", ()):
        function = call["function"]
        call["function"] = {**function, "arguments": write_json(function["arguments"]).decode()}
    return data
