"""From calls to observations: approvals, repetitions, execution, and order.

What has to be answered is read from the trajectory: the calls of its newest message that have no
observation. That a call runs is written down before it does, and its observation as soon as there
is one, so that no finished work is lost and no call is made twice, whatever ends the process.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from .approvals import Approval, Deny, Edit
from .context import Context
from .errors import StoreError
from .events import ApprovalRequested, Emit, Event, ToolFinished, ToolProgress, ToolStarted
from .hermes import CallFailed
from .memory.journal import Journal
from .memory.trajectory import Block, Trajectory, started, unanswered
from .memory.window import text_size
from .messages import ToolCall, ToolMessage
from .repeats import RepeatGuard, reminder
from .results import RunStatus, Usage
from .setup import RunSetup
from .tools import RunContext, ToolOutcome, execute_calls
from .tools.cutting import estimate_tokens

_INTERRUPTED = "Error: the call was interrupted; whether it took effect is not known."
_CALL_TEXT = 200  # characters
_NOT_RUN = "Error: the call was not run. Make it again if it is still needed."


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one message's calls.

    Attributes:
        observations: In call order.
        any_valid: Whether at least one was a valid call, whatever came of it.
        repeated: Whether a call was answered with a reminder instead of being run.
        status: Why the run ends here, or None.
    """

    observations: tuple[ToolMessage, ...]
    any_valid: bool
    repeated: bool = False
    status: RunStatus | None = None


@dataclass(slots=True)
class _Batch:
    """The leading calls that are answered now, in call order.

    Attributes:
        step: Model request that they belong to.
        blocks: The calls by id, readable or not.
        runnable: Those that run.
        answers: The observations so far, by call id.
        started: Ids of the calls that were started.
        rejected: Ids of the calls that did not fit their tool and never ran.
        repeated: Whether a call was one that had been made before.
        status: Why the calls after them are not answered, or why the run ends with them.
        error: Why a call could not be written down, before it ran or after.
    """

    step: int
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    runnable: list[ToolCall] = field(default_factory=list[ToolCall])
    answers: dict[str, ToolMessage] = field(default_factory=dict[str, ToolMessage])
    started: set[str] = field(default_factory=set[str])
    rejected: set[str] = field(default_factory=set[str])
    repeated: bool = False
    status: RunStatus | None = None
    error: StoreError | None = None

    @property
    def any_valid(self) -> bool:
        calls = {id_ for id_, block in self.blocks.items() if isinstance(block, ToolCall)}
        return not self.blocks or bool(calls - self.rejected)

    def observations(self) -> tuple[ToolMessage, ...]:
        """The answers in call order."""
        return tuple(self.answers[id_] for id_ in self.blocks if id_ in self.answers)


class Observer:
    """Answers the calls of one message after the other.

    Attributes:
        executed: Calls that were run so far.
        pending_approvals: Calls that wait for a decision, when that ended the run.
    """

    def __init__(
        self,
        setup: RunSetup,
        journal: Journal,
        context: Context,
        emit: Emit,
        approvals: dict[str, Approval],
    ) -> None:
        self._setup = setup
        self._journal = journal
        self._trajectory = journal.trajectory
        self._context = context
        self._run_id = journal.run_id
        self._emit = emit
        self._approvals = approvals
        self._repeats = RepeatGuard(setup.limits.repeat_limit)
        self.executed = 0
        self.pending_approvals: tuple[ToolCall, ...] = ()

    async def observe(self, step: int, usage: Usage) -> Observed:
        """Answer the newest message's calls as far as limits and approvals allow.

        Args:
            step: Model request that the calls belong to.
            usage: What the run has cost so far, for the tools.
        """
        pending = unanswered(self._trajectory)
        batch = self._sort(pending, step)
        for answer in tuple(batch.answers.values()):
            self._append(batch, answer)
            await self._emit(ToolFinished(answer, 0.0))
        try:
            await self._execute(batch, usage)
        finally:
            # Also when cancelled: a call that was started must not be made again.
            for id_ in batch.started - batch.answers.keys():
                name = batch.blocks[id_].name or ""
                self._append(batch, ToolMessage(id_, name, _INTERRUPTED, True))
        if batch.error is not None:
            raise batch.error
        if batch.status is RunStatus.needs_approval:
            await self._ask_approval(list(pending.values())[len(batch.blocks) :])
        return Observed(batch.observations(), batch.any_valid, batch.repeated, batch.status)

    def _append(self, batch: _Batch, answer: ToolMessage) -> None:
        """Write an observation into the log, with the call that it answers."""
        batch.answers[answer.call_id] = answer
        data: dict[str, Any] = {}
        block = batch.blocks[answer.call_id]
        if isinstance(block, ToolCall):
            data["call"] = _call_text(block)
        if self._context.is_memory_tool(answer.name):
            data["memory"] = True
        tokens = self._context.tokens(text_size(answer))
        self._trajectory.append("observation", answer, step=batch.step, tokens=tokens, **data)

    def _sort(self, pending: dict[str, Block], step: int) -> _Batch:
        """Answer what needs no tool, find what runs, and stop where the run has to stop."""
        batch = _Batch(step)
        begun = started(self._trajectory)  # by a process that did not live to see their end
        limit = self._setup.limits.max_tool_calls
        room = math.inf if limit is None else limit - self.executed
        for id_, block in pending.items():
            if isinstance(block, CallFailed):
                answer = _failure(id_, block)
            elif self._waits(block):
                batch.status = RunStatus.needs_approval
                break
            else:
                call, answer = self._decided(block)
                if answer is None and id_ in begun and not self._may_run_again(call):
                    answer = ToolMessage(id_, call.name, _INTERRUPTED, True)
                if answer is None:
                    answer = self._repetition(call, batch)
                if answer is None:
                    if len(batch.runnable) >= room:
                        batch.status = RunStatus.max_tool_calls
                        break
                    batch.runnable.append(call)
            batch.blocks[id_] = block
            if answer is not None:
                batch.answers[id_] = answer
        return batch

    def _may_run_again(self, call: ToolCall) -> bool:
        tools = self._context.tools
        return call.name in tools and tools[call.name].idempotent

    def _waits(self, call: ToolCall) -> bool:
        tools = self._context.tools
        if call.name not in tools or call.id in self._approvals:
            return False
        return tools[call.name].needs_approval(call.arguments)

    async def _ask_approval(self, blocks: list[Block]) -> None:
        calls = (block for block in blocks if isinstance(block, ToolCall))
        self.pending_approvals = tuple(call for call in calls if self._waits(call))
        for call in self.pending_approvals:
            await self._emit(ApprovalRequested(call))

    def _decided(self, call: ToolCall) -> tuple[ToolCall, ToolMessage | None]:
        """The call as it was approved, or the answer that says that it was not."""
        match self._approvals.get(call.id):
            case Deny(reason):
                text = f"Error: this call was not approved: {reason}"
                return call, ToolMessage(call.id, call.name, text, True)
            case Edit(arguments):
                return ToolCall(call.id, call.name, dict(arguments), call.repairs), None
            case _:
                return call, None

    def _repetition(self, call: ToolCall, batch: _Batch) -> ToolMessage | None:
        repetition = self._repeats.note(call, batch.step)
        if repetition is None:
            return None
        if repetition.at_limit:
            batch.status = RunStatus.repeating
        # Within one message it is no sign of anything: the model has not read the result yet.
        batch.repeated = batch.repeated or repetition.observation is not None
        return ToolMessage(call.id, call.name, reminder(call.name, repetition.observation))

    async def _execute(self, batch: _Batch, usage: Usage) -> None:
        """Run the calls; events go through one queue so that progress stays in order."""
        if not batch.runnable:
            return
        send, receive = anyio.create_memory_object_stream[Event](math.inf)

        async def forward() -> None:
            async for event in receive:
                await self._emit(event)

        def sink(call_id: str, payload: object) -> None:
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                send.send_nowait(ToolProgress(call_id, payload))

        with receive:
            async with anyio.create_task_group() as group:
                group.start_soon(forward)
                with send:
                    await self._call_tools(batch, usage, send.send_nowait, sink)

    async def _call_tools(
        self,
        batch: _Batch,
        usage: Usage,
        send: Callable[[Event], None],
        sink: Callable[[str, object], None],
    ) -> None:
        calls = {call.id: call for call in batch.runnable}

        async def on_start(call: ToolCall) -> bool:
            if not await self._write_start(batch, call):
                return False
            self.executed += 1
            batch.started.add(call.id)
            send(ToolStarted(call))
            return True

        async def on_finish(outcome: ToolOutcome) -> None:
            call = calls[outcome.call_id]
            if outcome.attempts == 0:
                self.executed -= 1
                batch.rejected.add(call.id)
            self._repeats.observed(call, outcome.text)
            text = self._edit_note(call) + outcome.text
            message = ToolMessage(call.id, call.name, text, outcome.is_error)
            self._append(batch, message)
            send(ToolFinished(message, outcome.seconds))
            await self._flush(batch)

        await execute_calls(
            self._context.tools,
            batch.runnable,
            RunContext(
                self._setup.deps,
                run_id=self._run_id,
                step=batch.step,
                usage=usage,
                sink=sink,
                pins=self._context.pin,
            ),
            max_parallel=self._setup.limits.max_parallel_tools,
            on_start=on_start,
            on_finish=on_finish,
        )

    async def _write_start(self, batch: _Batch, call: ToolCall) -> bool:
        """Write down that a call runs, before it does; False when that cannot be written."""
        if batch.error is None:
            self._trajectory.append("call", step=batch.step, call_id=call.id)
            await self._flush(batch)
        if batch.error is not None:
            self._trajectory.append("call", step=batch.step, call_id=call.id, begun=False)
        return batch.error is None

    async def _flush(self, batch: _Batch) -> None:
        """Make the log safe; calls that run already may go on when that fails."""
        try:
            await self._journal.flush()
        except StoreError as error:
            batch.error = error

    def _edit_note(self, call: ToolCall) -> str:
        if not isinstance(self._approvals.get(call.id), Edit):
            return ""
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        return f"(The user changed the arguments to {arguments}.)\n"


def leave_calls(trajectory: Trajectory) -> Trajectory:
    """Answer what an ended run left unanswered, before the conversation goes on without it."""
    begun = started(trajectory)
    for id_, block in unanswered(trajectory).items():
        text = _INTERRUPTED if id_ in begun else _NOT_RUN
        answer = ToolMessage(id_, block.name or "", text, True)
        tokens = estimate_tokens(text)
        trajectory.append("observation", answer, step=trajectory.last_step, tokens=tokens)
    return trajectory


def _call_text(call: ToolCall) -> str:
    """A call as text, for search and for the lines that stand in place of its result."""
    text = f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})"
    return text if len(text) <= _CALL_TEXT else text[: _CALL_TEXT - 1] + "…"


def _failure(id_: str, failure: CallFailed) -> ToolMessage:
    return ToolMessage(id_, failure.name or "", f"Error: {failure.message}", True)
