"""What the checks ask: greedy, small, and such that the right answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends.base import ModelRequest, NamedTool, ToolChoice
from ..hermes import ParsedCall
from ..limits import Sampling
from ..messages import UserMessage

_CALL_TOKENS = 256  # room for models that think first
_COPY_TOKENS = 48
_OPEN_TOKENS = 32
SPEED_TOKENS = 64

_LONG_LINES = 80
_SPEED_LINES = 20
_TOKENS_A_LINE = 24  # an upper bound; 19 with the tokenizer of Qwen2.5


def _tool(name: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": sorted(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TIME = _tool("get_time", "Local time of a city.", {"city": {"type": "string"}})
WEATHER = _tool(
    "get_weather",
    "Current weather of a city.",
    {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
)


def _asking(text: str, *tools: Mapping[str, Any], choice: ToolChoice = "auto") -> ModelRequest:
    return ModelRequest(
        (UserMessage(text),),
        tools=tools,
        sampling=Sampling(max_tokens=_CALL_TOKENS),
        tool_choice=choice,
    )


CALL = _asking("What is the weather in Paris, in celsius? Call get_weather.", TIME, WEATHER)
"""A call that any model which can call makes by itself."""

HELD = _asking(
    "What is the weather in Paris, in celsius? Call get_weather.", TIME, WEATHER, choice="required"
)
"""The same call, as a must."""

NAMED = _asking("What is the weather in Paris?", TIME, WEATHER, choice=NamedTool("get_time"))
"""A call that no model would make that is not forced to."""

OUTSIDE = _asking(
    "What is the weather in Paris, in kelvin? Call get_weather with the unit kelvin.",
    WEATHER,
    choice="required",
)
"""A call that would break its schema if nothing held it."""


OPEN = ModelRequest(
    (UserMessage("Write ten words, whichever come to your mind."),),
    sampling=Sampling(max_tokens=_OPEN_TOKENS),
)
"""A question with many good answers: a server that draws hardly gives one of them twice."""

SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "repetition_penalty",
    "repeat_penalty",
)
"""What a request leaves out that takes the server's own sampling."""


def is_valid(call: ParsedCall) -> bool:
    """Whether a call to one of the tools above satisfies its schema."""
    arguments = call.arguments
    if not isinstance(arguments.get("city"), str):
        return False
    if call.name == "get_time":
        return set(arguments) == {"city"}
    unit = arguments.get("unit")
    return set(arguments) == {"city", "unit"} and unit in ("celsius", "fahrenheit")


def copy_question() -> ModelRequest:
    """A short text to copy, without tools."""
    return _copy("short", 4, 2)


def long_question(nonce: str, window: int | None) -> ModelRequest:
    """Lines of which two are to be copied: about 1,500 tokens, less in a small window.

    The copy needs the state of the whole prompt, and its tokens are so likely that rounding does
    not change them: an answer that differs shows that the state did.

    Args:
        nonce: Begins the prompt.
        window: Tokens of prompt and answer together; None when unknown.
    """
    room = _LONG_LINES if window is None else (window - 2 * _COPY_TOKENS) // _TOKENS_A_LINE
    lines = max(min(_LONG_LINES, room), 4)
    return _copy(nonce, lines, lines * 2 // 5)


def speed_question(nonce: str) -> ModelRequest:
    """A prompt of some hundred tokens, and an answer that does not end before the token limit."""
    wanted = "Never mind the lines above. Write the numbers from 1 to 100, separated by commas."
    text = "\n".join([nonce, *_lines(_SPEED_LINES), "", wanted])
    return ModelRequest((UserMessage(text),), sampling=Sampling(max_tokens=SPEED_TOKENS))


def _copy(nonce: str, lines: int, wanted: int) -> ModelRequest:
    text = "\n".join(
        [
            nonce,
            *_lines(lines),
            "",
            f"Copy lines {wanted} and {wanted + 1} exactly as they are written above.",
        ]
    )
    return ModelRequest((UserMessage(text),), sampling=Sampling(max_tokens=_COPY_TOKENS))


def _lines(count: int) -> list[str]:
    return [
        f"Line {number}: the code of box {number} is {number * 7919 % 9000 + 1000}."
        for number in range(1, count + 1)
    ]
