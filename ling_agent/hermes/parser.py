"""The incremental parser: a small machine of modes over text that arrives in any chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .block import Block
from .modes import Reasoning, Start, Text, after_block
from .session import Mode, Session
from .types import (
    CallFailed,
    CallParsed,
    ParsedCall,
    ParsedMessage,
    ParserEvent,
    ReasoningDelta,
    TextDelta,
)


class HermesParser:
    """Reads one model message as it streams in.

    Any chunking gives the same calls, errors, content and reasoning. The cost is linear in the
    text; what is held back is at most a partial tag, white space, or a possible bare call.

    Args:
        tools: OpenAI tool objects; with them, names are checked and values may be coerced. None
            accepts every name.
        starts_in_reasoning: The prompt already ended with `<think>`.
        bare_json: Take a message that is nothing but call objects as calls (Qwen2.5-Coder).
    """

    def __init__(
        self,
        tools: Iterable[Mapping[str, Any]] | None = None,
        starts_in_reasoning: bool = False,
        bare_json: bool = False,
    ) -> None:
        self._session = Session(tools, bare_json, after_block, Text)
        self._mode: Mode = Start()
        if starts_in_reasoning:
            self._mode = Reasoning()
            self._session.emitter.open_reasoning()

    def feed(self, chunk: str) -> list[ParserEvent]:
        """Read a chunk; return what it made certain.

        Raises:
            RuntimeError: `finish` was called before.
        """
        session, mode = self._session, self._mode
        if session.final:
            raise RuntimeError("feed() after finish(): use a new HermesParser for each message")
        if not chunk:
            return []
        if session.exhausted and type(mode) is Block and mode.take(session, chunk):
            return session.emitter.take()
        session.append(chunk)
        return self._run()

    def finish(self, finish_reason: str = "stop") -> list[ParserEvent]:
        """End the message; `length` says that the token limit cut it. Further calls do nothing."""
        session = self._session
        if session.final:
            return []
        session.final = True
        session.length = finish_reason == "length"
        events = self._run()
        session.emitter.finish()
        return events + session.emitter.take()

    def _run(self) -> list[ParserEvent]:
        session = self._session
        mode: Mode | None = self._mode
        while mode is not None:
            self._mode = mode
            mode = mode.step(session)
        return session.emitter.take()


def parse(
    text: str,
    *,
    tools: Iterable[Mapping[str, Any]] | None = None,
    starts_in_reasoning: bool = False,
    bare_json: bool = False,
    finish_reason: str = "stop",
) -> ParsedMessage:
    """Read a whole model message; the arguments are those of `HermesParser`. Never raises."""
    parser = HermesParser(tools, starts_in_reasoning, bare_json)
    return collect([*parser.feed(text), *parser.finish(finish_reason)])


def collect(events: Iterable[ParserEvent]) -> ParsedMessage:
    """All events of one message as one value."""
    content: list[str] = []
    reasoning: list[str] | None = None
    calls: list[ParsedCall] = []
    errors: list[CallFailed] = []
    for event in events:
        if isinstance(event, TextDelta):
            content.append(event.text)
        elif isinstance(event, ReasoningDelta):
            reasoning = reasoning or []
            reasoning.append(event.text)
        elif isinstance(event, CallParsed):
            calls.append(
                ParsedCall(event.index, event.id, event.name, event.arguments, event.repairs)
            )
        elif isinstance(event, CallFailed):
            errors.append(event)
    joined = None if reasoning is None else "".join(reasoning)
    return ParsedMessage("".join(content), joined, calls, errors)
