"""The log on its way to the store: what fails is not lost, and a cancellation waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ling_agent import ConfigurationError, StoreError, Trajectory
from ling_agent.memory import Entry, Hit, InMemoryStore
from ling_agent.memory.journal import Journal, claimed, open_journal
from ling_agent.memory.window import Window
from ling_agent.messages import UserMessage

from ..helpers import GUARD

pytestmark = pytest.mark.anyio


class Disk(InMemoryStore):
    """A store that fails when it is told to, and may block."""

    def __init__(self, *, blocking: bool = False) -> None:
        super().__init__()
        self.blocking = blocking
        self.full = False
        self.writes = 0
        self.hold: threading.Event | None = None
        self.entered = threading.Event()

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        self.entered.set()
        if self.hold is not None:
            self.hold.wait(GUARD)
        if self.full:
            raise StoreError("full")
        self.writes += 1
        super().append(run_id, entries, status=status)


async def opened(store: InMemoryStore, unsaved: dict[str, Trajectory]) -> Journal:
    return await open_journal(store, "r", unsaved, known=False)


def write(journal: Journal, *texts: str) -> None:
    for text in texts:
        journal.trajectory.append("task", UserMessage(text), task=text)


def texts(trajectory: Trajectory) -> list[str]:
    return [message.content for message in Window(trajectory).messages()]


async def test_what_is_new_is_written_once() -> None:
    store = Disk()
    journal = await opened(store, {})
    await journal.flush()
    assert "r" not in store, "nothing to write"
    write(journal, "a", "b")
    await journal.flush()
    await journal.flush()
    assert store.writes == 1
    write(journal, "c")
    await journal.flush("completed")
    await journal.flush("completed")
    assert store.writes == 3, "a status is written also alone"
    assert texts(store.load("r")) == ["a", "b", "c"]
    assert store.runs()[0].status == "completed"


@pytest.mark.parametrize("blocking", [False, True])
async def test_what_could_not_be_written_is_written_later(blocking: bool) -> None:
    store, unsaved = Disk(blocking=blocking), dict[str, Trajectory]()
    journal = await opened(store, unsaved)
    write(journal, "a")
    await journal.flush()
    store.full = True
    write(journal, "b")
    with pytest.raises(StoreError, match="full"):
        await journal.flush()
    write(journal, "c")
    with pytest.raises(StoreError, match="full"):
        await journal.flush("failed")
    store.full = False
    later = await open_journal(store, "r", unsaved, known=True)
    assert texts(later.trajectory) == ["a", "b", "c"]
    assert texts(store.load("r")) == ["a"]
    write(later, "d")
    await later.flush()
    assert texts(store.load("r")) == ["a", "b", "c", "d"]
    assert not unsaved


async def test_also_a_run_of_which_nothing_was_written() -> None:
    store, unsaved = Disk(), dict[str, Trajectory]()
    store.full = True
    journal = await opened(store, unsaved)
    write(journal, "a")
    with pytest.raises(StoreError):
        await journal.flush()
    again = await open_journal(store, "r", unsaved, known=True)
    assert texts(again.trajectory) == ["a"]
    with pytest.raises(StoreError, match="not kept"):
        await open_journal(store, "other", unsaved, known=True)


async def test_another_process_that_has_gone_on_wins() -> None:
    store, unsaved = Disk(), dict[str, Trajectory]()
    journal = await opened(store, unsaved)
    write(journal, "a")
    await journal.flush()
    store.full = True
    write(journal, "ours")
    with pytest.raises(StoreError):
        await journal.flush()
    store.full = False
    theirs = store.load("r")
    store.append("r", [theirs.append("task", UserMessage("theirs"), task="theirs")])
    again = await opened(store, unsaved)
    assert texts(again.trajectory) == ["a", "theirs"]
    with pytest.raises(StoreError, match="does not follow"):
        await journal.flush()


async def test_a_cancellation_waits_for_a_flush() -> None:
    store = Disk(blocking=True)
    store.hold = threading.Event()
    journal = await opened(store, {})
    write(journal, "a")
    ended: list[str] = []

    async def flush() -> None:
        try:
            await journal.flush()
            await anyio.lowlevel.checkpoint()
        finally:
            ended.append("written" if "r" in store else "lost")

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(flush)
            await anyio.to_thread.run_sync(store.entered.wait, GUARD)
            group.cancel_scope.cancel()
            store.hold.set()
    assert ended == ["written"]
    write(journal, "b")
    await journal.flush()
    assert texts(store.load("r")) == ["a", "b"]


async def test_flushes_at_once_write_each_entry_once() -> None:
    store = Disk(blocking=True)
    journal = await opened(store, {})

    async def work(n: int) -> None:
        write(journal, str(n))
        await journal.flush()

    async with anyio.create_task_group() as group:
        for n in range(10):
            group.start_soon(work, n)
    assert sorted(texts(store.load("r"))) == sorted(map(str, range(10)))


async def test_a_run_that_began_is_withdrawn() -> None:
    store = Disk()
    first = await opened(store, {})
    write(first, "a")
    await first.flush("completed")
    second = await opened(store, {})
    write(second, "b")
    await second.flush("running")
    await second.withdraw()
    assert not second.forgotten
    assert texts(store.load("r")) == ["a"]
    assert len(store.load("r")) == 3, "the log only grows"


async def test_a_first_run_that_is_withdrawn_can_be_forgotten() -> None:
    store = Disk()
    journal = await opened(store, {})
    await journal.withdraw()
    assert not journal.forgotten, "there is nothing to forget"
    write(journal, "a")
    await journal.flush()
    await journal.withdraw()
    assert journal.forgotten


async def test_what_was_never_written_needs_no_withdrawal() -> None:
    store, unsaved = Disk(), dict[str, Trajectory]()
    journal = await opened(store, unsaved)
    write(journal, "a")
    store.full = True
    with pytest.raises(StoreError):
        await journal.flush()
    await journal.withdraw()
    assert not unsaved, "it has not begun: a later try does not go on with it"


async def test_a_withdrawal_leaves_what_an_earlier_run_could_not_write() -> None:
    store, unsaved = Disk(), dict[str, Trajectory]()
    first = await opened(store, unsaved)
    write(first, "a")
    await first.flush()
    store.full = True
    write(first, "b")
    with pytest.raises(StoreError):
        await first.flush()

    second = await opened(store, unsaved)
    write(second, "c")
    with pytest.raises(StoreError):
        await second.flush()
    await second.withdraw()
    store.full = False
    third = await opened(store, unsaved)
    assert texts(third.trajectory) == ["a", "b"]
    write(third, "d")
    await third.flush()
    await third.withdraw()
    assert texts(store.load("r")) == ["a", "b"]


async def test_search_finds_what_was_not_written_yet() -> None:
    store = Disk()
    journal = await opened(store, {})
    write(journal, "walrus")
    hits = await journal.search("walrus", 5)
    assert [hit.entry for hit in hits] == [0]


async def test_a_claim_is_given_back_also_when_cancelled() -> None:
    store = Disk()
    with anyio.move_on_after(0):
        async with claimed(store, "r"):
            with pytest.raises(ConfigurationError, match="has not ended"):
                async with claimed(store, "r"):
                    pass
            await anyio.sleep_forever()
    async with claimed(store, "r"):
        pass


class HeldClaims(Disk):
    """Whose claims can be held up where a lock would be taken or given back."""

    def __init__(self) -> None:
        super().__init__(blocking=True)
        self.hold_claims = threading.Event()
        self.hold_claims.set()
        self.made: list[AbstractContextManager[None]] = []  # else one that is forgotten would end

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        @contextmanager
        def held() -> Generator[None, None, None]:
            self.entered.set()
            self.hold_claims.wait(GUARD)
            with claim:
                yield
                self.entered.set()
                self.hold_claims.wait(GUARD)

        claim = super().claim(run_id)
        self.made.append(held())
        return self.made[-1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("at_end", [False, True])
async def test_a_cancelled_task_ends_with_its_claim(anyio_backend: str, at_end: bool) -> None:
    """``Task.cancel``, and so ``asyncio.timeout``, knows nothing of shielded scopes."""
    store = HeldClaims()
    inside = asyncio.Event()

    async def work() -> None:
        async with claimed(store, "r"):
            store.entered.clear()
            inside.set()

    if not at_end:
        store.hold_claims.clear()
    task = asyncio.create_task(work())
    if at_end:
        await inside.wait()
        store.hold_claims.clear()
    await asyncio.to_thread(store.entered.wait, GUARD)
    await _cancel(task, store.hold_claims.set)
    async with claimed(store, "r"):
        pass


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_claim_that_comes_too_late_is_given_back(anyio_backend: str) -> None:
    """All tasks are cancelled, also the one that waits for the thread: an event loop's end."""
    store = HeldClaims()
    store.hold_claims.clear()

    async def work() -> None:
        async with claimed(store, "r"):
            pytest.fail("not reached")

    before = asyncio.all_tasks()
    task = asyncio.create_task(work())
    await asyncio.to_thread(store.entered.wait, GUARD)
    for other in asyncio.all_tasks() - before:
        other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.hold_claims.set()
    with anyio.fail_after(GUARD):
        while True:
            with contextlib.suppress(ConfigurationError):
                async with claimed(store, "r"):
                    break
            await anyio.sleep(0.01)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_task_ends_when_all_is_written(anyio_backend: str) -> None:
    store = Disk(blocking=True)
    store.hold = threading.Event()
    journal = await opened(store, {})
    write(journal, "a")
    task = asyncio.create_task(journal.flush())
    await asyncio.to_thread(store.entered.wait, GUARD)
    await _cancel(task, store.hold.set)
    assert texts(store.load("r")) == ["a"]
    write(journal, "b")
    await journal.flush()
    assert texts(store.load("r")) == ["a", "b"], "each entry once"


async def _cancel(task: asyncio.Task[None], release: Callable[[], None]) -> None:
    """Cancel a task whose thread is held up until this has had every chance to end."""
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done(), "it waits for its thread"
    release()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_search_keeps_no_event_loop_waiting() -> None:
    """Also of a store that never waits: large texts are put into the index when searched."""
    threads: list[int] = []

    class Slow(InMemoryStore):
        def search(self, run_id: str, query: str, *, limit: int = 10) -> list[Hit]:
            threads.append(threading.get_ident())
            return super().search(run_id, query, limit=limit)

    journal = await opened(Slow(), {})
    write(journal, "walrus")
    assert await journal.search("walrus", 5)
    assert threads != [threading.get_ident()]
