"""One simulation: agent, user and environment under the package's orchestrator, then its judge.

Import it after `package.load`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ...errors import ContextOverflow, LingAgentError
from ...results import RunResult, RunStatus
from . import package
from .dialogue import Dialogue, MakesAgent, NoAnswer
from .sides import Completion, TestedAgent, instructions

T = TypeVar("T")

_registry: Any = package.part("registry").registry
_orchestrator: Any = package.part("orchestrator.orchestrator")
_evaluator: Any = package.part("evaluator.evaluator")
_simulator: Any = package.part("user.user_simulator")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a simulation ends at the latest.

    Attributes:
        steps: Messages that are passed on; one that would go to the environment still does.
        errors: Calls that the environment answered with an error.
    """

    steps: int
    errors: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of a simulation.

    Attributes:
        run: The package's ``SimulationRun``; None when it broke off.
        messages: All that were passed on, as the package writes them.
        results: Of the agent's runs.
        failure: Why it broke off: empty, or one line.
        ended: How the agent's run ended, where it broke off because that had nothing to say.
    """

    run: Any
    messages: tuple[dict[str, Any], ...]
    results: tuple[RunResult[str], ...]
    failure: str = ""
    ended: RunStatus | None = None


async def simulate(
    domain: str,
    task: Any,
    make: MakesAgent,
    user: Completion,
    *,
    bounds: Bounds,
    seed: int,
    observe: Callable[[Any], Any] | None = None,
) -> Simulated:
    """Let agent and user talk until one of them ends it, or a bound does.

    Args:
        domain: One of the package.
        task: Of the package.
        make: Makes the agent.
        user: Completes the simulated user's messages.
        bounds: Of the orchestrator.
        seed: Of the user; that of the agent is in its sampling.
        observe: Puts results that are JSON into another form for the agent; None leaves the text as
            the environment gives it.

    Raises:
        BackendError: A model is gone.
    """
    environment = await anyio.to_thread.run_sync(_registry.get_env_constructor(domain))
    policy, tools = environment.get_policy(), environment.get_tools()
    schemas = [tool.openai_schema for tool in tools]
    dialogue = Dialogue(make, schemas, instructions(policy), observe)
    orchestrator = _orchestrator.Orchestrator(
        domain=domain,
        agent=TestedAgent(tools, policy, dialogue),
        user=_user(environment, task, user),
        environment=environment,
        task=task,
        max_steps=bounds.steps,
        max_errors=bounds.errors,
        seed=seed,
    )
    run, failure = None, None
    async with dialogue.open():
        try:
            run = await _in_thread(orchestrator.run)
        except Exception as error:  # which a task group would put into a group
            failure = error
    if isinstance(failure, LingAgentError) and not isinstance(failure, ContextOverflow):
        raise failure
    return Simulated(
        run,
        tuple(message.model_dump(mode="json") for message in orchestrator.get_trajectory()),
        tuple(dialogue.results),
        failure=_line(failure) if failure is not None else "",
        ended=failure.status if isinstance(failure, NoAnswer) else None,
    )


def _user(environment: Any, task: Any, completion: Completion) -> Any:
    tools = environment.get_user_tools() if environment.user_tools is not None else None
    return _simulator.UserSimulator(
        tools=tools, instructions=str(task.user_scenario), llm=completion, llm_args={}
    )


async def _in_thread(work: Callable[[], T]) -> T:
    """Run what asks the event loop from its thread; a cancellation reaches it there."""
    own = anyio.CapacityLimiter(1)  # it takes minutes: no thread that others wait for is held
    try:
        return await anyio.to_thread.run_sync(work, limiter=own)
    except concurrent.futures.CancelledError:
        await anyio.lowlevel.checkpoint()  # asyncio's own is raised here
        raise


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if not isinstance(error, NoAnswer):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else text[:299] + "…"


@dataclass(frozen=True, slots=True)
class Score:
    """What the package's evaluator says.

    Attributes:
        reward: From 0 to 1.
        info: The evaluator's ``RewardInfo`` as JSON types.
        in_words: What became of the assertions in words: "none", "judged", or why not.
        undecided: Why the reward does not stand: the evaluator broke off, or it rests on words that
            nobody has judged. Empty when it stands.
    """

    reward: float
    info: dict[str, Any]
    in_words: str
    undecided: str = ""


async def score(domain: str, task: Any, run: Any, judge: Completion | None) -> Score:
    """Have the package's evaluator judge a simulation.

    Args:
        domain: Of the task.
        task: Of the package.
        run: Its ``SimulationRun``.
        judge: Asked about assertions in words; None leaves them unjudged. They count for the reward
            only where the task's ``reward_basis`` says so (of the package's own tasks none does).

    Raises:
        BackendError: The judge is gone.
    """
    try:
        return await _with_words(domain, task, run, judge)
    except LingAgentError:
        raise
    except Exception as error:  # it does so where an assertion is about what is not there
        return Score(0.0, {}, "not judged", f"the evaluator broke off: {_line(error)}")


async def _with_words(domain: str, task: Any, run: Any, judge: Completion | None) -> Score:
    """The same, with an exception where the evaluator raises one."""
    criteria = task.evaluation_criteria
    kinds = _evaluator.EvaluationType
    if criteria is None or not criteria.nl_assertions:
        return await _score(domain, task, run, kinds.ALL, "none")
    why = "not judged: no judge was asked for"
    if judge is not None:
        try:
            with package.judging(judge):
                found = await _score(domain, task, run, kinds.ALL_WITH_NL_ASSERTIONS, "judged")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"not judged: the judge did not answer in the form asked for ({_line(error)})"
        else:
            judged, asked = len(found.info.get("nl_assertions") or ()), len(criteria.nl_assertions)
            if judged == asked:
                return found
            why = f"not judged: the judge answered for {judged} of {asked}"
    words = _evaluator.RewardType.NL_ASSERTION
    basis = [kind for kind in criteria.reward_basis if kind != words]
    without = criteria.model_copy(update={"reward_basis": basis})
    rest = task.model_copy(update={"evaluation_criteria": without})
    found = await _score(domain, rest, run, kinds.ALL, why)
    # The parts are multiplied: nothing that words could say makes up for a 0.
    if found.reward and words in criteria.reward_basis:
        return dataclasses.replace(found, undecided=f"it rests on assertions in words: {why}")
    return found


async def _score(domain: str, task: Any, run: Any, kind: Any, in_words: str) -> Score:
    evaluate = partial(
        _evaluator.evaluate_simulation,
        simulation=run,
        task=task,
        evaluation_type=kind,
        solo_mode=False,
        domain=domain,
    )
    info = await _in_thread(evaluate)
    return Score(float(info.reward), info.model_dump(mode="json"), in_words)
