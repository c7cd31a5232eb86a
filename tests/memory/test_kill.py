"""A run whose process is killed again and again goes on as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from ling_agent import ConfigurationError
from ling_agent.memory import Trajectory
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import AssistantMessage, ToolMessage

from .killed_run import RUN, Work

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

KILLS = 100
LONGEST = 0.15  # seconds that a process may work; more where none of them got on in that


class Nursery:
    """Starts processes that work on the run in a folder, one at a time."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.memory.killed_run", str(folder)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def start(self) -> int:
        """Begin a process and return its id."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def kill(self, process: int) -> bool:
        """Kill -9; whether it was still at work."""
        os.kill(process, signal.SIGKILL)
        return self._read() == -signal.SIGKILL

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it; there is no process left then."""
        self._process.communicate()


@pytest.fixture
def nursery(tmp_path: Path) -> Generator[Nursery, None, None]:
    """Of the test's folder."""
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.close()


def load(folder: Path) -> Trajectory:
    """What is kept of the run; nothing when it had not begun."""
    store = SQLiteStore(folder / "runs.db")
    try:
        return store.load(RUN) if RUN in store else Trajectory()
    finally:
        store.close()


def check_calls(trajectory: Trajectory, ledger: list[str]) -> None:
    """Each call is answered once; what was paid was paid once, and what was not is said to be."""
    calls = {
        call.id: f"{call.name} {call.arguments['n']}"
        for entry in trajectory
        if isinstance(entry.message, AssistantMessage)
        for call in entry.message.calls
    }
    answers = [e.message for e in trajectory if isinstance(e.message, ToolMessage)]
    assert Counter(answer.call_id for answer in answers) == Counter(list(calls)), "each once"
    times = Counter(ledger)
    for answer in answers:
        what = calls[answer.call_id]
        if answer.content.startswith(f"{what}: done"):
            assert f"{what} ends" in times
        else:
            assert "whether it took effect is not known" in answer.content
    twice = [line for line, count in times.items() if line.startswith("pay") and count > 1]
    assert not twice


def test_a_run_survives_a_hundred_kills(tmp_path: Path, nursery: Nursery) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    known = Trajectory()
    killed, longest = 0, LONGEST
    work = Work(tmp_path)
    for _ in range(KILLS):
        finished = {e.message.call_id for e in known if isinstance(e.message, ToolMessage)}
        before = work.ledger.read_text().splitlines() if work.ledger.exists() else []
        process = nursery.start()
        time.sleep(chance.uniform(0, longest))
        killed += nursery.kill(process)

        now = load(tmp_path)
        assert list(now)[: len(known)] == list(known), "what was kept stays as it is"
        again = set(work.ledger.read_text().splitlines()[len(before) :]) if before else set[str]()
        done = {
            f"{call.name} {call.arguments['n']} begins"
            for entry in known
            if isinstance(entry.message, AssistantMessage)
            for call in entry.message.calls
            if call.id in finished
        }
        assert not again & done, "a call whose observation is kept does not run again"
        if len(now) == len(known):
            longest *= 1.1
        known = now
    assert killed == KILLS, "it does not end by itself"

    (tmp_path / "stop").touch()
    result = anyio.run(work.go_on)
    assert result.output == "Everything is paid."
    assert len(known) > KILLS, "it got on"
    check_calls(load(tmp_path), work.ledger.read_text().splitlines())


def begin(nursery: Nursery, work: Work) -> int:
    """A process that has begun to work."""
    process = nursery.start()
    deadline = time.monotonic() + 60
    while not work.ledger.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert work.ledger.exists(), "it has not begun"
    return process


def test_a_run_is_taken_over_when_its_process_is_dead(tmp_path: Path, nursery: Nursery) -> None:
    work = Work(tmp_path)
    nursery.kill(begin(nursery, work))
    (tmp_path / "stop").touch()
    assert anyio.run(work.go_on).ok


def test_a_second_process_is_refused_while_the_first_is_alive(
    tmp_path: Path, nursery: Nursery
) -> None:
    work = Work(tmp_path)
    process = begin(nursery, work)
    try:
        with pytest.raises(ConfigurationError, match=f"run '{RUN}' .* another process"):
            anyio.run(work.go_on)
    finally:
        nursery.kill(process)
