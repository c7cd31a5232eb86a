"""A process that dies while a call runs whose message the model still writes; logs cut anywhere."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import Agent, Limits, Memory, Usage, tool
from ling_agent.backends import ModelRequest
from ling_agent.events import (
    CallParsed,
    Event,
    RunFinished,
    StepFinished,
    ToolFinished,
    ToolStarted,
)
from ling_agent.memory import Entry, InMemoryStore, SQLiteStore, Trajectory
from ling_agent.messages import AssistantMessage, ToolMessage
from ling_agent.testing import Reply, ScriptedBackend
from ling_agent.tools import Tool

from .helpers import GUARD, call

ROOT = Path(__file__).parents[1]
UNKNOWN = "whether it took effect is not known"
BROKEN = '<tool_call>\n{"name": "pay", "arguments": {"n": }}\n</tool_call>'


def well_formed(trajectory: Trajectory) -> None:
    """Every call, readable or not, has one observation behind its message, in its order."""
    waiting: list[str] = []
    seen: set[str] = set()
    for entry in trajectory:
        if isinstance(entry.message, AssistantMessage):
            blocks = [c.id for c in entry.message.calls]
            failures: Any = entry.data.get("failures", ())
            blocks += [f"call_{entry.step}_{f['index']}" for f in failures]
            assert not seen & set(blocks), "a call id is used once"
            seen |= set(blocks)
    for message in trajectory.messages():
        if isinstance(message, ToolMessage):
            assert message.call_id in seen
            if waiting and message.call_id == waiting[0]:
                waiting.pop(0)
            seen.discard(message.call_id)
        elif isinstance(message, AssistantMessage):
            assert not waiting
            waiting = [made.id for made in message.calls]
        else:
            assert not waiting
    assert not waiting
    assert not seen, "every call is answered"


# -- a process that is killed ---------------------------------------------------------------------

PROGRAM = """
import os, signal, sys
import anyio
from ling_agent import Agent, Memory, tool
from ling_agent.memory import SQLiteStore
from tests.helpers import call
from tests.paced import PacedBackend, forever, until

store, done, what, idempotent, loop = sys.argv[1:]

async def main():
    begun = anyio.Event()

    @tool(idempotent=idempotent == "idempotent")
    async def pay(n: int) -> str:
        \"\"\"Pay.\"\"\"
        with open(done, "a") as file:
            file.write(f"{n}\\n")
        if n == 1 and what in ("exit", "hang"):
            begun.set()
            await anyio.sleep_forever()
        return f"paid {n}"

    def leave():
        if what == "exit":
            os._exit(9)
        print("ready", flush=True)

    message = [call("pay", n=0), *[anyio.lowlevel.checkpoint] * 50, call("pay", n=1), until(begun)]
    message += ["<tool_call>", leave, forever]
    backend = PacedBackend(*([message] if what in ("exit", "hang") else []), ["done"])
    agent = Agent(backend, tools=[pay], planning="off", memory=Memory(SQLiteStore(store)))
    if what == "resume":
        result = await agent.resume("s")
    else:
        result = await agent.run("Pay." if what in ("exit", "hang") else "Go on.", session="s")
    print(result.status, result.output)

anyio.run(main, backend=loop)
"""


def program(tmp_path: Path, what: str, kind: str, loop: str) -> subprocess.Popen[str]:
    arguments = [str(tmp_path / "runs.db"), str(tmp_path / "done"), what, kind, loop]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 9, -signal.SIGKILL), err
    return process.returncode, out


def die(tmp_path: Path, how: str, kind: str, loop: str) -> None:
    process = program(tmp_path, how, kind, loop)
    if how == "hang":
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    code, _ = ended(process)
    assert code == (9 if how == "exit" else -signal.SIGKILL)
    kept = SQLiteStore(tmp_path / "runs.db").load("s")
    assert [e.kind for e in kept if e.kind != "usage"][-2:] == ["call", "call"]
    assert not any(e.kind == "assistant" for e in kept), "the message was never whole"
    copied = Trajectory.from_jsonl(kept.to_jsonl())
    assert list(copied) == list(kept)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", ["idempotent", "once"])
@pytest.mark.parametrize("how", ["exit", "hang"])
def test_killed_while_a_call_runs_and_the_model_writes(
    tmp_path: Path, how: str, kind: str, loop: str
) -> None:
    die(tmp_path, how, kind, loop)
    assert ended(program(tmp_path, "resume", kind, loop)) == (0, "completed done\n")
    paid = Counter((tmp_path / "done").read_text().split())
    again = 2 if kind == "idempotent" else 1
    assert paid == {"0": again, "1": again}
    kept = SQLiteStore(tmp_path / "runs.db").load("s")
    well_formed(kept)
    told = [m.content for m in kept.messages() if isinstance(m, ToolMessage)]
    if kind == "idempotent":
        assert told == ["paid 0", "paid 1"]
    else:
        assert all(UNKNOWN in text for text in told)
        assert len(told) == 2


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_new_task_after_such_a_death(tmp_path: Path, loop: str) -> None:
    die(tmp_path, "exit", "idempotent", loop)
    assert ended(program(tmp_path, "go on", "idempotent", loop)) == (0, "completed done\n")
    paid = Counter((tmp_path / "done").read_text().split())
    assert paid == {"0": 1, "1": 1}, "what was left is not begun again for another task"
    kept = SQLiteStore(tmp_path / "runs.db").load("s")
    well_formed(kept)
    roles = [type(m).__name__[0] for m in kept.messages()]
    assert "".join(roles) == "UATTUA"


# -- any script, any chunking, any cut ------------------------------------------------------------


class World:
    """What the tools have done."""

    def __init__(self) -> None:
        self.done: Counter[int] = Counter()

        @tool
        async def pay(n: int) -> str:
            """Pay."""
            self.done[n] += 1
            for _ in range(n % 5):
                await anyio.lowlevel.checkpoint()
            return f"paid {n}"

        @tool(exclusive=True)
        async def alone(n: int) -> str:
            """Pay alone."""
            self.done[n] += 1
            await anyio.lowlevel.checkpoint()
            return f"paid {n}"

        self.tools: list[Tool[..., Any]] = [pay, alone]


class Script:
    """Messages with several calls each, made from a seed; each call has a number of its own."""

    def __init__(self, seed: int) -> None:
        self._random = chance = random.Random(seed)
        self.renders = chance.random() < 0.5
        self.parallel = chance.choice([1, 2, 8])
        self.messages: list[str] = []
        number = 0
        for _ in range(chance.randrange(1, 4)):
            parts: list[str] = []
            for _ in range(chance.randrange(1, 5)):
                kind = chance.random()
                if kind < 0.15:
                    parts.append(BROKEN)
                    continue
                name = "alone" if kind < 0.3 else "nobody" if kind < 0.4 else "pay"
                argument = {"m": 0} if 0.4 < kind < 0.5 else {"n": number}
                parts.append(call(name, **argument))
                number += 1
                if chance.random() < 0.3:
                    parts.append("And ")
            self.messages.append("\n".join(parts))

    def reply(self, request: ModelRequest) -> Reply:
        """What comes next is known by what was said, so that a resumed run goes on from there."""
        said = sum(isinstance(m, AssistantMessage) for m in request.messages)
        text = self.messages[said] if said < len(self.messages) else "done"
        return Reply(text, usage=Usage(10, 5), chunk_size=self._random.choice([1, 3, 17, 10_000]))

    def agent(self, world: World, store: InMemoryStore) -> Agent:
        return Agent(
            ScriptedBackend([self.reply] * 99, renders_prompts=self.renders),
            tools=world.tools,
            planning="off",
            memory=Memory(store),
            limits=Limits(max_parallel_tools=self.parallel, max_corrections=50),
        )


class RecordingStore(InMemoryStore):
    """Remembers what was written together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Entry]] = []

    def append(self, run_id: str, entries: Any, *, status: str | None = None) -> None:
        super().append(run_id, entries, status=status)
        self.batches.append(list(entries))


def check_events(events: list[Event]) -> None:
    """Started behind parsed, finished behind started, all before the step's end; nothing twice."""
    parsed: set[str] = set()
    started: set[str] = set()
    finished: set[str] = set()
    for event in events:
        match event:
            case CallParsed():
                parsed.add(event.id)
            case ToolStarted(made):
                assert made.id in parsed
                assert made.id not in started
                started.add(made.id)
            case ToolFinished(observation):
                assert observation.call_id not in finished
                finished.add(observation.call_id)
            case StepFinished():
                assert parsed <= finished
                assert started <= finished
            case _:
                pass
    assert isinstance(events[-1], RunFinished)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(30))
async def test_any_script_and_then_its_log_cut_anywhere(seed: int) -> None:
    script, world, store = Script(seed), World(), RecordingStore()
    events: list[Event] = []
    with anyio.fail_after(GUARD):
        async with script.agent(world, store).stream("Pay.", session="s") as run:
            events.extend([event async for event in run])
    assert run.result.output == "done"
    assert set(world.done.values()) <= {1}
    well_formed(run.result.trajectory)
    check_events(events)
    entries = [entry for batch in store.batches for entry in batch]
    assert entries == list(run.result.trajectory)
    last = max(i for i, entry in enumerate(entries) if entry.kind == "assistant")
    for length in range(1, last + 1):
        await cut(script, entries[:length], set(world.done))


async def cut(script: Script, entries: list[Entry], every: set[int]) -> None:
    """A process that comes later has only this much of the log."""
    store, world = InMemoryStore(), World()
    store.append("s", entries)
    begun = {e.data["call_id"] for e in entries if e.kind == "call"}
    numbers = {
        made.id: made.arguments.get("n")
        for entry in entries
        if isinstance(entry.message, AssistantMessage)
        for made in entry.message.calls
    } | {e.data["call_id"]: e.data["arguments"].get("n") for e in entries if "arguments" in e.data}
    before = {numbers[id_] for id_ in begun} - {None}
    with anyio.fail_after(GUARD):
        result = await script.agent(world, store).resume("s")
    assert result.output == "done"
    assert list(result.trajectory)[: len(entries)] == entries
    assert set(world.done.values()) <= {1}
    assert not before & set(world.done), "what had begun is not made again"
    assert set(world.done) <= every
    well_formed(result.trajectory)
