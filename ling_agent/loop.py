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
from collections import defaultdict
from enum import Enum, auto
from typing import Any

import anyio

from . import hermes, planning
from .approvals import Approval
from .asking import Asker
from .backends.base import NamedTool, ToolChoice
from .cancellation import cancelled_by
from .context import Context
from .errors import BackendError, HermesError, LingAgentError, StoreError
from .events import Correction, Emit, PlanMade, PlanUpdated, StepFinished
from .memory.journal import Journal
from .memory.trajectory import conversation, unanswered
from .memory.window import bytes_of
from .messages import AssistantMessage, ToolMessage, UserMessage
from .observe import Observer
from .results import Plan, RunResult, RunStatus, Step, Usage
from .resuming import EMPTY, last_plan, mistake
from .setup import RunSetup
from .turn import Turn

_MAX_REVISIONS = 3


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
        approvals: Decisions for calls that waited, by call id.
    """

    def __init__(
        self,
        setup: RunSetup,
        journal: Journal,
        emit: Emit,
        approvals: dict[str, Approval] | None = None,
    ) -> None:
        trajectory = journal.trajectory
        self._setup = setup
        self.journal = journal
        self.trajectory = trajectory
        self.run_id = journal.run_id
        self._emit = emit
        self._plan = last_plan(trajectory)
        self._status: RunStatus | None = None
        self._output: str | None = None
        self._error: LingAgentError | None = None
        self._corrections = 0
        # The next message is to be in words: all calls are used up, or one was repeated.
        self._answer_now = setup.limits.max_tool_calls == 0
        # After a message that was only a plan.
        self._next_choice: ToolChoice = "auto"
        self._answered_once = False  # so that long runs need not look for it
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
        self._asker = Asker(setup, self._context, journal, emit, self._adopt_plan)
        self._observer = Observer(setup, journal, self._context, emit, approvals or {})

    async def execute(self) -> RunResult:
        """Run to the end; only native cancellation and errors with nothing to lose are raised."""
        started = time.perf_counter()
        limit, token = self._setup.limits.timeout, self._setup.cancel
        self._deadline = math.inf if limit is None else anyio.current_time() + limit
        with anyio.CancelScope(deadline=self._deadline) as deadline, cancelled_by(token):
            try:
                await self._machine()
            except (BackendError, HermesError, StoreError) as error:
                self._fail(error)
            except hermes.HermesError as error:  # its own class: that package imports none of ours
                self._fail(HermesError(str(error)))
        if self._status is None:
            timed_out = deadline.cancelled_caught
            self._end(RunStatus.timeout if timed_out else RunStatus.cancelled)
        if self._status is RunStatus.completed and self._plan is not None:
            self._plan = planning.finish(self._plan)
        return self._result(time.perf_counter() - started)

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

    def _stopped(self) -> bool:
        """Whether the run is over, also when the event loop has not cancelled it yet."""
        if self._status is None:
            if self._setup.cancel is not None and self._setup.cancel.cancelled:
                self._end(RunStatus.cancelled)
            elif self._deadline <= anyio.current_time():
                self._end(RunStatus.timeout)
        return self._status is not None

    def _first_phase(self) -> Phase:
        if unanswered(self.trajectory):
            self._asker.by_step[self._asker.step] = Usage()  # an earlier run paid for it
            return Phase.OBSERVE
        last = self.trajectory.last_message
        if isinstance(last, AssistantMessage):
            # A resumed run: an answer that could not be used was the last thing that happened.
            self._note(mistake(last.content))
        if self._setup.planning == "explicit" and (
            self._plan is None or self._was_noted(planning.REVISE)
        ):
            return Phase.PLAN
        return Phase.CALL

    # -- PLAN ---------------------------------------------------------------------------------

    async def _make_plan(self) -> Phase:
        before = self._plan
        if before is not None and not self._was_noted(planning.REVISE):
            self._note(planning.REVISE)
        turn = await self._asker.ask_for_plan()
        if isinstance(turn, RunStatus) or turn.message.calls or turn.failures:
            # It acts at once: that is no plan, but the call is worth more than the form.
            return await self._take(turn)
        self._append_turn(turn)
        if self._plan is before:
            await self._adopt_plan(turn.answer)  # a list without the word "Plan:"
        self._note(planning.CARRY_OUT)
        await self._finish_step()
        return Phase.CALL

    async def _adopt_plan(self, text: str) -> None:
        """Make a text of the model the plan; it replaces the plan that there was."""
        revision = 0 if self._plan is None else self._plan.revision + 1
        plan = planning.parse_plan(text, revision=revision)
        if plan is None or self._setup.planning == "off":
            return
        self._plan = plan
        self.trajectory.append(
            "plan",
            step=self._asker.step,
            text=plan.text,
            steps=[step.text for step in plan.steps],
            revision=plan.revision,
        )
        await self._emit(PlanMade(plan))

    # -- CALL ---------------------------------------------------------------------------------

    async def _call(self) -> Phase:
        plans = self._setup.planning == "inline" and self._first and not self._answer_now
        if plans and self._setup.backend.renders_prompts:
            turn = await self._asker.ask_with_plan(self._plan)
        else:
            turn = await self._asker.ask(tool_choice=self._choice())
        return await self._take(turn)

    @property
    def _first(self) -> bool:
        """Whether the next message is the task's first."""
        return not self._answered_once and not any(
            entry.kind == "assistant" for entry in self.trajectory.newest_task()
        )

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
            self._end(turn)
            if self._asker.step > self._finished_step and self._asker.step in self._asker.by_step:
                await self._finish_step()  # a limit between the requests of one message
            return Phase.DONE
        self._append_turn(turn)
        if turn.message.calls or turn.failures:
            return Phase.OBSERVE
        if turn.plan and not turn.answer:
            self._next_choice = self._to_carry_out(turn.plan)
            return await self._correct(planning.CARRY_OUT)
        if not turn.answer:
            return await self._correct(EMPTY)
        self._output = turn.answer
        cut = turn.finish_reason == "length"
        self._end(RunStatus.max_tokens if cut else RunStatus.completed)
        await self._finish_step()  # a slow reader no longer changes how the run ended
        return Phase.DONE

    async def _correct(self, message: str) -> Phase:
        """Tell the model why its answer cannot be used; bounded."""
        await self._finish_step()
        if self._count_correction(message):
            self._note(message)
            await self._emit(Correction(message))
            return Phase.CALL
        return Phase.DONE

    def _count_correction(self, message: str) -> bool:
        self._corrections += 1
        if self._corrections <= self._setup.limits.max_corrections:
            return True
        self._error = HermesError(
            f"the model wrote {self._corrections} unusable answers in a row; the last note to it "
            f"was: {message}"
        )
        self._end(RunStatus.failed)
        return False

    # -- OBSERVE ------------------------------------------------------------------------------

    async def _observe(self) -> Phase:
        outcome = await self._observer.observe(self._asker.step, self._total())
        await self._finish_step()
        if outcome.status is not None:
            self._end(outcome.status)
            return Phase.DONE
        used_up = self._observer.executed == self._setup.limits.max_tool_calls
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
        if self._plan is None:
            return Phase.CALL
        failed = any(observation.is_error for observation in observations)
        if not failed:
            await self._advance_plan(self._plan)
        elif self._revises and self._plan.revision < _MAX_REVISIONS:
            return Phase.PLAN
        return Phase.CALL

    @property
    def _revises(self) -> bool:
        return self._setup.planning == "explicit" and not self._answer_now

    async def _advance_plan(self, plan: Plan) -> None:
        self._plan = planning.advance(plan)
        await self._emit(PlanUpdated(self._plan))
        if (
            self._small
            and not self._answer_now
            and self._plan != plan
            and planning.is_done(self._plan)
        ):
            self._ask_for_the_answer()

    def _ask_for_the_answer(self) -> None:
        task = self.trajectory.newest_task()[0].data["task"]
        self._note(planning.answer_note(task, small=self._small))

    @property
    def _small(self) -> bool:
        return self._asker.info is not None and self._asker.info.small

    # -- the log ------------------------------------------------------------------------------

    def _append_turn(self, turn: Turn) -> None:
        failures = [dataclasses.asdict(failure) for failure in turn.failures.values()]
        data: dict[str, Any] = {"failures": failures} if failures else {}
        tokens = turn.usage.completion_tokens or None
        self.trajectory.append(
            "assistant", turn.message, step=self._asker.step, tokens=tokens, **data
        )
        self._answered_once = True
        self._asker.charge(turn.usage)
        self._context.learn(turn.usage)

    async def _finish_step(self) -> None:
        self._finished_step = step = self._asker.step
        await self._emit(StepFinished(step, self._asker.by_step[step]))

    def _note(self, text: str) -> None:
        tokens = self._context.tokens(bytes_of(text))
        self.trajectory.append("note", UserMessage(text), step=self._asker.step, tokens=tokens)

    def _was_noted(self, text: str) -> bool:
        """Whether this note is the newest message: an earlier run ended right behind it."""
        return self.trajectory.last_message == UserMessage(text)

    # -- the end ------------------------------------------------------------------------------

    def _end(self, status: RunStatus) -> None:
        self._status = status
        if status is RunStatus.completed:
            return
        partial = self._asker.partial
        if self._output is None:
            self._output = self._asker.said or None
        self.trajectory.append("limit", step=self._asker.step, status=str(status), partial=partial)

    def _fail(self, error: LingAgentError) -> None:
        kinds = {entry.kind for entry in self.trajectory.newest_task()}
        if not kinds & {"plan", "assistant", "usage"} and not self._asker.partial:
            raise error  # nothing was done that a result could keep
        self._error = error
        self.trajectory.append(
            "error", step=self._asker.step, type=type(error).__name__, text=str(error)
        )
        self._end(RunStatus.failed)

    def _total(self) -> Usage:
        return dataclasses.replace(self._asker.usage, tool_calls=self._observer.executed)

    def _steps(self) -> tuple[Step, ...]:
        """The requests of this run; a resumed one begins with the step whose calls it answered."""
        steps: dict[int, Step] = {}
        seen: dict[int, list[ToolMessage]] = defaultdict(list)
        for entry, message in conversation(self.trajectory):
            number = entry.step
            if isinstance(message, AssistantMessage) and number in self._asker.by_step:
                steps[number] = Step(number, message, (), self._asker.by_step[number])
            elif isinstance(message, ToolMessage) and number in steps:
                seen[number].append(message)
        for number, messages in seen.items():
            steps[number] = dataclasses.replace(steps[number], observations=tuple(messages))
        return tuple(steps.values())

    def _result(self, seconds: float) -> RunResult:
        status = self._status or RunStatus.cancelled
        waiting = status is RunStatus.needs_approval
        return RunResult(
            output=self._output,
            status=status,
            plan=self._plan,
            steps=self._steps(),
            usage=dataclasses.replace(self._total(), seconds=seconds),
            trajectory=self.trajectory,
            run_id=self.run_id,
            error=self._error,
            pending_approvals=self._observer.pending_approvals if waiting else (),
            notes=tuple(self._asker.notes),
            context=self._context.use(),
        )
