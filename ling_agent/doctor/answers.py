"""`Answer`: what one question brought, as the checks compare it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backends.base import Finished, ModelRequest
from ..hermes import ParsedCall, parse
from ..results import Usage
from .findings import one_line

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        text: What was generated; calls that the server has read are written back.
        content: The text without its calls, stripped.
        reasoning: What the server took for reasoning.
        calls: The calls, whoever read them.
        read_by_server: Calls that the server had read.
        lost: How the answer shows that a call was lost on the way; empty when it does not.
        cut: Whether the token limit ended it.
        usage: What it cost; estimated where the server does not say.
        usage_told: Whether the server said it.
        streamed: Whether it came in events.
        first: Seconds from the question to the first piece.
        last: Seconds from the question to the last piece.
        pieces: How many there were.
    """

    text: str
    content: str
    reasoning: str
    calls: tuple[ParsedCall, ...]
    read_by_server: int
    lost: str
    cut: bool
    usage: Usage
    usage_told: bool
    streamed: bool
    first: float
    last: float
    pieces: int

    @classmethod
    def read(
        cls,
        request: ModelRequest,
        finished: Finished,
        *,
        text: str,
        reasoning: str,
        bare_json: bool,
        streamed: bool,
        usage_told: bool,
        first: float,
        last: float,
        pieces: int,
    ) -> Answer:
        """Read the calls from the text."""
        cut = finished.finish_reason == "length"
        message = parse(
            text,
            tools=request.tools or None,
            bare_json=bare_json and bool(request.tools),
            finish_reason="length" if cut else "stop",
        )
        return cls(
            text=text,
            content=message.content.strip(),
            reasoning=reasoning,
            calls=tuple(message.calls),
            read_by_server=finished.read_by_server or 0,
            lost=finished.lost,
            cut=cut,
            usage=finished.usage,
            usage_told=usage_told,
            streamed=streamed,
            first=first,
            last=last,
            pieces=pieces,
        )

    @property
    def said(self) -> tuple[str, str, list[tuple[str, dict[str, Any]]]]:
        """What two equal answers have in common."""
        calls = [(call.name, call.arguments) for call in self.calls]
        return self.content, self.reasoning.strip(), calls

    @property
    def swallowed(self) -> bool:
        """Whether all of the answer came as reasoning; one that was cut may just not be there yet.

        What a backend reads from the reasoning is part of it.
        """
        return bool(self.reasoning) and not self.cut and self.text.strip() in self.reasoning

    def shown(self) -> str:
        """The answer in a few words."""
        if self.calls:
            return ", ".join(show_call(call) for call in self.calls)
        text = one_line(self.text or self.reasoning)
        if not text:
            return "nothing"
        return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def show_call(call: ParsedCall) -> str:
    """A call as one writes it."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    text = one_line(f"{call.name}({arguments})")
    return text if len(text) <= 2 * _SHOWN else text[: 2 * _SHOWN - 1] + "…"
