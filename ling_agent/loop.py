"""One run as a state machine: plan -> call -> observe -> answer.

::

    PLAN ──► CALL ──► OBSERVE ──► CALL …        (planning="explicit" begins in PLAN, others in CALL)
               │ ▲        │
               │ └─ CORRECT                     (an answer that cannot be used)
               │          └──► PLAN             (explicit: an observation contradicts the plan)
               └──► DONE                        (an answer, or a limit)

Each state is one method that returns the next state. The trajectory is the only memory: every
message is appended to it once and each request is the trajectory's conversation, so each request
extends the one before it. A limit sets the status and ends the machine; nothing is thrown away.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, Literal

import anyio

from . import hermes, planning
from .approvals import Approval
from .backends.base import ModelInfo, ModelRequest
from .cancellation import cancelled_by
from .errors import BackendError, HermesError, LingAgentError
from .events import Correction, Event, PlanMade, PlanUpdated, StepFinished, StepStarted
from .limits import Sampling
from .memory.trajectory import Trajectory, unanswered
from .messages import AssistantMessage, ToolMessage, UserMessage
from .observe import Observer, RunSetup
from .results import Plan, PlanStep, RunResult, RunStatus, Step, Usage
from .tools.cutting import estimate_tokens
from .turn import FirstCall, Turn, TurnReader

_MAX_REVISIONS = 3
_EMPTY = "Your answer was empty. Call a tool, or answer the user."
_CUT = "Your answer was cut off. Write it again, shorter, to the end."


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
        trajectory: Begins with the instructions and the task; a resumed run passes its old one.
        run_id: Unique name of the run.
        emit: Takes the events, in order; may wait (that is the backpressure).
        approvals: Decisions for calls that waited, by call id.
    """

    def __init__(
        self,
        setup: RunSetup,
        trajectory: Trajectory,
        run_id: str,
        emit: Callable[[Event], Awaitable[None]],
        approvals: dict[str, Approval] | None = None,
    ) -> None:
        self._setup = setup
        self.trajectory = trajectory
        self.run_id = run_id
        self._emit = emit
        self._requests: dict[int, Usage] = {}
        self._step = trajectory.last_step
        self._usage = Usage()
        self._plan = _last_plan(trajectory)
        self._status: RunStatus | None = None
        self._output: str | None = None
        self._error: LingAgentError | None = None
        self._corrections = 0
        self._answer_now = False
        self._bare_json = True
        self._steps_taken = 0
        self._deadline = math.inf
        self._reader: TurnReader | None = None
        self._info: ModelInfo | None = None
        self._observer = Observer(setup, trajectory, run_id, emit, approvals or {})

    async def execute(self) -> RunResult:
        """Run to the end; only native cancellation and errors with nothing to lose are raised."""
        started = time.perf_counter()
        limit, token = self._setup.limits.timeout, self._setup.cancel
        self._deadline = math.inf if limit is None else anyio.current_time() + limit
        with anyio.CancelScope(deadline=self._deadline) as deadline, cancelled_by(token):
            try:
                await self._machine()
            except (BackendError, HermesError) as error:
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
        self._info = await self._setup.backend.describe()
        self._bare_json = self._info.profile.bare_json
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
            self._requests[self._step] = Usage()  # an earlier run paid for it
            return Phase.OBSERVE
        if isinstance(self.trajectory.messages()[-1], AssistantMessage):
            self._note(_CUT)  # a resumed run: the answer was the last thing that happened
        if self._setup.planning == "explicit" and self._plan is None:
            return Phase.PLAN
        return Phase.CALL

    # -- PLAN ---------------------------------------------------------------------------------

    async def _make_plan(self) -> Phase:
        before = self._plan
        if before is not None:
            self._note(planning.REVISE)
        turn = await self._turn(prefill=f"{planning.PREFILL}\n1.")
        if turn is None:
            return Phase.DONE
        if turn.message.calls or turn.failures:
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
            step=self._step,
            text=plan.text,
            steps=[step.text for step in plan.steps],
            revision=plan.revision,
        )
        await self._emit(PlanMade(plan))

    # -- CALL ---------------------------------------------------------------------------------

    async def _call(self) -> Phase:
        first = not any(entry.kind == "assistant" for entry in self.trajectory.newest_task())
        if self._setup.planning == "inline" and first and self._setup.backend.renders_prompts:
            turn = await self._planned_turn()
        else:
            turn = await self._turn(tool_choice="none" if self._answer_now else "auto")
        if turn is None:
            return Phase.DONE
        return await self._take(turn)

    async def _planned_turn(self) -> Turn | None:
        """One message in two requests: its plan, then the call that the plan names.

        The second request repeats the first one's text, so the prompt cache holds all of it.
        """
        plan = await self._turn(prefill=planning.INLINE_PREFILL, stop_when=planning.line_ends)
        if plan is None:
            return None
        self._append_usage(plan.usage)
        tools = self._setup.tools.schemas
        text = planning.begin_call((plan.message.raw or "").rstrip(), tools)
        complete = FirstCall(text, tools, bare_json=self._bare_json)
        turn = await self._turn(prefill=text, stop_when=complete, continues=True)
        if turn is None or not turn.message.calls:
            return turn
        message = dataclasses.replace(
            turn.message,
            calls=turn.message.calls[:1],
            raw=planning.close_call(turn.message.raw or ""),
        )
        # What the model began behind the call is cut off with it.
        return dataclasses.replace(turn, message=message, failures={})

    async def _take(self, turn: Turn) -> Phase:
        """Decide what a message means: calls, a mistake, only a plan, or the answer."""
        self._append_turn(turn)
        if turn.message.calls or turn.failures:
            return Phase.OBSERVE
        if turn.plan and not turn.answer:
            return await self._correct(planning.CARRY_OUT)
        if not turn.answer:
            return await self._correct(_EMPTY)
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
        outcome = await self._observer.observe(self._step, self._total())
        await self._finish_step()
        if outcome.status is not None:
            self._end(outcome.status)
            return Phase.DONE
        used_up = self._observer.executed == self._setup.limits.max_tool_calls
        if (outcome.repeated or used_up) and not self._answer_now:
            # It has what it needs and does not notice: small models do that after each result.
            self._answer_now = True
            task = self.trajectory.newest_task()[0].data["task"]
            self._note(planning.ANSWER_NOW.format(task=task))
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
            self._plan = planning.advance(self._plan)
            await self._emit(PlanUpdated(self._plan))
        elif self._setup.planning == "explicit" and self._plan.revision < _MAX_REVISIONS:
            return Phase.PLAN
        return Phase.CALL

    # -- one model request --------------------------------------------------------------------

    async def _turn(
        self,
        *,
        prefill: str = "",
        stop_when: Callable[[str], bool] | None = None,
        tool_choice: Literal["auto", "none"] = "auto",
        continues: bool = False,
    ) -> Turn | None:
        """Ask the model once; None when a limit forbids it (the status is then set).

        Args:
            prefill: With what the answer begins, on backends that can.
            stop_when: Ends the answer early, on backends that can.
            tool_choice: ``none`` wants words.
            continues: The request goes on with the message of the step that has begun.
        """
        sampling = await self._affordable(new_step=not continues)
        if sampling is None:
            return None
        renders = self._setup.backend.renders_prompts
        if not continues:
            self._step += 1
            self._steps_taken += 1
            await self._emit(StepStarted(self._step))
        request = ModelRequest(
            messages=tuple(self.trajectory.messages()),
            tools=tuple(self._setup.tools.schemas),
            sampling=sampling,
            prefill=prefill if renders else "",
            stop_when=stop_when if renders else None,
            tool_choice=tool_choice,
            conversation=self.run_id,
        )
        self._reader = TurnReader(
            request,
            step=self._step,
            bare_json=self._bare_json,
            keep_raw=renders,
            emit=self._emit,
            on_plan=_known_plan if continues else self._adopt_plan,
        )
        turn = await self._reader.read(self._setup.backend)
        self._usage += turn.usage
        self._requests[self._step] = self._requests.get(self._step, Usage()) + turn.usage
        return turn

    async def _affordable(self, *, new_step: bool) -> Sampling | None:
        """The sampling settings, cut to what the limits leave; None when nothing is left."""
        limits, sampling = self._setup.limits, self._setup.sampling
        if new_step and self._steps_taken >= limits.max_steps:
            self._end(RunStatus.max_steps)
            return None
        if limits.max_total_tokens is None:
            return sampling
        prompt = await self._count_prompt()
        left = limits.max_total_tokens - self._usage.total_tokens - prompt
        if left < 1:
            self._end(RunStatus.max_tokens)
            return None
        return dataclasses.replace(sampling, max_tokens=min(sampling.max_tokens, left))

    async def _count_prompt(self) -> int:
        """Tokens of the next prompt: those of the newest request and of what came after it."""
        known, new = self.trajectory.tokens, self.trajectory.since_usage()
        texts = [entry.text for entry in new if entry.message is not None]
        if not known:
            texts.append(json.dumps(self._setup.tools.schemas, ensure_ascii=False))
        text = "\n".join(texts)
        count = await self._setup.backend.count_tokens(text)
        return known + (estimate_tokens(text) if count is None else count)

    def _append_turn(self, turn: Turn) -> None:
        failures = [dataclasses.asdict(failure) for failure in turn.failures.values()]
        data: dict[str, Any] = {"failures": failures} if failures else {}
        self.trajectory.append("assistant", turn.message, step=self._step, **data)
        self._append_usage(turn.usage)
        self._reader = None

    def _append_usage(self, usage: Usage) -> None:
        self.trajectory.append(
            "usage",
            step=self._step,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
        )

    async def _finish_step(self) -> None:
        await self._emit(StepFinished(self._step, self._requests[self._step]))

    def _note(self, text: str) -> None:
        self.trajectory.append("note", UserMessage(text), step=self._step)

    # -- the end ------------------------------------------------------------------------------

    def _end(self, status: RunStatus) -> None:
        self._status = status
        if status is RunStatus.completed:
            return
        partial = self._reader.partial if self._reader is not None else ""
        if partial and self._output is None:
            self._output = partial
        self.trajectory.append("limit", step=self._step, status=str(status), partial=partial)

    def _fail(self, error: LingAgentError) -> None:
        partial = self._reader is not None and self._reader.partial
        begun = any(entry.kind == "assistant" for entry in self.trajectory.newest_task())
        if not begun and not partial:
            raise error  # nothing was done that a result could keep
        self._error = error
        self.trajectory.append("error", step=self._step, type=type(error).__name__, text=str(error))
        self._end(RunStatus.failed)

    def _total(self) -> Usage:
        return dataclasses.replace(self._usage, tool_calls=self._observer.executed)

    def _steps(self) -> tuple[Step, ...]:
        """The requests of this run; a resumed one begins with the step whose calls it answered."""
        steps: dict[int, Step] = {}
        for entry in self.trajectory.newest_task():
            number, message = entry.step, entry.message
            if isinstance(message, AssistantMessage) and number in self._requests:
                steps[number] = Step(number, message, (), self._requests[number])
            elif isinstance(message, ToolMessage) and number in steps:
                seen = (*steps[number].observations, message)
                steps[number] = dataclasses.replace(steps[number], observations=seen)
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
            notes=self._info.notes if self._info else (),
        )


async def _known_plan(text: str) -> None:
    """The plan of a message that is continued was taken when it was made."""


def _last_plan(trajectory: Trajectory) -> Plan | None:
    """The newest task's plan, with the steps done that its observations have done."""
    plan: Plan | None = None
    failed: dict[int, bool] = {}
    for entry in trajectory.newest_task():
        if entry.kind == "plan":
            steps = tuple(PlanStep(text) for text in entry.data["steps"])
            plan = Plan(entry.data["text"], steps, entry.data["revision"])
            failed.clear()
        elif isinstance(entry.message, ToolMessage):
            failed[entry.step] = failed.get(entry.step, False) or entry.message.is_error
    if unanswered(trajectory):
        failed.pop(trajectory.last_step, None)
    for any_failed in failed.values():
        if plan is not None and not any_failed:
            plan = planning.advance(plan)
    return plan
