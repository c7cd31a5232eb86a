"""Runs on a store of a file, and what happens to the file meanwhile."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from ling_agent import Agent, CancelToken, Deny, Limits, Memory, StoreError, tool
from ling_agent.backends import ModelRequest
from ling_agent.memory import SQLiteStore, Trajectory, prune
from ling_agent.messages import AssistantMessage, ToolMessage
from ling_agent.testing import ScriptedBackend

from .helpers import GUARD, call, calls

pytestmark = pytest.mark.anyio

LAST = 8


class World:
    """What was paid, and what happens when so much was."""

    def __init__(self, happens: Callable[[], object] | None = None, at: int = 4) -> None:
        self.paid: list[int] = []

        # Exclusive, so that calls run in their order: trio starts tasks in any.
        @tool(exclusive=True)
        def pay(n: int) -> str:
            """Pay."""
            self.paid.append(n)
            if n == at and happens is not None:
                happens()
            return f"paid {n} " * 100

        self.tools = [pay]


def reply(request: ModelRequest) -> str:
    """Two payments a step."""
    made = [
        c.arguments["n"]
        for m in request.messages
        if isinstance(m, AssistantMessage)
        for c in m.calls
    ]
    paid = max(made, default=0)
    return "done" if paid >= LAST else calls(call("pay", n=paid + 1), call("pay", n=paid + 2))


def agent(world: World, store: SQLiteStore) -> Agent:
    return Agent(
        ScriptedBackend(itertools.repeat(reply)),
        tools=world.tools,
        planning="off",
        memory=Memory(store),
    )


def once(world: World) -> bool:
    return sorted(world.paid) == list(range(1, LAST + 1))


def removal(path: Path, *suffixes: str) -> Callable[[], None]:
    def remove() -> None:
        for suffix in suffixes:
            path.with_name(path.name + suffix).unlink()

    return remove


@pytest.mark.parametrize("suffixes", [("",), ("-wal",), ("", "-wal", "-shm", "-claims")])
async def test_a_file_that_is_removed_in_the_middle_loses_nothing(
    tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    path = tmp_path / "runs.db"
    world, store = World(removal(path, *suffixes)), SQLiteStore(path)
    result = await agent(world, store).run("Pay.", session="s")
    assert result.ok, result.error
    assert once(world)
    store.close()
    again = SQLiteStore(path)
    assert list(again.load("s")) == list(result.trajectory)
    again.close()


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_file_that_is_locked_for_too_long_ends_the_run_which_goes_on_later(
    tmp_path: Path, same_process: bool
) -> None:
    path = tmp_path / "runs.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    world = World(lambda: other.execute("BEGIN IMMEDIATE"))
    store = SQLiteStore(path, timeout=0.05)
    first = agent(world, store)
    result = await first.run("Pay.", session="s")
    assert result.status == "failed"
    assert isinstance(result.error, StoreError)
    assert "was locked by another process" in str(result.error)
    assert any("could not be kept" in note for note in result.notes)
    assert world.paid == [1, 2, 3, 4], "no call is begun that cannot be written down"
    told = [e.text for e in result.trajectory if e.kind == "observation"]
    assert any(text.startswith("paid 4") for text in told), "what was done is on the result"
    other.close()
    if same_process:
        result = await first.resume("s")
    else:  # as one that has only the file
        result = await agent(world, SQLiteStore(path)).resume("s")
    assert result.output == "done"
    assert once(world)
    unknown = [e for e in result.trajectory if "is not known" in e.text]
    assert len(unknown) == (0 if same_process else 1)
    assert list(store.load("s")) == list(result.trajectory)
    store.close()


async def test_a_store_that_is_closed_in_the_middle_opens_again(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    world = World(store.close)
    result = await agent(world, store).run("Pay.", session="s")
    assert result.ok, result.error
    assert once(world)
    assert list(store.load("s")) == list(result.trajectory)
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_process_that_is_forked_by_a_tool_leaves_the_run_alone(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")

    def fork() -> None:
        if (child := os.fork()) == 0:
            os._exit(0 if len(store.load("s")) and _refused(store) else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    codes: list[int] = []
    world = World(fork)
    result = await agent(world, store).run("Pay.", session="s")
    assert codes == [0]
    assert result.ok, result.error
    assert once(world)
    assert list(store.load("s")) == list(result.trajectory)
    store.close()


def _refused(store: SQLiteStore) -> bool:
    try:
        with store.claim("s"):
            return False
    except Exception:
        return True


async def test_approvals_are_given_in_another_process(tmp_path: Path) -> None:
    """Stores and agents anew each time: all that is known comes from the file."""

    @tool(requires_approval=True)
    async def send(n: int) -> str:
        """Send."""
        sent.append(n)
        return "sent"

    def anew(*replies: str) -> Agent:
        memory = Memory(SQLiteStore(tmp_path / "runs.db"))
        return Agent(ScriptedBackend(replies), tools=[send], planning="off", memory=memory)

    sent: list[int] = []
    result = await anew(calls(call("send", n=1), call("send", n=2))).run("x", session="s")
    first, second = (pending.id for pending in result.pending_approvals)
    result = await anew().resume("s", approvals={first: True})
    assert (result.status, sent) == ("needs_approval", [1])
    assert [pending.id for pending in result.pending_approvals] == [second]
    result = await anew("done").resume("s", approvals={second: Deny("no more")})
    assert (result.output, sent) == ("done", [1])
    decided = [e.data["decision"] for e in result.trajectory if e.kind == "approval"]
    assert decided == ["approved", "denied"]


async def test_an_agent_that_is_a_tool_has_a_run_of_its_own_in_the_store(tmp_path: Path) -> None:
    memory = Memory(SQLiteStore(tmp_path / "runs.db"))
    inner = Agent(ScriptedBackend(["It is 5."]), memory=memory, name="solve")
    backend = ScriptedBackend([call("solve", task="2 + 3?"), "done"])
    outer = Agent(backend, tools=[inner.as_tool()], memory=memory, planning="off")
    result = await outer.run("x", session="s")
    assert result.output == "done"
    assert [run.status for run in memory.store.runs()] == ["completed", "completed"]
    assert {run.task for run in memory.store.runs()} == {"x", "2 + 3?"}
    memory.store.close()


@pytest.mark.parametrize("where", ["tool", "record"])
async def test_a_cancelled_run_goes_on_from_its_file(tmp_path: Path, where: str) -> None:
    token = CancelToken()
    paid: list[int] = []

    @tool
    async def pay(n: int) -> str:
        """Pay."""
        paid.append(n)
        if where == "tool" and n == 5 and not token.cancelled:
            token.cancel()
            await anyio.sleep(GUARD)
        return f"paid {n} " * 70

    def model(request: ModelRequest) -> str:
        if "Write a record" in request.messages[-1].content:
            if where == "record":
                token.cancel()
            return "Goal: pay.\nFacts:\n- paid\nDecisions:\n- go on"
        if len(paid) >= 30:
            return "done"
        return call("pay", n=len(paid) + 1)

    def anew() -> Agent:
        return Agent(
            ScriptedBackend(itertools.repeat(model), context_window=1200),
            tools=[pay],
            planning="off",
            memory=Memory(SQLiteStore(tmp_path / "runs.db")),
            limits=Limits(max_steps=100),
        )

    with anyio.fail_after(GUARD):
        result = await anew().run("Pay.", session="s", cancel=token)
        assert result.status == "cancelled"
        assert list(SQLiteStore(tmp_path / "runs.db").load("s")) == list(result.trajectory)
        result = await anew().resume("s")
    assert result.output == "done"
    assert paid == list(range(1, 31))
    told = [e.text for e in result.trajectory if e.kind == "observation"]
    unknown = [text for text in told if "is not known" in text]
    assert len(unknown) == (1 if where == "tool" else 0)


def test_many_sessions_of_two_event_loops_on_one_store(tmp_path: Path) -> None:
    def model(request: ModelRequest) -> str:
        done = any(isinstance(m, ToolMessage) for m in request.messages)
        return "done" if done else call("wait")

    @tool
    async def wait() -> str:
        """Wait."""
        await anyio.sleep(0.01)
        return "ok"

    store = SQLiteStore(tmp_path / "runs.db")
    backend = ScriptedBackend(itertools.repeat(model))
    shared = Agent(backend, tools=[wait], planning="off", memory=Memory(store))
    statuses: list[str] = []

    async def one(session: str) -> None:
        statuses.append((await shared.run("x", session=session)).status)

    async def many(name: str) -> None:
        async with anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(one, f"{name} {n}")

    def loop(backend: str) -> None:
        anyio.run(many, backend, backend=backend)

    threads = [threading.Thread(target=loop, args=(name,)) for name in ("asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert statuses == ["completed"] * 20
    assert all(isinstance(store.load(run.run_id), Trajectory) for run in store.runs())
    assert len(store.runs()) == 20
    store.close()


async def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(2_000_000_000, -3_600)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    ran: list[int] = []

    @tool
    def pay(n: int) -> str:
        """Pay."""
        ran.append(n)
        return f"paid {n}"

    store = SQLiteStore(tmp_path / "runs.db")
    script = [call("pay", n=1), call("pay", n=2), "done"]
    agent = Agent(ScriptedBackend(script), tools=[pay], planning="off", memory=Memory(store))
    first = await agent.run("Pay twice.", session="s", limits=Limits(max_steps=1))
    times = [entry.time for entry in first.trajectory]
    assert times == sorted(times, reverse=True), "the clock does go backwards"

    result = await agent.resume("s")
    assert (result.output, ran) == ("done", [1, 2])
    assert list(store.load("s")) == list(result.trajectory), "in the order in which it happened"
    (info,) = store.runs()
    assert info.updated >= info.created
    assert prune(store, older_than=0.0) == [], "what is in the future is not old"
    store.close()
