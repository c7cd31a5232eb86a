"""`Ask`: what a request of OpenAI's chat API means for an agent.

The last message, which is the user's, is the task; those before it are the conversation so far.
What has a meaning for an agent is taken over. What would be silently without effect is refused, and
so is a field that nobody knows, as OpenAI does it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..errors import ConfigurationError
from ..limits import Sampling
from ..memory import Trajectory
from ..messages import SystemMessage, UserMessage
from .refusals import RefusedError, invalid, unsupported

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
_MAX_TOKENS = ("max_completion_tokens", "max_tokens")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("auto", "none"),
    "function_call": ("auto", "none"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "reasoning_effort": (),
    "verbosity": (),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
"""Fields that are refused unless they have a value that changes nothing; null never does."""
_WHY = {
    "n": "an agent gives one answer, since its tools act once: send further requests",
    "stop": "an agent writes several messages, and it would end the wrong one: leave it out",
    "tools": "the agent brings its own tools, and nobody here can run yours: leave them out",
    "functions": "the agent brings its own tools, and nobody here can run yours: leave them out",
    "response_format": "the form of the answer is the agent's own (its output_type): leave it out",
    "store": "use a session (X-Session-Id) to have a conversation kept",
}
_SYSTEM = ("system", "developer")
_WITHOUT_EFFECT = "it would be without effect here: leave it out"
_FREE = ("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
_FREE_TOO = ("parallel_tool_calls", "prediction")
"""Fields that may have any value: nothing in the answer depends on them."""
_OWN = ("model", "messages", "stream", "stream_options")
_KNOWN = frozenset((*_OWN, *_SAMPLING, *_MAX_TOKENS, *_NEUTRAL, *_FREE, *_FREE_TOO))


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request.

    Attributes:
        model: Name of the agent.
        task: The last user message.
        system: System and developer messages, joined; empty when there are none.
        history: The other messages before the last, as OpenAI writes them.
        stream: Whether the answer is streamed.
        include_usage: Whether a streamed answer tells its usage.
        sampling: The fields of `Sampling` that were given.
    """

    model: str
    task: str
    system: str
    history: tuple[Mapping[str, Any], ...]
    stream: bool
    include_usage: bool
    sampling: Mapping[str, Any]

    @property
    def begins_with_more(self) -> bool:
        """Whether there is anything in front of the task."""
        return bool(self.system or self.history)

    def sampling_from(self, agents: Sampling) -> Sampling:
        """The agent's way of sampling with what the request says; its longest answer is a bound.

        Raises:
            RefusedError: A value that cannot be.
        """
        changes = dict(self.sampling)
        if "max_tokens" in changes:
            changes["max_tokens"] = min(changes["max_tokens"], agents.max_tokens)
        return _replaced(agents, changes)

    def log(self, instructions: str) -> Trajectory:
        """The conversation in front of the task, behind the agent's instructions.

        Raises:
            RefusedError: A message that is none.
        """
        trajectory = Trajectory()
        system = "\n\n".join(filter(None, (instructions, self.system)))
        if system:
            trajectory.append("instructions", SystemMessage(system))
        return _take_in(trajectory, self.history)


def read_ask(body: object) -> Ask:
    """Read the JSON of a request.

    Raises:
        RefusedError: It is none that can be answered; the error names the field.
    """
    data = an_object(body)
    for name in data:
        if name not in _KNOWN:
            raise RefusedError(
                400, f"{name}: there is no such field", code="unknown_parameter", param=name
            )
    for name, neutral in _NEUTRAL.items():
        if data.get(name) is not None and not _is_one_of(data[name], neutral):
            raise unsupported(name, _WHY.get(name, _WITHOUT_EFFECT))
    stream = a_flag(data, "stream")
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model: name the agent; /v1/models lists them", "model")
    system, history, task = _messages(data.get("messages"))
    return Ask(
        model=model,
        task=task,
        system=system,
        history=history,
        stream=stream,
        include_usage=_include_usage(data, stream),
        sampling=_sampling(data),
    )


def an_object(body: object) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RefusedError: It is another value.
    """
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    return cast("dict[str, Any]", body)


def a_flag(data: Mapping[str, Any], name: str) -> bool:
    """A field that is true, false or left out.

    Raises:
        RefusedError: It is another value.
    """
    value = data.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid(f"{name}: give true or false", name)
    return value


def _is_one_of(value: object, neutral: tuple[Any, ...]) -> bool:
    return any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in neutral
    )


def _include_usage(data: Mapping[str, Any], stream: bool) -> bool:
    options = data.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise invalid("stream_options: only for streamed answers (stream: true)", "stream_options")
    if not isinstance(options, dict):
        raise invalid("stream_options: give an object", "stream_options")
    given = cast("dict[str, Any]", options)
    for name in given:
        if name not in ("include_usage", "include_obfuscation"):
            raise unsupported(f"stream_options.{name}", _WITHOUT_EFFECT)
    return a_flag(given, "include_usage")


def _sampling(data: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: data[name] for name in _SAMPLING if data.get(name) is not None}
    bounds = {name: data[name] for name in _MAX_TOKENS if data.get(name) is not None}
    for name, value in bounds.items():
        _replaced(Sampling(), {"max_tokens": value}, name)
    if bounds:
        given["max_tokens"] = min(bounds.values())
    if given.get("temperature", 0) == 0 and "temperature" in given:
        given["temperature"] = 0.0
    _replaced(Sampling(), given)
    return given


def _replaced(sampling: Sampling, changes: Mapping[str, Any], name: str | None = None) -> Sampling:
    for each, value in changes.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(f"{name or each}: give a number", name or each)
        if not math.isfinite(value):  # Python's JSON reads Infinity, and 1e400 as it
            raise invalid(f"{name or each}: give a finite number", name or each)
        if each == "seed" and value % 1:
            raise invalid("seed: give a whole number", "seed")
    try:
        return dataclasses.replace(sampling, **changes)
    except ConfigurationError as error:  # it says which field and why, and nothing else
        told = str(error).removeprefix("Sampling.")
        param = name or told.split()[0]
        raise invalid(told if name is None else told.replace("max_tokens", name), param) from None


def _messages(given: object) -> tuple[str, tuple[Mapping[str, Any], ...], str]:
    """What the instructions add, the conversation so far, and the task."""
    if not isinstance(given, list) or not given:
        raise invalid("messages: give a list with at least one message", "messages")
    messages: list[Mapping[str, Any]] = []
    for number, message in enumerate(cast("list[Any]", given)):
        if not isinstance(message, dict):
            raise invalid(f"messages[{number}]: give an object", "messages")
        messages.append(cast("dict[str, Any]", message))
    *before, last = messages
    if last.get("role") != "user":
        raise invalid(
            "messages: the last one must be the user's: it is the agent's task. Results of tools "
            "are not taken, since the agent runs its own; to decide about calls that wait, see "
            "the answer's ling_agent.resume",
            "messages",
        )
    told = [message for message in before if message.get("role") in _SYSTEM]
    history = tuple(message for message in before if message.get("role") not in _SYSTEM)
    _take_in(Trajectory(), history)  # so that what cannot be read is refused before a run begins
    system = "\n\n".join(text for text in map(_text_of, told) if text)
    task = _text_of(last)
    if not task.strip():
        raise invalid("messages: the last one, which is the task, is empty", "messages")
    return system, history, task


def _text_of(message: Mapping[str, Any]) -> str:
    plain = _take_in(Trajectory(), [{"role": "user", "content": message.get("content")}])[0].message
    return plain.content if isinstance(plain, UserMessage) else ""


def _take_in(trajectory: Trajectory, messages: Any) -> Trajectory:
    from ..memory.exchange import from_openai_messages

    try:
        return from_openai_messages(trajectory, messages)
    except ConfigurationError as error:
        raise invalid(f"messages: {error}", "messages") from None
