"""A task's gold actions as two scripts: what the agent's model writes, and what the user's does.

They go through all there is: the texts are parsed, the calls checked and handed to the package's
orchestrator, carried out in its environment, and judged by its evaluator.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

from ling_agent.evals.benchmark import Case, Outcome
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.tau2 import Tau2Benchmark, Tau2Settings, package
from ling_agent.evals.tau2.tasks import tasks_of
from ling_agent.testing import ScriptedBackend

from ...helpers import call

STOP = "Thank you. ###STOP###"

WITHOUT_GOLD = {"update_task_with_history_and_env_assertions"}
"""Tasks of the package that assert a state and give no actions that lead to it."""

WITHOUT_EFFECT = {"retail/12#0", "retail/105#0"}
"""Cases whose only action that would change something is refused by the environment itself."""


def task_of(case: Case) -> Any:
    return tasks_of(case.category, "base")[case.data["task"]]


def gold_actions(task: Any) -> list[Any]:
    criteria = task.evaluation_criteria
    return list(criteria.actions or ()) if criteria is not None else []


def needs_telling(task: Any) -> bool:
    criteria = task.evaluation_criteria
    return bool(criteria is not None and criteria.communicate_info)


@functools.cache
def _environment(domain: str) -> Any:
    return package.part("registry").registry.get_env_constructor(domain)()


def writes(domain: str, action: Any) -> bool:
    """Whether an action changes something, by the package's own mark on its tools."""
    environment = _environment(domain)
    kit = environment.tools if action.requestor == "assistant" else environment.user_tools
    return kit.tool_type(action.name).value == "write"


def scripts(
    task: Any, actions: Sequence[Any], *, tells: bool = True
) -> tuple[list[str], list[str]]:
    """The agent's and the user's messages in which the actions are taken in their order.

    Args:
        task: Of the package.
        actions: Each is taken by whom it names.
        tells: Whether the agent says at the end what the user is to be told.
    """
    agent: list[str] = []
    user = ["Hello, please help me."]
    users_turn = False
    for requestor, group in itertools.groupby(actions, key=lambda action: action.requestor):
        taken = [call(action.name, **action.arguments) for action in group]
        if requestor == "assistant":
            agent += [*taken, "That is done."]
            users_turn = True
        else:
            if not users_turn:
                agent.append("Please do it on your side.")
            user += [*taken, "I have done it."]
            users_turn = False
    info: list[str] = []
    if tells and needs_telling(task):
        info = task.evaluation_criteria.communicate_info
    last = " ".join(["Goodbye.", *info])
    if users_turn:
        agent[-1] = last
    else:
        agent.append(last)
    return agent, [*user, STOP]


async def play(
    case: Case, agent: Sequence[str], user: Sequence[str], *, split: str = "base", **options: Any
) -> Outcome:
    """The outcome of a case in which both sides say what is in their scripts, to the end."""
    tested = ScriptedBackend(agent, context_window=None)
    simulated = ScriptedBackend(user, context_window=None)
    benchmark = Tau2Benchmark(
        EvalOptions(domain=case.category, max_steps=100, **options),
        Tau2Settings(split=split),
        backend=tested,
        user_backend=simulated,
    )
    outcome = await benchmark.run(case)
    tested.assert_exhausted()
    simulated.assert_exhausted()
    return outcome
