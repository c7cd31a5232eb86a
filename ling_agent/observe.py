"""From calls to observations: hooks, approvals, repetitions, execution, and order.

Calls come one after the other while the model writes, and each is taken when it is complete: it is
answered at once, or runs, or ends what can be answered now (a limit, an approval). What is still to
be answered when the message is whole is read from the trajectory: the calls of its newest message
that have no observation.

That a call runs is written down before it does, and its observation as soon as there is one (or
the message that it belongs to), so that no finished work is lost and no call is made twice,
whatever ends the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .approvals import Approval, ask_for
from .batch import Batch, Observed, call_text, failure_answer
from .cancellation import stopped_by
from .context import Context
from .errors import StoreError
from .events import ApprovalRequested, Emit, ToolFinished, ToolProgress, ToolStarted
from .gate import Gate
from .hermes import CallFailed
from .interrupted import INTERRUPTED
from .ledger import Ledger
from .memory.journal import Journal
from .memory.trajectory import Block, started, unanswered
from .memory.window import text_size
from .messages import ToolCall, ToolMessage
from .relay import Relay
from .repeats import RepeatGuard, Repetition, reminder
from .results import RunStatus
from .setup import RunSetup
from .subagents import Host
from .tools import CallRunner, ProgramError, RunContext, ToolOutcome, execute_one
from .tracing import NO_TRACE, RunTrace


class Observer:
    """Answers the calls of one message after the other, within `working`.

    Args:
        setup: Tools, limits, hooks.
        journal: The log and its store.
        context: For the tools that the model has now, and sizes.
        emit: Takes the events.
        approvals: Decisions that there are, by call id.
        ledger: Where calls are counted.

    Attributes:
        gate: What calls have to pass.
        pending_approvals: Calls that wait for a decision, when that ended the run.
        told: Sends events behind those of tools and waits for their reader.
        trace: Takes the calls that run.
        host: What sub-agents get from the run.
    """

    def __init__(
        self,
        setup: RunSetup,
        journal: Journal,
        context: Context,
        emit: Emit,
        approvals: dict[str, Approval],
        ledger: Ledger,
    ) -> None:
        self._setup = setup
        self._journal = journal
        self._trajectory = journal.trajectory
        self._context = context
        self._emit = emit
        self._ledger = ledger
        self.gate = Gate(setup, journal, context, approvals)
        self._repeats = RepeatGuard(setup.limits.repeat_limit)
        self._batch = Batch(0)
        self._running: set[str] = set()
        self._relay = Relay(emit)
        self._group: TaskGroup | None = None
        self._runner: CallRunner | None = None
        self._fatal: BaseException | None = None
        self.pending_approvals: tuple[ToolCall, ...] = ()
        self.told = self._relay.told
        self.trace: RunTrace = NO_TRACE
        self.host: Host | None = None

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncGenerator[None, None]:
        """Calls run in tasks of this context; when it is left, those that still do are ended.

        Raises:
            BaseExceptionGroup: Of a Ctrl-C that reached a tool.
        """
        try:
            most = self._setup.limits.max_parallel_tools
            with self._relay:
                async with anyio.create_task_group() as group:
                    self._group = group
                    self._runner = CallRunner(group, max_parallel=most)
                    group.start_soon(self._relay.forward)
                    yield
                    if self._running:
                        group.cancel_scope.cancel()
                    self._relay.close()
        finally:
            # Also when cancelled: a call that was started must not be made again.
            self._answer_interrupted()
        if self._fatal is not None:
            raise BaseExceptionGroup("a tool was interrupted", [self._fatal])

    # -- taking calls -------------------------------------------------------------------------

    async def offer(self, step: int, call: ToolCall) -> None:
        """Take a call of a message that the model still writes."""
        if self._batch.step != step:
            self._batch = Batch(step)
        await self._take(self._batch, call.id, call)

    @property
    def offered(self) -> tuple[ToolCall, ...]:
        """Calls of a message that is not in the log yet which were taken, in call order."""
        if self._batch.written:
            return ()
        return self._batch.calls

    def written(self, step: int) -> None:
        """The message is in the log: what is known of its calls can be, too."""
        if self._batch.step != step:
            self._batch = Batch(step, begun=started(self._trajectory))
        batch = self._batch
        if not batch.written:
            batch.written = True
            for answer in batch.answers.values():
                self._append(batch, answer)

    def close(self, step: int, status: RunStatus) -> None:
        """Take no further call of a message."""
        if self._batch.step != step:
            self._batch = Batch(step)
        self._batch.status = self._batch.status or status

    def refuse(self, step: int, reason: str) -> None:
        """Answer all calls of a message, none of which has begun, with a reason."""
        self.written(step)
        for id_, block in unanswered(self._trajectory).items():
            self._batch.blocks[id_] = block
            answer = ToolMessage(id_, block.name or "", f"Error: {reason}", True)
            self._batch.answers[id_] = answer
            self._append(self._batch, answer)
            self._relay.send(ToolFinished(answer, 0.0))

    async def settle(self) -> None:
        """Wait for the calls that run."""
        if self._runner is not None:
            await self._runner.idle()

    async def observe(self, step: int) -> Observed:
        """Answer the newest message's calls as far as limits and approvals allow.

        Args:
            step: Model request that the calls belong to.
        """
        self.written(step)
        batch = self._batch
        for id_, block in unanswered(self._trajectory).items():
            if id_ not in batch.blocks:
                await self._take(batch, id_, block)
        await self.settle()
        await self._relay.told()
        # Not before: how far the calls come must not depend on when one is found not to run.
        self._ledger.admit(-batch.unused)
        if (error := batch.failure or batch.error) is not None:
            raise error
        await self._flush(batch)
        if batch.error is not None:
            raise batch.error
        if batch.status is RunStatus.needs_approval:
            await self._ask_approval(batch)
        return batch.observed()

    async def _take(self, batch: Batch, id_: str, block: Block) -> None:
        """Answer what needs no tool, run what may, and stop where the run has to stop."""
        if batch.status is not None:
            return
        if isinstance(block, CallFailed):
            batch.blocks[id_] = block
            await self._answer(batch, failure_answer(id_, block))
            return
        passed = await self.gate.passed(block, batch.step)
        if isinstance(passed, ToolMessage):
            batch.blocks[id_] = block
            self._repeated(batch, block, refused=True)
            await self._answer(batch, passed)
            return
        if self.gate.waits(passed) and self._setup.approve is None:
            batch.waiting[id_] = passed
            batch.status = RunStatus.needs_approval
            return
        answer = self._known(batch, passed)
        if answer is None and self._ledger.left.tool_calls < 1:
            batch.status = RunStatus.max_tool_calls
            return
        batch.blocks[id_] = block
        if answer is not None:
            await self._answer(batch, answer)
            return
        self._ledger.admit(1)
        self._start(batch, block, passed)

    def _known(self, batch: Batch, call: ToolCall) -> ToolMessage | None:
        """The answer to a call that does not run again."""
        if call.id in batch.begun and not self._may_run_again(call.name):
            return ToolMessage(call.id, call.name, INTERRUPTED, True)
        repetition = self._repeated(batch, call)
        if repetition is None:
            return None
        # Within one message it is no sign of anything: the model has not read the result yet.
        batch.repeated = batch.repeated or repetition.observation is not None
        return ToolMessage(call.id, call.name, reminder(call.name, repetition.observation))

    def _repeated(
        self, batch: Batch, call: ToolCall, *, refused: bool = False
    ) -> Repetition | None:
        """What a call repeats, if anything; too many of them end the run."""
        repetition = self._repeats.note(call, batch.step, refused=refused)
        if repetition is not None and repetition.at_limit:
            batch.status = RunStatus.repeating
        return repetition

    def _may_run_again(self, name: str) -> bool:
        tools = self._context.tools
        return name in tools and tools[name].idempotent

    # -- running them -------------------------------------------------------------------------

    def _start(self, batch: Batch, block: ToolCall, call: ToolCall) -> None:
        tools = self._context.tools
        decided = call

        async def ready() -> bool:
            nonlocal decided
            answer = await self._decision(batch, call)
            if isinstance(answer, ToolCall):
                decided = answer
                return True
            batch.unused += 1
            self._running.discard(call.id)
            if answer is not None:
                self._repeats.observed(call, answer.content)
                await self._answer(batch, answer)
            return False

        async def work() -> None:
            try:
                if self._setup.cancel.stopped:  # what has not begun by then is left
                    batch.unused += 1
                    batch.status = batch.status or RunStatus.stopped
                    return
                if (text := await self._run(batch, block, decided)) is not None:
                    self._repeats.observed(call, text)
            except Exception as error:
                batch.failure = error.error if isinstance(error, ProgramError) else error
            except (KeyboardInterrupt, SystemExit) as error:
                # Out of a task of its own it would end asyncio's loop, with everything in it.
                assert self._group is not None
                self._fatal = error
                self._group.cancel_scope.cancel()
            finally:
                self._running.discard(call.id)

        assert self._runner is not None
        self._running.add(call.id)
        self._runner.start(
            work,
            exclusive=call.name in tools and tools[call.name].exclusive,
            ready=ready if self.gate.waits(call) else None,
        )

    async def _decision(self, batch: Batch, call: ToolCall) -> ToolCall | ToolMessage | None:
        """What came of asking about a call; None when it is left to `Agent.resume`."""
        answer: ToolCall | ToolMessage | None = None
        try:
            with stopped_by(self._setup.cancel):
                await self._relay.told(ApprovalRequested(self.gate.shown(call)))
                answer = await self.gate.ask(call, batch.step)
        except Exception as error:
            batch.failure = error
            return None
        if answer is None:
            batch.waiting[call.id] = call
            stopped = self._setup.cancel.stopped
            why = RunStatus.stopped if stopped else RunStatus.needs_approval
            batch.status = batch.status or why
        return answer

    async def _run(self, batch: Batch, block: ToolCall, call: ToolCall) -> str | None:
        """Run a call and answer it; returns what the tool said, if it did."""
        if not await self._write_start(batch, block):
            return None
        tools = self._context.tools
        self._ledger.ran(1)
        batch.started.add(call.id)
        self._relay.send(ToolStarted(self.gate.shown(call)))
        with self.trace.tool(call, tools.find(call.name)) as ended:
            outcome = await execute_one(tools, call, self._for_tools(batch))
            outcome = await self.gate.after(call, outcome, batch.step)
            ended(outcome)
        if not outcome.ended:
            batch.started.discard(call.id)
            batch.waiting |= {inner.id: inner for inner in outcome.waiting}
            why = RunStatus.needs_approval if outcome.waiting else RunStatus.stopped
            batch.status = batch.status or why
            return None
        if outcome.attempts == 0:
            self._ledger.ran(-1)
            batch.unused += 1
            batch.rejected.add(call.id)
        said = outcome.text
        changed = call.arguments != block.arguments
        text = f"{self.gate.changed(call)}\n{said}" if changed else said
        answer = ToolMessage(call.id, call.name, text, outcome.is_error)
        await self._answer(batch, answer, outcome)
        return said

    def _for_tools(self, batch: Batch) -> RunContext[Any]:
        return RunContext(
            self._setup.deps,
            run_id=self._journal.run_id,
            step=batch.step,
            usage=self._ledger.usage,
            sink=self._progress,
            pins=lambda text: self._context.pin(self._setup.redact(text)),
            host=self.host,
        )

    def _progress(self, call_id: str, payload: object) -> None:
        if call_id in self._running:
            self._relay.send(ToolProgress(call_id, self._setup.redact_value(payload)))

    # -- the log ------------------------------------------------------------------------------

    async def _answer(
        self, batch: Batch, answer: ToolMessage, outcome: ToolOutcome | None = None
    ) -> None:
        """Keep an observation, and write it down as soon as its message is."""
        batch.answers[answer.call_id] = answer
        if batch.written:
            self._append(batch, answer)
        self._running.discard(answer.call_id)
        self._relay.send(ToolFinished(answer, outcome.seconds if outcome else 0.0))
        if outcome is not None and batch.written:
            await self._flush(batch)

    def _append(self, batch: Batch, answer: ToolMessage) -> None:
        """Write an observation into the log, with the call that it answers."""
        data: dict[str, Any] = {}
        block = batch.blocks[answer.call_id]
        if isinstance(block, ToolCall):
            data["call"] = call_text(block)
        if self._context.is_memory_tool(answer.name):
            data["memory"] = True
        tokens = self._context.tokens(text_size(answer))
        self._trajectory.append("observation", answer, step=batch.step, tokens=tokens, **data)

    async def _write_start(self, batch: Batch, call: ToolCall) -> bool:
        """Write down that a call runs, before it does; False when that cannot be written."""
        early: dict[str, Any] = {}
        if not batch.written:
            early = {"name": call.name, "arguments": call.arguments}
        if batch.error is None:
            self._trajectory.append("call", step=batch.step, call_id=call.id, **early)
            await self._flush(batch)
        if batch.error is not None:
            self._trajectory.append("call", step=batch.step, call_id=call.id, begun=False)
        return batch.error is None

    async def _flush(self, batch: Batch) -> None:
        """Make the log safe; calls that run already may go on when that fails."""
        try:
            await self._journal.flush()
        except StoreError as error:
            batch.error = error

    def _answer_interrupted(self) -> None:
        batch = self._batch
        if not batch.written:
            return
        for id_ in batch.started - batch.answers.keys():
            name = batch.blocks[id_].name or ""
            if self._may_run_again(name):
                continue  # by whoever goes on with the run
            answer = ToolMessage(id_, name, INTERRUPTED, True)
            batch.answers[id_] = answer
            self._append(batch, answer)

    async def _ask_approval(self, batch: Batch) -> None:
        """Say which calls of the message wait."""
        for id_, block in unanswered(self._trajectory).items():
            if isinstance(block, ToolCall) and id_ not in batch.waiting:
                passed = await self.gate.passed(block, batch.step)
                if isinstance(passed, ToolCall) and self.gate.waits(passed):
                    batch.waiting[id_] = passed
        told = batch.waiting if self._setup.approve is None else {}
        self.pending_approvals = tuple(map(self.gate.shown, batch.waiting.values()))
        ask_for(self._trajectory, self._context.tools, self.pending_approvals)
        for call in told.values():
            await self._emit(ApprovalRequested(self.gate.shown(call)))
