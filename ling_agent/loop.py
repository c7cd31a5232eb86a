"""One run as a state machine: plan -> call -> observe -> answer.

::

    PLAN ──► CALL ──► OBSERVE ──► CALL …        (planning="explicit" begins in PLAN, others in CALL)
               │ ▲        │
               │ └─ CORRECT                     (an answer that cannot be used)
               │          └──► PLAN             (explicit: an observation contradicts the plan)
               └──► DONE                        (an answer, or a limit)

Each state is one method that returns the next state. The trajectory is the only memory, and each
request a view of it. A limit sets the status and ends the machine; nothing is thrown away.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Awaitable
from enum import Enum, auto
from typing import Any

import anyio

from . import planning
from .accepting import Acceptance, Accepted
from .approvals import Approval
from .asking import Asker
from .backends.base import NamedTool, ToolChoice
from .cancellation import cancelled_by
from .context import Context
from .ending import Ending
from .errors import HermesError
from .events import Correction, Emit, StepFinished
from .hooks import AfterModel
from .ledger import Ledger
from .logbook import Logbook
from .memory.journal import Journal
from .memory.trajectory import unanswered
from .messages import AssistantMessage, ToolMessage
from .observe import Observer
from .plan_keeper import PlanKeeper
from .results import RunResult, RunStatus, Usage
from .resuming import EMPTY, mistake
from .sending import Sender
from .setup import RunSetup
from .subagents import Host
from .tracing import NO_TRACE, RunTrace
from .turn import Turn


class Phase(Enum):
    """States of the machine."""

    PLAN = auto()
    CALL = auto()
    OBSERVE = auto()
    DONE = auto()


class Run:
    """One run over one trajectory; used once.

    Args:
        setup: The agent's configuration with this run's own settings.
        journal: The run's log and its store. It begins with the instructions and the task; a
            resumed run passes its old one.
        emit: Takes the events, in order; may wait (that is the backpressure).
        approvals: Decisions for calls that waited, by call id; None for a new run.

    Attributes:
        setup: See above.
        journal: See above.
        trajectory: The log.
        run_id: Name of the run or session.
        goes_on: Whether it is one that ended before.
    """

    def __init__(
        self,
        setup: RunSetup,
        journal: Journal,
        emit: Emit,
        approvals: dict[str, Approval] | None = None,
    ) -> None:
        trajectory = journal.trajectory
        self._setup = self.setup = setup
        self.goes_on = approvals is not None
        self.journal = journal
        self.trajectory = trajectory
        self.run_id = journal.run_id
        self._emit = emit
        self._plan = PlanKeeper(setup.planning, trajectory, emit)
        self._corrections = 0
        # The next message is to be in words: all calls are used up, or one was repeated.
        self._answer_now = setup.limits.max_tool_calls == 0
        # After a message that was only a plan.
        self._next_choice: ToolChoice = "auto"
        self._finished_step = 0
        self._deadline = math.inf
        self._context = Context(
            setup.memory,
            journal,
            setup.tools,
            answer=setup.sampling.max_tokens,
            count=setup.backend.count_tokens,
            emit=emit,
        )
        self._ledger = Ledger(setup.limits, setup.host, step=trajectory.last_step)
        decisions = {} if approvals is None else approvals
        self._observer = Observer(setup, journal, self._context, emit, decisions, self._ledger)
        self._acceptance = Acceptance(setup, self.run_id)
        # A hook that may refuse a message has to see it before its calls do anything.
        early = None if AfterModel in setup.hooks else self._observer.offer
        self._sender = Sender(
            setup, self._context, journal, self._ledger, emit, self._plan.adopt, early
        )
        self._ending = Ending(setup, trajectory, self._sender, self._ledger)
        self._log = Logbook(trajectory, self._context, self._sender, self._observer, self._ledger)
        self._asker = Asker(setup, self._sender, self._context, journal, self._ledger, emit)
        self._observer.host = Host(
            run_id=self.run_id,
            memory=setup.memory,
            cancel=setup.cancel,
            approve=self._observer.gate.decide if setup.approve is not None else None,
            decisions=decisions,
            tell=self._observer.told,
            ledger=self._ledger,
            watched=setup.watched,
            secrets=setup.secrets,
        )

    @property
    def ended(self) -> bool:
        """Whether it is known how it ends."""
        return self._ending.status is not None

    def break_off(self, status: RunStatus) -> None:
        """Write down how an exception that is raised has ended it, and what had been said."""
        self._ending.end(status)

    @property
    def task(self) -> str:
        """What it works on."""
        newest = self.trajectory.task
        return newest.data["task"] if newest is not None else ""

    async def execute(self, trace: RunTrace = NO_TRACE) -> RunResult[Any]:
        """Run to the end; only native cancellation and errors with nothing to lose are raised.

        Args:
            trace: Takes the requests and the calls.
        """
        self._sender.trace = self._observer.trace = trace
        started = time.perf_counter()
        limit, token = self._setup.limits.timeout, self._setup.cancel
        self._deadline = math.inf if limit is None else anyio.current_time() + limit
        with anyio.CancelScope(deadline=self._deadline) as deadline, cancelled_by(token):
            failure: Exception | None = None
            async with self._observer.working():
                try:
                    await self._machine()
                except Exception as error:  # which the tasks of the calls would put into a group
                    failure = error
                finally:
                    self._ledger.settle()
            if failure is not None:
                self._ending.fail(failure)
        if self._ending.status is None:
            timed_out = deadline.cancelled_caught
            self._ending.end(RunStatus.timeout if timed_out else RunStatus.cancelled)
        if self._ending.status is RunStatus.completed:
            self._plan.finish()
        return self._ending.result(
            self.run_id,
            plan=self._plan.now,
            pending=self._observer.pending_approvals,
            context=self._context.use(),
            seconds=time.perf_counter() - started,
        )

    async def _machine(self) -> None:
        if self._stopped():
            return
        await self._asker.describe()
        await self.journal.flush("running")
        handlers = {
            Phase.PLAN: self._make_plan,
            Phase.CALL: self._call,
            Phase.OBSERVE: self._observe,
        }
        phase = self._first_phase()
        while phase is not Phase.DONE and not self._stopped():
            phase = await handlers[phase]()
        if phase is Phase.OBSERVE and self._ending.status is RunStatus.stopped:
            await self._let_calls_end()
            await self._finish_step()

    def _stopped(self) -> bool:
        """Whether the run is over, also when the event loop has not cancelled it yet."""
        if self._ending.status is None:
            if self._setup.cancel.cancelled:
                self._ending.end(RunStatus.cancelled)
            elif self._setup.cancel.stopped:
                self._ending.end(RunStatus.stopped)
            elif self._deadline <= anyio.current_time():
                self._ending.end(RunStatus.timeout)
        return self._ending.status is not None

    def _first_phase(self) -> Phase:
        if unanswered(self.trajectory):
            self._ledger.by_step[self._asker.step] = Usage()  # an earlier run paid for it
            return Phase.OBSERVE
        last = self.trajectory.last_message
        if isinstance(last, AssistantMessage):
            # A resumed run: an answer that could not be used was the last thing that happened.
            self._log.note(self._acceptance.mistake(last.content) or mistake(last.content))
        if self._setup.planning == "explicit" and (
            self._plan.now is None or self._log.was_noted(planning.REVISE)
        ):
            return Phase.PLAN
        return Phase.CALL

    # -- PLAN ---------------------------------------------------------------------------------

    async def _make_plan(self) -> Phase:
        before = self._plan.now
        if before is not None and not self._log.was_noted(planning.REVISE):
            self._log.note(planning.REVISE)
        turn = await self._asked(self._asker.ask_for_plan())
        if isinstance(turn, RunStatus) or not turn.whole or turn.message.calls or turn.failures:
            # It acts at once: that is no plan, but the call is worth more than the form.
            return await self._take(turn)
        refused = await self._refused(turn)
        self._log.turn(turn)
        if refused is not None:
            again = await self._correct(refused)
            return Phase.PLAN if again is Phase.CALL else again
        if self._plan.now is before:
            await self._plan.adopt(self._asker.step, turn.answer)  # a list without the word "Plan:"
        self._log.note(planning.CARRY_OUT)
        await self._finish_step()
        return Phase.CALL

    # -- CALL ---------------------------------------------------------------------------------

    async def _call(self) -> Phase:
        plans = self._setup.planning == "inline" and self._log.first and not self._answer_now
        if plans and self._sender.prefills:
            turn = await self._asked(self._asker.ask_with_plan(self._plan.now))
        else:
            turn = await self._asked(self._asker.ask(tool_choice=self._choice()))
        return await self._take(turn)

    async def _asked(self, asking: Awaitable[Turn | RunStatus]) -> Turn | RunStatus:
        """A message of the model; when it breaks off, calls of it that began are kept."""
        try:
            return await asking
        except Exception:
            self._log.keep_calls(self._sender.said)
            await self._observer.settle()
            raise
        except BaseException:  # a cancellation: nothing can be waited for
            self._log.keep_calls(self._sender.said)
            raise

    def _choice(self) -> ToolChoice:
        """What the next message is to be, where the backend can be told."""
        if self._answer_now:
            return "none"
        choice, self._next_choice = self._next_choice, "auto"
        return choice

    def _to_carry_out(self, plan: str) -> ToolChoice:
        """A call of the tool that the plan names; else whatever, but a call the second time."""
        tool = planning.named_tool(plan, self._setup.tools.schemas)
        if tool is not None:
            return NamedTool(tool["name"])
        return "required" if self._corrections else "auto"

    async def _take(self, turn: Turn | RunStatus) -> Phase:
        """Decide what a message means: calls, a mistake, only a plan, or the answer."""
        if isinstance(turn, RunStatus):
            self._ending.end(turn)
            if self._asker.step > self._finished_step and self._asker.step in self._ledger.by_step:
                await self._finish_step()  # a limit between the requests of one message
            return Phase.DONE
        if not turn.whole:
            return await self._take_broken_off(turn)
        refused = await self._refused(turn)
        self._log.turn(turn)
        if refused is not None:
            return await self._refuse(turn, refused)
        if turn.message.calls or turn.failures:
            return Phase.OBSERVE
        if turn.plan and not turn.answer:
            self._next_choice = self._to_carry_out(turn.plan)
            return await self._correct(planning.CARRY_OUT)
        if not turn.answer:
            return await self._correct(EMPTY)
        return await self._accept(turn)

    async def _take_broken_off(self, turn: Turn) -> Phase:
        """Keep what the model had said when it was stopped; what runs already finishes."""
        message = turn.message
        if message.calls and AfterModel in self._setup.hooks:
            # No hook has seen them, so `Agent.resume` must not find them.
            message = dataclasses.replace(message, calls=(), raw=None)
        if message.calls or turn.answer:
            self._log.broken_off(message)
            self._ending.output = (
                turn.answer if self._setup.answer.is_text and turn.answer else None
            )
        if message.calls:
            await self._let_calls_end()
        self._ending.end(RunStatus.stopped)
        await self._finish_step()
        return Phase.DONE

    async def _let_calls_end(self) -> None:
        """Wait for what runs when the answer is stopped, and begin no more."""
        self._observer.close(self._asker.step, RunStatus.stopped)
        await self._observer.observe(self._asker.step)

    async def _refused(self, turn: Turn) -> str | None:
        """Why hooks do not take a message, which is not in the log before they do: a run that is
        ended in between asks for another when it is resumed.
        """
        if AfterModel not in self._setup.hooks:
            return None
        return await self._acceptance.refused(turn, self._asker.step)

    async def _refuse(self, turn: Turn, reason: str) -> Phase:
        """Tell the model why its message is not taken."""
        if not (turn.message.calls or turn.failures):
            return await self._correct(reason)
        self._observer.close(self._asker.step, RunStatus.failed)
        self._observer.refuse(self._asker.step, reason)
        await self._observer.told()
        await self._finish_step()
        return Phase.CALL if self._count_correction(reason) else Phase.DONE

    async def _accept(self, turn: Turn) -> Phase:
        """End with the answer, if it is one."""
        if turn.finish_reason == "length":
            self._ending.output = turn.answer if self._setup.answer.is_text else None
            self._ending.end(RunStatus.max_tokens)
        else:
            accepted = await self._acceptance.accept(turn.answer, self._asker.step)
            if not isinstance(accepted, Accepted):
                self._next_choice = accepted.choice
                if accepted.error is None:
                    return await self._correct(accepted.message)
                self._ending.error = accepted.error
                self._ending.end(RunStatus.failed)
            else:
                self._ending.output = accepted.output
                self._ending.end(RunStatus.completed)
        await self._finish_step()  # a slow reader no longer changes how the run ended
        return Phase.DONE

    async def _correct(self, message: str) -> Phase:
        """Tell the model why its answer cannot be used; bounded."""
        self._log.note(message)  # the last one, too, and at once: a resumed run goes on from there
        await self._finish_step()
        if self._count_correction(message):
            await self._emit(Correction(message))
            return Phase.CALL
        return Phase.DONE

    def _count_correction(self, message: str) -> bool:
        self._corrections += 1
        if self._corrections <= self._setup.limits.max_corrections:
            return True
        self._ending.error = HermesError(
            f"the model wrote {self._corrections} unusable answers in a row; the last note to it "
            f"was: {message}"
        )
        self._ending.end(RunStatus.failed)
        return False

    # -- OBSERVE ------------------------------------------------------------------------------

    async def _observe(self) -> Phase:
        outcome = await self._observer.observe(self._asker.step)
        await self._finish_step()
        if outcome.status is not None:
            self._ending.end(outcome.status)
            return Phase.DONE
        used_up = self._ledger.calls_used_up
        told, self._answer_now = self._answer_now, outcome.repeated or used_up
        if self._answer_now and not told:
            # It has what it needs and does not notice: small models do that after each result.
            self._ask_for_the_answer()
        if outcome.any_valid:
            self._corrections = 0
        elif not self._count_correction(outcome.observations[-1].content):
            return Phase.DONE
        return await self._after_observation(outcome.observations)

    async def _after_observation(self, observations: tuple[ToolMessage, ...]) -> Phase:
        if self._plan.now is None:
            return Phase.CALL
        failed = any(observation.is_error for observation in observations)
        if not failed:
            done = await self._plan.advance()
            if done and self._small and not self._answer_now:
                self._ask_for_the_answer()
        elif self._plan.revisable and not self._answer_now:
            return Phase.PLAN
        return Phase.CALL

    def _ask_for_the_answer(self) -> None:
        form = self._setup.answer.hint
        self._log.note(planning.answer_note(self.task, small=self._small, form=form))

    @property
    def _small(self) -> bool:
        return self._asker.info is not None and self._asker.info.small

    async def _finish_step(self) -> None:
        self._finished_step = step = self._asker.step
        await self._emit(StepFinished(step, self._ledger.by_step[step]))
