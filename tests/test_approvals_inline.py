"""`approve=`: a function decides while the run waits, or leaves it to `resume`, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import (
    Agent,
    CancelToken,
    ConfigurationError,
    Deny,
    Edit,
    Memory,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.approvals import ApprovalRequest
from ling_agent.events import ApprovalRequested, ToolFinished, ToolStarted
from ling_agent.hooks import BeforeTool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD, call, calls, kinds, observations, stream
from .paced import PacedBackend, forever, until

pytestmark = pytest.mark.anyio


class Shop:
    """Tools that record what ran, and a function that decides by what it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.ran: list[str] = []
        self.asked: list[ApprovalRequest] = []
        self._answers = iter(answers)

        @tool
        async def look(item: str) -> str:
            """Look at an item."""
            self.ran.append(f"look {item}")
            return f"{item} is here"

        @tool(requires_approval=True)
        async def buy(item: str) -> str:
            """Buy an item."""
            self.ran.append(f"buy {item}")
            return f"bought {item}"

        @tool(requires_approval=lambda arguments: arguments["price"] > 10)
        async def pay(price: float) -> str:
            """Pay."""
            self.ran.append(f"pay {price:g}")
            return f"paid {price:g}"

        self.tools = [look, buy, pay]

    def answer(self, request: ApprovalRequest) -> Any:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def answer_later(self, request: ApprovalRequest) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.answer(request)

    def agent(self, *script: str, later: bool = False, **options: Any) -> Agent:
        approve: Callable[[ApprovalRequest], Any] = self.answer_later if later else self.answer
        backend = ScriptedBackend(script)
        return Agent(backend, tools=self.tools, planning="off", approve=approve, **options)


def decisions(result: RunResult) -> list[Mapping[str, Any]]:
    return [entry.data for entry in result.trajectory if entry.kind == "approval"]


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize(
    ("decision", "ran", "told", "kept"),
    [
        (True, ["buy a"], "bought a", "approved"),
        (False, [], "declined", "denied"),
        (Deny("too expensive"), [], "too expensive", "denied"),
        (Edit({"item": "b"}), ["buy b"], "bought b", "edited"),
    ],
)
async def test_a_decision_while_the_run_waits(
    decision: Any, ran: list[str], told: str, kept: str, later: bool
) -> None:
    shop = Shop(decision)
    events, result = await stream(shop.agent(call("buy", item="a"), "done", later=later))
    assert (result.status, result.output) == (RunStatus.completed, "done")
    assert shop.ran == ran
    (text,) = observations(result)
    assert told in text
    assert [d["decision"] for d in decisions(result)] == [kept]
    assert [d["call_id"] for d in decisions(result)] == ["call_1_0"]
    (request,) = shop.asked
    assert (request.call.arguments, request.tool.name) == ({"item": "a"}, "buy")
    assert request.run_id == result.run_id
    asked = [e for e in events if isinstance(e, ApprovalRequested)]
    assert [e.call.id for e in asked] == ["call_1_0"]
    started = [e.call for e in events if isinstance(e, ToolStarted)]
    assert len(started) == len(ran)
    assert len([e for e in events if isinstance(e, ToolFinished)]) == 1
    assert result.usage.tool_calls == len(ran)
    assert result.pending_approvals == ()


async def test_an_edit_is_told_to_the_model() -> None:
    shop = Shop(Edit({"item": "b"}))
    result = await shop.agent(call("buy", item="a"), "done").run("x")
    (text,) = observations(result)
    assert text == '(The user changed the arguments to {"item": "b"}.)\nbought b'


async def test_the_same_call_again_after_an_edit_is_answered_with_what_came_of_it() -> None:
    shop = Shop(Edit({"item": "b"}), True)
    result = await shop.agent(call("buy", item="a"), call("buy", item="a"), "done").run("x")
    assert result.output == "done"
    assert shop.ran == ["buy b"]
    assert "bought b" in observations(result)[1]


async def test_an_edit_that_does_not_fit_never_runs() -> None:
    shop = Shop(Edit({"thing": "b"}))
    result = await shop.agent(call("buy", item="a"), "done").run("x")
    assert (result.output, shop.ran) == ("done", [])
    (text,) = observations(result)
    assert "do not fit" in text
    assert result.usage.tool_calls == 0


async def test_an_edit_passes_the_hooks_again() -> None:
    seen: list[Mapping[str, Any]] = []

    def hook(moment: BeforeTool) -> None:
        seen.append(moment.arguments)

    shop = Shop(Edit({"item": "b"}))
    await shop.agent(call("buy", item="a"), "done", hooks=[hook]).run("x")
    assert seen == [{"item": "a"}, {"item": "b"}]


async def test_none_leaves_it_to_resume() -> None:
    shop = Shop(None, True)
    agent = shop.agent(
        calls(call("look", item="a"), call("buy", item="a"), call("look", item="b")), "done"
    )
    events, result = await stream(agent)
    assert result.status is RunStatus.needs_approval
    assert [c.id for c in result.pending_approvals] == ["call_1_1"]
    assert len([e for e in events if isinstance(e, ApprovalRequested)]) == 1
    assert "buy a" not in shop.ran
    resumed = await agent.resume(result.run_id, approvals={"call_1_1": True})
    assert resumed.output == "done"
    assert sorted(shop.ran) == ["buy a", "look a", "look b"]
    assert observations(resumed) == ["a is here", "bought a", "b is here"]
    assert len(shop.asked) == 1, "nobody is asked about what is decided"


async def test_resume_without_a_decision_asks_again() -> None:
    shop = Shop(None, Deny("no"))
    agent = shop.agent(call("buy", item="a"), "done")
    result = await agent.run("x")
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, shop.ran) == ("done", [])
    assert len(shop.asked) == 2
    assert [d["decision"] for d in decisions(resumed)] == ["denied"]


@pytest.mark.parametrize("answer", ["yes", 1, {"item": "b"}, Edit({"item": object()})])
async def test_nonsense_is_an_error_of_the_program(answer: Any) -> None:
    shop = Shop(answer, True)
    agent = shop.agent(calls(call("buy", item="a"), call("look", item="a")), "done")
    with pytest.raises(ConfigurationError):
        await agent.run("x", session="s")
    assert "buy a" not in shop.ran
    resumed = await agent.resume("s")
    assert resumed.output == "done"
    assert sorted(shop.ran) == ["buy a", "look a"], "each once"


async def test_an_error_in_the_function_is_raised_and_what_was_done_is_kept() -> None:
    shop = Shop(RuntimeError("my bug"), True)
    agent = shop.agent(calls(call("look", item="a"), call("buy", item="a")), "done")
    with pytest.raises(RuntimeError, match="my bug"):
        await agent.run("x", session="s")
    assert shop.ran == ["look a"]
    resumed = await agent.resume("s")
    assert resumed.output == "done"
    assert shop.ran == ["look a", "buy a"]


async def test_one_question_at_a_time_while_others_run() -> None:
    open_questions, most = 0, 0
    looked = [anyio.Event(), anyio.Event()]
    order: list[str] = []

    async def approve(request: ApprovalRequest) -> bool:
        nonlocal open_questions, most
        open_questions += 1
        most = max(most, open_questions)
        order.append(request.call.id)
        await looked[0].wait()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        open_questions -= 1
        return True

    @tool
    async def look(n: int) -> str:
        """Look."""
        looked[n].set()
        return "seen"

    @tool(requires_approval=True)
    async def buy(n: int) -> str:
        """Buy."""
        return f"bought {n}"

    text = calls(*(call("buy", n=n) for n in range(3)), call("look", n=0))
    agent = Agent(ScriptedBackend([text, "done"]), tools=[look, buy], approve=approve)
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert (result.output, most) == ("done", 1)
    assert sorted(order) == ["call_1_0", "call_1_1", "call_1_2"]
    assert observations(result) == ["bought 0", "bought 1", "bought 2", "seen"]


async def test_asked_and_run_while_the_model_still_writes() -> None:
    bought, asked = anyio.Event(), anyio.Event()

    def approve(request: ApprovalRequest) -> bool:
        asked.set()
        return True

    @tool(requires_approval=True)
    async def buy() -> str:
        """Buy."""
        bought.set()
        return "bought"

    backend = PacedBackend([call("buy"), until(asked), "More. ", until(bought)], ["done"])
    agent = Agent(backend, tools=[buy], approve=approve, planning="off")
    with anyio.fail_after(GUARD):
        result = await agent.run("x")
    assert observations(result) == ["bought"]
    assert [k for k in kinds(result) if k in ("approval", "call", "assistant")][:3] == [
        "approval",
        "call",
        "assistant",
    ]


@pytest.mark.parametrize("writes", [True, False])
async def test_a_cancel_while_the_question_is_open(writes: bool) -> None:
    """The call has not begun: it is asked about again by who goes on."""
    asked = anyio.Event()
    answers: list[bool] = []

    async def approve(_: ApprovalRequest) -> bool:
        if asked.is_set():
            answers.append(True)
            return True
        asked.set()
        await anyio.sleep_forever()
        return False

    shop = Shop()
    backend = PacedBackend([call("buy", item="a"), *([forever] if writes else [])], ["done"])
    agent = Agent(backend, tools=shop.tools, approve=approve, planning="off")
    token = CancelToken()
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("x", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await asked.wait()
            token.cancel()
    assert results[0].status is RunStatus.cancelled
    assert (observations(results[0]), shop.ran) == ([], [])
    resumed = await agent.resume(results[0].run_id)
    assert (resumed.output, shop.ran, answers) == ("done", ["buy a"], [True])


async def test_a_predicate_decides_who_is_asked() -> None:
    shop = Shop(Deny("dear"))
    text = calls(call("pay", price=5), call("pay", price=50), call("pay"))
    result = await shop.agent(text, "done").run("x")
    assert result.output == "done"
    assert [r.call.arguments for r in shop.asked] == [{"price": 50}]
    paid, denied, refused = observations(result)
    assert paid == "paid 5"
    assert "dear" in denied
    assert "do not fit" in refused


async def test_an_edit_beyond_the_predicate_is_the_users_own_word() -> None:
    shop = Shop(Edit({"price": 99}))
    result = await shop.agent(call("pay", price=50), "done").run("x")
    assert shop.ran == ["pay 99"]
    assert len(shop.asked) == 1
    assert result.output == "done"


PROGRAM = """
import sys
from ling_agent import Agent, Deny, Edit, Memory, tool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend

@tool(requires_approval=True)
async def buy(item: str) -> str:
    \"\"\"Buy.\"\"\"
    print("bought", item)
    return f"bought {item}"

path, what = sys.argv[1:]
script = ['<tool_call>{"name": "buy", "arguments": {"item": "a"}}</tool_call>', "done"]
agent = Agent(
    ScriptedBackend(script if what == "run" else script[1:]),
    tools=[buy], planning="off", memory=Memory(SQLiteStore(path)), approve=lambda request: None,
)
if what == "run":
    result = agent.run_sync("x", session="s")
else:
    decision = {"yes": True, "no": Deny("late"), "edit": Edit({"item": "b"})}[what]
    result = agent.resume_sync("s", approvals={"call_1_0": decision})
print(result.status, [c.id for c in result.pending_approvals], result.output)
"""


@pytest.mark.parametrize(
    ("decision", "printed", "told"),
    [
        ("yes", "bought a\n", "bought a"),
        ("no", "", "late"),
        ("edit", "bought b\n", "bought b"),
    ],
)
def test_left_to_another_process(tmp_path: Path, decision: str, printed: str, told: str) -> None:
    file = tmp_path / "runs.db"
    assert run_program(file, "run") == "needs_approval ['call_1_0'] None\n"
    assert run_program(file, decision) == f"{printed}completed [] done\n"
    kept = SQLiteStore(file).load("s")
    assert told in [m.content for m in kept.messages()][2]
    assert [e.data["decision"] for e in kept if e.kind == "approval"][-1] != "asked"


def run_program(file: Path, what: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_decision_that_was_given_in_the_run_survives_its_end(tmp_path: Path) -> None:
    """Approved, written down, and then the run is cancelled before the call's turn comes."""
    asked = anyio.Event()
    token = CancelToken()
    begun = anyio.Event()

    @tool(exclusive=True)
    async def hang() -> str:
        """Hang."""
        begun.set()
        await anyio.sleep_forever()
        return ""

    questions: list[str] = []

    def approve(request: ApprovalRequest) -> bool:
        questions.append(request.call.id)
        asked.set()
        return True

    shop = Shop()
    text = calls(call("hang"), call("buy", item="a"))
    memory = Memory(SQLiteStore(tmp_path / "runs.db"))
    agent = Agent(
        ScriptedBackend([text, "done"]),
        tools=[*shop.tools, hang],
        approve=approve,
        planning="off",
        memory=memory,
    )
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("x", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await begun.wait()
            await asked.wait()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            token.cancel()
    assert results[0].status is RunStatus.cancelled
    assert shop.ran == []
    resumed = await agent.resume(results[0].run_id)
    assert (resumed.output, shop.ran) == ("done", ["buy a"])
    assert questions == ["call_1_1"], "nobody is asked twice"
