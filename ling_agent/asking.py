"""`Asker`: the model requests of one run, each within its limits and counted.

A request is the trajectory's conversation as it is when it is sent, so each request extends the one
before it. A step is one message of the model; with ``planning="inline"`` the first one takes up to
three requests on backends that render prompts themselves, which share all of their prompt:

1. a free beginning: a message that does not open with a call is the whole message, and is kept;
2. for one that does, the plan, with which the message then begins;
3. the call that the plan names, behind the plan.

So the model decides whether it acts, and an acting one says first what it means to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from . import planning
from .backends.base import ModelInfo, ModelRequest, ToolChoice
from .context import Context
from .errors import BackendError, ContextOverflow
from .events import Emit, Event, StepStarted
from .intent import announced_tool
from .limits import Sampling
from .memory.journal import Journal
from .messages import UserMessage
from .results import Plan, RunStatus, Usage
from .setup import RunSetup
from .turn import FirstCall, Turn, TurnReader

_UNKNOWN_WINDOW = (
    "the context window is unknown, so nothing is compacted: pass Memory(context_window=…)"
)
_MAX_REFUSED = 3  # sizes are estimates: what is learned from a refusal may not be enough yet


class Asker:
    """Asks the model for one run; used by one task at a time.

    Args:
        setup: Backend, sampling and limits.
        context: The conversation and the tools that are sent, kept within the model's window.
        journal: The log, for what requests cost; its name is that of the backend's prefix cache.
        emit: Takes the events.
        on_plan: Takes the text of a plan with which a message begins.

    Attributes:
        info: What the backend serves; None before `describe`.
        step: Number of the newest message of the model, over all runs of the conversation.
        usage: Cost so far. A request counts from when it is sent.
        by_step: The same by step.
        notes: What was degraded or decided on the way, one line each.
    """

    def __init__(
        self,
        setup: RunSetup,
        context: Context,
        journal: Journal,
        emit: Emit,
        on_plan: Callable[[str], Awaitable[None]],
    ) -> None:
        self._setup = setup
        self._trajectory = journal.trajectory
        self._context = context
        self._run_id = journal.run_id
        self._emit = emit
        self._on_plan = on_plan
        self._steps_taken = 0
        self._reader: TurnReader | None = None
        self.info: ModelInfo | None = None
        self.step = journal.trajectory.last_step
        self.usage = Usage()
        self.by_step: dict[int, Usage] = {}
        self.notes: list[str] = []

    @property
    def partial(self) -> str:
        """What was generated of a message that was not finished, as it was written."""
        return self._reader.partial if self._reader is not None else ""

    @property
    def said(self) -> str:
        """What there is of an answer that was not finished: without plan, reasoning and calls."""
        return self._reader.said if self._reader is not None else ""

    async def describe(self) -> None:
        """Load or reach the model."""
        self.info = await self._setup.backend.describe()
        self._context.describe(self.info)
        self.notes += [note for note in self.info.notes if note not in self.notes]
        if self._context.budget is None:
            self._note(_UNKNOWN_WINDOW)

    async def ask(
        self,
        *,
        prefill: str = "",
        stop_when: Callable[[str], bool] | None = None,
        tool_choice: ToolChoice = "auto",
    ) -> Turn | RunStatus:
        """Ask for one message; a second time where a call was lost or only talked about.

        Args:
            prefill: With what it begins, on backends that can.
            stop_when: Ends it early, on backends that can.
            tool_choice: See `ModelRequest`.

        Returns:
            The message, or the limit that forbids to ask for it.
        """
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        turn = await self._request(
            sampling, prefill=prefill, stop_when=stop_when, tool_choice=tool_choice
        )
        return await self._recover(turn, tool_choice)

    async def ask_for_plan(self) -> Turn | RunStatus:
        """Ask for a message that is a plan, and nothing behind it where the backend can stop."""
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        prefill = f"{planning.PREFILL}\n1."
        return await self._request(
            sampling, prefill=prefill, stop_when=planning.PlanEnd(prefill), only_plan=True
        )

    async def ask_with_plan(self, plan: Plan | None) -> Turn | RunStatus:
        """Ask for one message that says what it means to do before it does it.

        Args:
            plan: The message's plan when an earlier run has made it and was ended there.
        """
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        if plan is not None:
            return await self._act(sampling, f"{planning.PREFILL} {plan.text}")
        turn = await self._request(sampling, stop_when=planning.CallOpening(), unless_call=True)
        if not turn.opened_call:
            return await self._recover(turn, "auto")
        self.charge(turn.usage)
        sampling = await self._affordable()
        if sampling is None:
            return RunStatus.max_tokens
        turn = await self._request(
            sampling,
            prefill=planning.INLINE_PREFILL,
            stop_when=planning.line_ends,
            only_plan=True,
        )
        self.charge(turn.usage)
        sampling = await self._affordable()
        if sampling is None:
            return RunStatus.max_tokens
        return await self._act(sampling, (turn.message.raw or "").rstrip())

    async def _act(self, sampling: Sampling, plan: str) -> Turn:
        """The rest of a message that begins with a plan; a small model's ends with its call."""
        small = self.info is not None and self.info.small
        text = planning.begin_call(plan, self._context.tools.schemas, small=small)
        complete = None
        if small:
            complete = FirstCall(text, self._context.tools.schemas, bare_json=self._bare_json)
        turn = await self._request(sampling, prefill=text, stop_when=complete, plan_known=True)
        if not small or not turn.message.calls:
            return turn
        message = dataclasses.replace(
            turn.message,
            calls=turn.message.calls[:1],
            raw=planning.close_call(turn.message.raw or ""),
        )
        # What the model began behind the call is cut off with it.
        return dataclasses.replace(turn, message=message, failures={})

    async def _recover(self, turn: Turn, choice: ToolChoice) -> Turn:
        """The message, or in its place the answer to a second request.

        The second one has the same conversation, so it costs little more than its answer. It is
        made once, and only for a message without calls: those of another one must not be lost.
        """
        tool = None if turn.lost else self._talked_about(turn, choice)
        if not turn.lost and tool is None:
            return turn
        if self.info is not None and self.info.forces_calls and not turn.arguments_lost:
            choice = "required" if choice == "auto" else choice
        elif tool is not None:
            return turn
        sampling = await self._affordable(turn.usage.prompt_tokens)
        if sampling is None:
            return turn
        self.charge(turn.usage)
        self._note(turn.lost or f"the model only talked about a call of {tool}", "asked again")
        again = await self._request(sampling, tool_choice=choice, whole=bool(turn.lost))
        if again.message.calls or not turn.answer:
            return again
        # The first one is charged already: with its message goes what the second one has cost.
        return dataclasses.replace(turn, usage=again.usage)

    def _talked_about(self, turn: Turn, choice: ToolChoice) -> str | None:
        if choice != "auto" or turn.message.calls or turn.failures or turn.finish_reason != "stop":
            return None
        return announced_tool(turn.answer, self._context.tools.names)

    def charge(self, usage: Usage, **more: Any) -> None:
        """Write what a request has cost into the trajectory, and more about it."""
        self._reader = None
        several: dict[str, Any] = {"requests": usage.requests} if usage.requests > 1 else {}
        self._trajectory.append(
            "usage",
            step=self.step,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            **several,
            **more,
        )

    @property
    def _bare_json(self) -> bool:
        return self.info is None or self.info.profile.bare_json

    async def _begin(self) -> Sampling | RunStatus:
        """Begin a step, unless a limit forbids it; its prompt fits then."""
        if self._steps_taken >= self._setup.limits.max_steps:
            return RunStatus.max_steps
        await self._context.fit(self.step, self._digest)
        sampling = await self._affordable()
        if sampling is None:
            return RunStatus.max_tokens
        self.step += 1
        self._steps_taken += 1
        await self._emit(StepStarted(self.step))
        return sampling

    async def _request(
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
    ) -> Turn:
        """Send one request and read what comes.

        Args:
            unless_call: Give the message up when it opens with a call.
            plan_known: The plan in the prefill was taken already.
            only_plan: Cut off what begins behind the plan.
        """
        renders = self._setup.backend.renders_prompts

        def reader() -> TurnReader:
            request = ModelRequest(
                messages=self._context.messages(),
                tools=tuple(self._context.tools.schemas),
                sampling=sampling,
                prefill=prefill if renders else "",
                stop_when=stop_when if renders else None,
                tool_choice=tool_choice,
                conversation=self._run_id,
                whole=whole,
                watched=self._setup.watched,
            )
            return TurnReader(
                request,
                step=self.step,
                bare_json=self._bare_json,
                keep_raw=renders,
                emit=self._emit,
                on_plan=_known_plan if plan_known else self._on_plan,
                unless_call=unless_call and renders,
                only_plan=only_plan and renders,
            )

        turn = await self._send(reader)
        self._learn(turn)
        return turn

    async def _send(self, reader: Callable[[], TurnReader]) -> Turn:
        """Read the answer to a request; another one is made when it did not fit."""
        self._count(Usage(requests=1))
        refused = 0
        while True:
            self._reader = reading = reader()
            try:
                turn = await reading.read(self._setup.backend)
                break
            except ContextOverflow as error:
                refused += 1
                if reading.partial or refused > _MAX_REFUSED:
                    raise
                if not await self._context.overflowed(self.step, error):
                    raise
        self._count(dataclasses.replace(turn.usage, requests=turn.usage.requests - 1))
        return turn

    async def _digest(self, note: str, max_tokens: int) -> str | None:
        """What the model answers behind the live prompt to a note that is not kept."""
        limited = self._setup.limits.max_total_tokens is not None
        prompt = await self._context.total(exact_above=0) if limited else 0
        sampling = await self._affordable(prompt + self._context.tokens(len(note.encode())))
        if sampling is None:
            return None
        request = ModelRequest(
            messages=(*self._context.messages(), UserMessage(note)),
            tools=tuple(self._context.tools.schemas),
            sampling=dataclasses.replace(sampling, max_tokens=min(max_tokens, sampling.max_tokens)),
            tool_choice="none",
            conversation=self._run_id,
            watched=False,
        )
        reader = TurnReader(
            request,
            step=self.step,
            bare_json=False,
            keep_raw=False,
            emit=_nobody,
            on_plan=_known_plan,
        )
        self._count(Usage(requests=1), self.step + 1)  # it is made for the next step
        try:
            # Not as other requests are sent: what it has said is no part of an answer, and when it
            # does not fit there is nothing to compact, for that is what it is about.
            turn = await reader.read(self._setup.backend)
        except BackendError as error:
            self._note(f"no record of the dropped steps was written: {error}")
            return None
        rest = dataclasses.replace(turn.usage, requests=turn.usage.requests - 1)
        self._count(rest, self.step + 1)
        self.charge(turn.usage, digest=True)
        whole = turn.finish_reason != "length" and not turn.message.calls and not turn.failures
        return turn.message.content if whole else None

    def _learn(self, turn: Turn) -> None:
        """Take the notes that an answer brings."""
        for text in turn.notes:
            self._note(text)
        if turn.read_by_server is not None and len(turn.message.calls) > turn.read_by_server:
            self._note("the server returned calls as text; they were read by the client")

    def _note(self, *parts: str) -> None:
        text = ": ".join(parts)
        if text not in self.notes:
            self.notes.append(text)

    def _count(self, usage: Usage, step: int | None = None) -> None:
        step = self.step if step is None else step
        self.usage += usage
        self.by_step[step] = self.by_step.get(step, Usage()) + usage

    async def _affordable(self, prompt_tokens: int | None = None) -> Sampling | None:
        """The sampling settings, cut to what the token limit leaves; None when that is nothing.

        Args:
            prompt_tokens: Of the next prompt, where that is known.
        """
        limit, sampling = self._setup.limits.max_total_tokens, self._setup.sampling
        if limit is None:
            return sampling
        if prompt_tokens is None:
            prompt_tokens = await self._context.total(exact_above=0)
        left = limit - self.usage.total_tokens - prompt_tokens
        if left < 1:
            return None
        return dataclasses.replace(sampling, max_tokens=min(sampling.max_tokens, left))


async def _nobody(*events: Event) -> None:
    """A record is no part of the conversation: nobody is shown how it is written."""


async def _known_plan(text: str) -> None:
    """The plan of a message that is continued was taken when it was made."""
