"""`Sender`: the requests of one run; each is counted, traced, and sent again when it did not fit.

A request is the trajectory's conversation as it is when it is sent, so each request extends the one
before it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .backends.base import Finished, ModelInfo, ModelRequest, ToolChoice
from .cancellation import stopped_by
from .context import Context
from .errors import BackendError, ContextOverflow
from .events import Emit, Event
from .ledger import Ledger
from .limits import Sampling
from .memory.journal import Journal
from .memory.window import bytes_of
from .messages import Message, SystemMessage, ToolCall, UserMessage
from .results import Usage
from .setup import RunSetup
from .tracing import NO_TRACE, RunTrace
from .turn import Turn, TurnReader

_MAX_REFUSED = 3  # sizes are estimates: what is learned from a refusal may not be enough yet


class AsideStopped(Exception):  # noqa: N818 - it is no error
    """Raised when a question aside is stopped: its answer is none of the run's, nothing is kept."""


class Sender:
    """Sends requests for one run; used by one task at a time.

    Args:
        setup: Backend, limits, the form of the answer.
        context: The conversation and the tools that are sent, kept within the model's window.
        journal: The log, for what requests cost; its name is that of the backend's prefix cache.
        ledger: Where requests are counted, from when they are sent.
        emit: Takes the events.
        on_plan: Takes the text of a plan with which a message begins, with its step.
        on_call: Takes the calls of a message while it is written, with their step.

    Attributes:
        sampling: Of this step, as hooks have left it.
        trace: Takes the requests.
        info: What the backend serves, once that is known.
        notes: What was degraded or decided on the way, one line each.
    """

    def __init__(
        self,
        setup: RunSetup,
        context: Context,
        journal: Journal,
        ledger: Ledger,
        emit: Emit,
        on_plan: Callable[[int, str], Awaitable[None]],
        on_call: Callable[[int, ToolCall], Awaitable[None]] | None = None,
    ) -> None:
        self._setup = setup
        self._context = context
        self._trajectory = journal.trajectory
        self._run_id = journal.run_id
        self._ledger = ledger
        self._emit = emit
        self._on_plan = on_plan
        self._on_call = on_call
        self._reader: TurnReader | None = None
        self.sampling = setup.sampling
        self.trace: RunTrace = NO_TRACE
        self.info: ModelInfo | None = None
        self.notes: list[str] = []

    @property
    def partial(self) -> str:
        """What was generated of a message that was not finished, as it was written."""
        return self._reader.partial if self._reader is not None else ""

    @property
    def said(self) -> str:
        """What there is of an answer that was not finished: without plan, reasoning and calls."""
        return self._reader.said if self._reader is not None else ""

    async def request(
        self,
        sampling: Sampling,
        *,
        prefill: str = "",
        stop_when: Callable[[str], bool] | None = None,
        tool_choice: ToolChoice = "auto",
        whole: bool = False,
        unless_call: bool = False,
        plan_known: bool = False,
        only_plan: bool = False,
        only_first_call: bool = False,
        quiet: bool = False,
    ) -> Turn:
        """Send one request and read what comes.

        Args:
            unless_call: Give the message up when it opens with a call.
            plan_known: The plan in the prefill was taken already.
            only_plan: Cut off what begins behind the plan.
            only_first_call: No other call of the message will be used.
            quiet: Tell nobody of it: the message is `written` once it is known.
        """
        renders = self._setup.backend.renders_prompts
        step = self._ledger.step
        wish: dict[str, Any] = {"tool_choice": tool_choice, "whole": whole}
        if self.prefills:
            wish |= {"prefill": prefill, "stop_when": stop_when}
        # Behind a plan comes its call; the answer's form is for messages of which nothing is given.
        if not (prefill or only_plan):
            wish["answer_schema"] = self._setup.answer.schema

        async def offer(call: ToolCall) -> None:
            used = call.id == f"call_{step}_0" or not only_first_call
            if self._on_call is not None and used and not quiet:
                await self._on_call(step, call)

        async def adopt(plan: str) -> None:
            if not (plan_known or quiet):
                await self._on_plan(step, plan)

        def reader() -> TurnReader:
            return TurnReader(
                self._model_request(sampling, **wish),
                step=step,
                bare_json=self.bare_json,
                keep_raw=renders,
                emit=_nobody if quiet else self._emit,
                on_plan=adopt,
                unless_call=unless_call and self.prefills,
                only_plan=only_plan and self.prefills,
                on_call=offer,
                starts_in_reasoning=self._starts_in_reasoning,
            )

        try:
            turn = await self._send(reader)
        finally:
            self._ledger.settle()
        self._learn(turn)
        return turn

    def _model_request(self, sampling: Sampling, **wish: Any) -> ModelRequest:
        """The conversation and the tools as they are now, with what is wished for."""
        return ModelRequest(
            messages=self._context.messages(),
            tools=tuple(self._context.tools.schemas),
            sampling=sampling,
            conversation=self._run_id,
            watched=self._setup.watched,
            **wish,
        )

    async def _send(self, reader: Callable[[], TurnReader]) -> Turn:
        """Read the answer to a request, or what there is of it when it is stopped; another request
        is made when it did not fit.
        """
        refused = 0
        while True:
            self._reader = reading = reader()
            if self._setup.cancel.stopped:
                self._ledger.charge(Usage())
                return reading.broken_off()
            if not refused:
                self._ledger.charge(Usage(requests=1))
            try:
                with stopped_by(self._setup.cancel):
                    turn = await self._traced(reading)
                    break
                return reading.broken_off()
            except ContextOverflow as error:
                refused += 1
                if reading.partial or refused > _MAX_REFUSED:
                    raise
                if not await self._context.overflowed(self._ledger.step, error):
                    raise
        self._ledger.charge(dataclasses.replace(turn.usage, requests=turn.usage.requests - 1))
        return turn

    async def _traced(self, reading: TurnReader) -> Turn:
        with self.trace.model(reading.request, self.info, self._ledger.step) as answered:
            turn = await reading.read(self._setup.backend)
            answered(turn)
            return turn

    async def written(
        self,
        text: str,
        finished: Finished,
        *,
        repairs: Mapping[int, tuple[str, ...]],
        plan_known: bool,
    ) -> Turn:
        """The message that requests aside have written, told as if it had come now.

        Args:
            text: As it stands in the next prompt.
            finished: How the last of those requests ended.
            repairs: What was repaired in its calls, by their index.
            plan_known: The plan with which it begins was taken already.
        """
        step = self._ledger.step

        async def offer(call: ToolCall) -> None:
            if self._on_call is not None:
                await self._on_call(step, call)

        async def adopt(plan: str) -> None:
            if not plan_known:
                await self._on_plan(step, plan)

        self._reader = TurnReader(
            self._model_request(self.sampling),
            step=step,
            bare_json=self.bare_json,
            keep_raw=True,
            emit=self._emit,
            on_plan=adopt,
            on_call=offer,
            repairs=repairs,
        )
        return await self._reader.take(text, finished)

    async def aside(
        self,
        note: str = "",
        *,
        shown: Sequence[Message] = (),
        max_tokens: int | None = None,
        step: int | None = None,
        **wish: Any,
    ) -> Turn | None:
        """What the model answers behind the live prompt to a question that is not kept.

        Nobody is told, and its cost is counted but not written down: see `charge`.

        Args:
            note: The question; empty to have the conversation itself answered.
            shown: Messages that stand before the newest one, as if they had been said.
            max_tokens: Of the answer, at most.
            step: For which it is made; by default this one.
            **wish: Of the `ModelRequest`.

        Returns:
            The answer; None where a token limit forbids it.

        Raises:
            AsideStopped: The run is to end while it is asked.
            ContextOverflow: It does not fit.
            BackendError: The model cannot be asked.
        """
        if self._setup.cancel.stopped:
            raise AsideStopped
        limited = self._ledger.left.tokens < math.inf
        prompt = await self._context.total(exact_above=0) if limited else 0
        more = sum(bytes_of(text) for text in (note, *(each.content for each in shown)))
        sampling = await self.affordable(prompt + self._context.tokens(more))
        if sampling is None:
            return None
        if max_tokens is not None:
            most = min(max_tokens, sampling.max_tokens)
            sampling = dataclasses.replace(sampling, max_tokens=most)
        request = dataclasses.replace(self._model_request(sampling, **wish), watched=False)
        request = _with(request, shown, note)
        step = self._ledger.step if step is None else step
        reader = TurnReader(
            request,
            step=self._ledger.step,
            bare_json=False,
            keep_raw=True,
            emit=_nobody,
            on_plan=_known_plan,
            starts_in_reasoning=self._starts_in_reasoning,
        )
        self._ledger.charge(Usage(requests=1), step)
        try:
            # Not as other requests are sent: what it has said is no part of an answer, and when it
            # does not fit there is nothing to compact, for that may be what it is about.
            with stopped_by(self._setup.cancel) as stopping:
                turn = await self._traced(reader)
        finally:
            self._ledger.settle()
        if stopping.cancelled_caught:
            raise AsideStopped
        rest = dataclasses.replace(turn.usage, requests=turn.usage.requests - 1)
        self._ledger.charge(rest, step)
        for text in turn.notes:
            self.note(text)
        return turn

    async def digest(self, note: str, max_tokens: int) -> str | None:
        """What the model answers behind the live prompt to a note that is not kept.

        Raises:
            AsideStopped: It was told to say no more.
        """
        step = self._ledger.step + 1  # it is made for the next one
        try:
            turn = await self.aside(note, max_tokens=max_tokens, step=step, tool_choice="none")
        except BackendError as error:
            self.note(f"no record of the dropped steps was written: {error}")
            return None
        if turn is None:
            return None
        self.charge(turn.usage, digest=True)
        whole = turn.finish_reason != "length" and not turn.message.calls and not turn.failures
        return turn.message.content if whole else None

    def charge(self, usage: Usage, **more: Any) -> None:
        """Write what a request has cost into the trajectory, and more about it.

        A message that only requests aside have written has cost nothing more.
        """
        self._reader = None
        if usage == Usage():
            return
        several: dict[str, Any] = {"requests": usage.requests} if usage.requests > 1 else {}
        self._trajectory.append(
            "usage",
            step=self._ledger.step,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            **several,
            **more,
        )

    @property
    def prefills(self) -> bool:
        """Whether messages may be begun here: not those that begin with reasoning."""
        return self._setup.backend.renders_prompts and not self._starts_in_reasoning

    @property
    def _starts_in_reasoning(self) -> bool:
        renders = self._setup.backend.renders_prompts
        return renders and self.info is not None and self.info.profile.starts_in_reasoning

    @property
    def bare_json(self) -> bool:
        """Whether a message that is nothing but a JSON call counts as one."""
        return self.info is None or self.info.profile.bare_json

    def _learn(self, turn: Turn) -> None:
        """Take the notes that an answer brings."""
        for text in turn.notes:
            self.note(text)
        if turn.read_by_server is not None and len(turn.message.calls) > turn.read_by_server:
            self.note("the server returned calls as text; they were read by the client")

    def note(self, *parts: str) -> None:
        """Keep a line about what was degraded or decided, once."""
        text = self._setup.redact(": ".join(parts))
        if text not in self.notes:
            self.notes.append(text)

    async def affordable(self, prompt_tokens: int | None = None) -> Sampling | None:
        """The sampling settings of the next request, cut to what the token limits leave, which is
        kept for it; None when that is nothing.

        Args:
            prompt_tokens: Of the next prompt, where that is known.
        """
        if self._ledger.left.tokens == math.inf:
            return self.sampling
        if prompt_tokens is None:
            prompt_tokens = await self._context.total(exact_above=0)
        return await self._ledger.promise(self.sampling, prompt_tokens)


async def _nobody(*events: Event) -> None:
    """A record is no part of the conversation: nobody is shown how it is written."""


async def _known_plan(text: str) -> None:
    """The plan of a message that is continued was taken when it was made."""


def _with(request: ModelRequest, shown: Sequence[Message], note: str) -> ModelRequest:
    """The request with messages before its newest one, and a question behind it."""
    if not shown and not note:
        return request
    *before, newest = request.messages
    told = (UserMessage(note),) if note else ()
    # What is shown is the same each time; what was said before it is not.
    begins = all(isinstance(message, SystemMessage) for message in before)
    return dataclasses.replace(
        request,
        messages=(*before, *shown, newest, *told),
        shared=len(before) + len(shown) if begins else 0,
    )
