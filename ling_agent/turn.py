"""One model turn: a request goes out, events come back, a message is read.

This is the one place where text becomes calls, for every backend. The chunks pass the plan
splitter, then the Hermes parser; call ids are made unique within the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .backends.base import (
    Backend,
    Finished,
    FinishReason,
    ModelRequest,
    PrefillChunk,
    ReasoningChunk,
    TextChunk,
)
from .errors import BackendUnavailable
from .events import Emit, PrefillProgress
from .hermes import (
    ArgumentsDelta,
    CallFailed,
    CallParsed,
    CallStarted,
    HermesParser,
    ParserEvent,
    ReasoningDelta,
    TextDelta,
)
from .messages import AssistantMessage, ToolCall
from .planning import CallOpening, PlanSplitter
from .results import Usage

_THINK = "<think>"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model wrote in one turn.

    Attributes:
        message: For the trajectory; its ``content`` holds the whole visible text.
        answer: The visible text without the plan, stripped.
        plan: Text of the plan that the message began with; empty when there was none.
        failures: Blocks that looked like calls and could not be read, by their index.
        finish_reason: Why the model stopped.
        usage: Cost of the request.
        opened_call: Whether it opened with a call and was given up there, unread.
        lost: How the answer shows that a call was lost between the model and here; empty when it
            does not.
        arguments_lost: Whether what was lost are a call's arguments.
        read_by_server: Calls that the server had read itself; None when it delivers text.
        notes: What was degraded for this answer.
        weights: See `Finished`.
        whole: Whether the model has ended it; otherwise somebody has stopped it, and its cost is
            not known.
    """

    message: AssistantMessage
    answer: str
    plan: str
    failures: dict[int, CallFailed]
    finish_reason: FinishReason
    usage: Usage
    opened_call: bool = False
    lost: str = ""
    arguments_lost: bool = False
    read_by_server: int | None = None
    notes: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    whole: bool = True


class FirstCall:
    """Says when the first call of a message is complete, for `ModelRequest.stop_when`.

    Small models write on behind a call with calls that they make up before they have seen its
    result; a planned message ends where its call does.

    Args:
        prefill: What the message begins with.
        tools: OpenAI tool objects.
        bare_json: As for the parser.
        starts_in_reasoning: As for the parser.
    """

    def __init__(
        self,
        prefill: str,
        tools: Sequence[Mapping[str, Any]],
        *,
        bare_json: bool,
        starts_in_reasoning: bool = False,
    ) -> None:
        self._splitter = _splitter(starts_in_reasoning)
        self._parser = HermesParser(list(tools), starts_in_reasoning, bare_json)
        self(prefill)

    def __call__(self, piece: str) -> bool:
        """Take a piece; whether a call is complete, readable or not, with it."""
        events = self._parser.feed(self._splitter.feed(piece))
        return any(isinstance(event, CallParsed | CallFailed) for event in events)


class TurnReader:
    """Asks once and collects one message from its chunks, emitting what it reads; used once.

    Args:
        request: What is asked.
        step: Number of the model request, part of the call ids (``call_<step>_<index>``).
        bare_json: Whether a message that is nothing but a JSON call counts as one.
        keep_raw: Whether the generated text is kept for later prompts, byte for byte.
        emit: Takes the events.
        on_plan: Takes the text of a leading plan as soon as it is complete.
        unless_call: Give a message up that opens with a call: nothing of it is read or emitted.
        only_plan: Leave out what is behind the plan; for a message that is known to begin with one.
        on_call: Takes each call as soon as it is complete, while the model writes on.
        repairs: What was repaired in calls that are written already, by their index.
        starts_in_reasoning: The prompt ends inside ``<think>``, see `Profile.starts_in_reasoning`;
            only of prompts that are rendered here it is known.

    Attributes:
        request: What is asked.
    """

    def __init__(
        self,
        request: ModelRequest,
        *,
        step: int,
        bare_json: bool,
        keep_raw: bool,
        emit: Emit,
        on_plan: Callable[[str], Awaitable[None]],
        unless_call: bool = False,
        only_plan: bool = False,
        on_call: Callable[[ToolCall], Awaitable[None]] | None = None,
        repairs: Mapping[int, tuple[str, ...]] | None = None,
        starts_in_reasoning: bool = False,
    ) -> None:
        self._parser = HermesParser(request.tools or None, starts_in_reasoning, bare_json)
        self._splitter = _splitter(starts_in_reasoning)
        self._opened = _THINK if starts_in_reasoning else ""
        self.request = request
        self._keep_raw = keep_raw
        self._step = step
        self._emit = emit
        self._on_plan = on_plan
        self._plan_told = False
        self._opening = CallOpening() if unless_call else None
        self._given_up = False
        self._only_plan = only_plan
        self._on_call = on_call
        self._repairs = repairs or {}
        self._left_out = 0
        self._raw: list[str] = []
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._failures: dict[int, CallFailed] = {}

    @property
    def partial(self) -> str:
        """What was generated so far, as it was written."""
        return "".join(self._raw)

    @property
    def said(self) -> str:
        """The visible text so far, without the plan, stripped."""
        return "".join(self._content).strip()

    async def read(self, backend: Backend) -> Turn:
        """Send the request and return the message.

        Raises:
            BackendError: As the backend raises it, or its stream ended too early; `partial` then
                holds what came before.
        """
        finished: Finished | None = None
        async with backend.stream(self.request) as chunks:
            async for chunk in chunks:
                match chunk:
                    case TextChunk(text):
                        await self._text(text)
                    case ReasoningChunk(text):
                        await self._events([ReasoningDelta(text)])
                    case PrefillChunk(tokens, total):
                        await self._emit(PrefillProgress(tokens, total))
                    case Finished():
                        finished = chunk
        if finished is None:
            raise BackendUnavailable(
                f"{backend.name} broke off its answer without saying why: ask again"
            )
        return await self._ended(finished)

    async def take(self, text: str, finished: Finished) -> Turn:
        """The message that is written already, by requests aside.

        Args:
            text: As it stands in the next prompt.
            finished: How the last of those requests ended.
        """
        await self._text(text)
        return await self._ended(finished)

    async def _ended(self, finished: Finished) -> Turn:
        if not self._given_up:
            await self._finish(finished.finish_reason)
        return self._turn(finished)

    def broken_off(self) -> Turn:
        """The message as far as it came, when it was stopped; `read` has not returned then."""
        if not self._given_up and not self._only_plan:
            behind = self._parser.feed(self._splitter.finish()) + self._parser.finish("length")
            self._content += [event.text for event in behind if isinstance(event, TextDelta)]
            unfinished = any(isinstance(event, CallFailed) for event in behind)
            text = self._opened + self.partial
            thinks = text.rfind(_THINK) > text.rfind("</think>")
            self._keep_raw = self._keep_raw and not unfinished and not thinks
        turn = self._turn(Finished("length", Usage()))
        return dataclasses.replace(turn, failures={}, lost="", whole=False)

    async def _text(self, text: str) -> None:
        self._raw.append(text)
        if self._opening is not None and self._opening(text):
            self._given_up = True
        if self._given_up:
            return
        await self._behind_plan(self._splitter.feed(text))

    async def _behind_plan(self, text: str) -> None:
        await self._tell_plan()
        if self._only_plan:
            self._left_out += len(text)
        elif text:
            await self._events(self._parser.feed(text))

    async def _tell_plan(self) -> None:
        if not self._plan_told and self._splitter.complete:
            self._plan_told = True
            if self._splitter.plan:
                await self._on_plan(self._splitter.plan)

    async def _finish(self, finish_reason: FinishReason) -> None:
        await self._behind_plan(self._splitter.finish())
        reason = "length" if finish_reason == "length" else "stop"
        await self._events(self._parser.finish(reason))

    async def _events(self, events: Sequence[ParserEvent]) -> None:
        told: list[ParserEvent] = []
        complete: list[ToolCall] = []
        for event in events:
            match event:
                case TextDelta(text):
                    self._content.append(text)
                case ReasoningDelta(text):
                    self._reasoning.append(text)
                case CallStarted(index) | CallParsed(index):
                    event = dataclasses.replace(event, id=f"call_{self._step}_{index}")
                    if isinstance(event, CallParsed):
                        repairs = (*event.repairs, *self._repairs.get(index, ()))
                        event = dataclasses.replace(event, repairs=repairs)
                        call = ToolCall(event.id, event.name, event.arguments, event.repairs)
                        self._calls.append(call)
                        complete.append(call)
                case CallFailed(index):
                    self._failures[index] = event
                case ArgumentsDelta():
                    pass
            told.append(event)
        if told:
            await self._emit(*told)
        for call in complete:
            if self._on_call is not None:
                await self._on_call(call)

    def _turn(self, finished: Finished) -> Turn:
        answer = self.said
        plan = self._splitter.plan
        content = f"Plan: {plan}\n\n{answer}".strip() if plan else answer
        message = AssistantMessage(
            content=content,
            reasoning="".join(self._reasoning) or None,
            calls=tuple(self._calls),
            raw=self._text_to_repeat() if self._keep_raw else None,
        )
        whole = not (self._given_up or message.calls or self._failures)
        return Turn(
            message,
            answer,
            plan,
            self._failures,
            finished.finish_reason,
            finished.usage,
            opened_call=self._given_up,
            lost=finished.lost if whole else "",
            arguments_lost=finished.arguments_lost,
            read_by_server=finished.read_by_server,
            notes=finished.notes,
            weights=finished.weights,
        )

    def _text_to_repeat(self) -> str:
        text = "".join(self._raw)
        return text[: -self._left_out].rstrip() if self._left_out else text


def _splitter(starts_in_reasoning: bool) -> PlanSplitter:
    """For a message of which ``<think>`` may be given already: a thought is no plan."""
    splitter = PlanSplitter()
    splitter.feed(_THINK if starts_in_reasoning else "")
    return splitter
