"""Checks of a store."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ...errors import ConfigurationError, StoreError
from ...memory import Entry, Store, Trajectory
from ...messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage

_TEXTS = (
    "Grüße 🎉 of\u2028two lines",
    "NUL \x00, half an emoji \ud83d and the other half \udc00",
    "北京大学的图书馆 東京タワー 서울 날씨",
    "\ud83d\ude00 as two halves",
    "",
)


def _task(trajectory: Trajectory, text: str) -> Entry:
    return trajectory.append("task", UserMessage(text), task=text)


def _observation(trajectory: Trajectory, text: str, **data: Any) -> Entry:
    number = trajectory.last_step + 1
    message = ToolMessage(f"call_{number}_0", "read", text)
    return trajectory.append("observation", message, step=number, **data)


def _trajectory(task: str) -> Trajectory:
    """A run with some of everything in it."""
    trajectory = Trajectory()
    trajectory.append("instructions", SystemMessage("Be brief."))
    _task(trajectory, task)
    for step, text in enumerate(_TEXTS, start=1):
        calls = (ToolCall(f"call_{step}_0", text, {"q": text, "n": [1, 2.5, None]}, ("quotes",)),)
        message = AssistantMessage(text, text or None, calls, text)
        trajectory.append("assistant", message, step=step, tokens=7)
        observed = ToolMessage(f"call_{step}_0", "f", text, is_error=bool(step % 2))
        trajectory.append("observation", observed, step=step, call=f"f({text})")
        trajectory.append("usage", step=step, prompt_tokens=step, completion_tokens=0)
    trajectory.append("pin", text="pinned", more={"deep": [{}, [], {"a": _TEXTS[1]}]})
    return trajectory


def _refused(what: str, call: Callable[[], object], kind: type[Exception] = StoreError) -> None:
    """A call that must raise an error of this kind."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r}, which is no {kind.__name__}") from error
    raise AssertionError(f"{what} did not raise {kind.__name__}")


def _enter(claim: contextlib.AbstractContextManager[None]) -> None:
    with claim:
        pass


class StoreConformance(ABC):
    """The checks of a store: subclass it as ``Test…`` and implement `make`.

    The tests are async because agents call their store from inside an event loop, or from threads
    that it starts.
    """

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def make(self) -> Store:
        """A new store without anything in it; called once for each test."""

    @pytest.fixture
    def store(self) -> Generator[Store, None, None]:
        """The store that is tested; it is closed at the end."""
        store = self.make()
        yield store
        store.close()

    async def test_gives_back_what_was_appended(self, store: Store) -> None:
        """Entry by entry, whatever is in them; what is loaded is the caller's."""
        first, second = _trajectory("first"), _trajectory("second")
        entries = list(first)
        store.append("a", entries[:3])
        store.append("b", list(second))
        store.append("a", entries[3:4])
        store.append("a", entries[4:])
        assert "a" in store, "what was appended is not in the store"
        loaded = store.load("a")
        for kept, entry in zip(loaded, entries, strict=False):
            assert kept == entry, f"what was loaded is not what was appended: {kept} is not {entry}"
        assert len(loaded) == len(entries), f"{len(loaded)} of {len(entries)} entries were loaded"
        assert list(store.load("b")) == list(second), "two runs got mixed up"
        _task(loaded, "more")
        assert len(store.load("a")) == len(entries), "a loaded run is not the caller's: it changed"
        odd = "../a\x00 \ud83d 北"
        store.append(odd, entries)
        assert list(store.load(odd)) == entries, "a run with an odd name is not what was appended"

    async def test_says_what_it_does_not_have(self, store: Store) -> None:
        """`StoreError`, and not contained; anything may be asked for."""
        assert "a" not in store, "a run that was never kept is in the store"
        assert 5 not in store, "what is no run id is in the store"
        assert store.runs() == [], "an empty store lists runs"
        assert store.search("a", "words") == [], "there are hits in a run that is not there"
        _refused("load of an unknown run", lambda: store.load("a"))
        _refused("delete of an unknown run", lambda: store.delete("a"))
        _refused("fork of an unknown run", lambda: store.fork("a", "b", 1))
        assert "a" not in store, "asking for a run made it"

    async def test_appends_all_or_nothing(self, store: Store) -> None:
        """What does not follow on what is kept is refused as a whole."""
        entries = list(_trajectory("a"))
        gap = [entries[2], entries[4]]
        _refused("append of a run without its beginning", lambda: store.append("a", entries[1:3]))
        assert "a" not in store, "a run began with entries that do not begin it"
        store.append("a", entries[:2])
        wrong: list[tuple[str, Sequence[Entry]]] = [
            ("an entry that is kept", entries[1:3]),
            ("an entry behind a missing one", entries[3:5]),
            ("entries with a gap", gap),
            ("entries in the wrong order", [entries[3], entries[2]]),
        ]
        for what, batch in wrong:
            _refused(f"append of {what}", lambda b=batch: store.append("a", b, status="completed"))
            kept = len(store.load("a"))
            assert kept == 2, f"append of {what} was refused, and there are {kept} entries, not 2"
        assert store.runs()[0].status != "completed", "the status of a refused append was kept"
        store.append("a", entries[2:])
        assert list(store.load("a")) == entries, "after a refused append the next is not kept"

    async def test_keeps_how_a_run_stands(self, store: Store) -> None:
        """Its status, and what a list of runs shows of it."""
        log = Trajectory()
        _task(log, "Find it. " + "x" * 300)
        store.append("a", list(log))
        with store.claim("a"):
            status = store.runs()[0].status
            assert status == "running", f"a new run that somebody has is {status!r}"
        status = store.runs()[0].status
        assert status == "interrupted", f"a running run that nobody has is {status!r}"
        store.append("a", [_observation(log, "x")], status="max_steps")
        store.append("a", [_observation(log, "y")])
        info = store.runs()[0]
        assert info.status == "max_steps", f"the status is {info.status!r}, not as it was"
        assert (info.run_id, info.entries, info.steps) == ("a", 3, 2), f"wrong: {info}"
        assert info.task == ("Find it. " + "x" * 300)[:200], f"the task is {info.task!r}"
        assert info.forked_from is None, f"it was not forked, but from {info.forked_from!r}"
        store.append("a", [], status="completed")
        store.append("new", [], status="running")
        found = {run.run_id: (run.status, run.entries) for run in store.runs()}
        assert found["a"] == ("completed", 3), f"a status for itself was not kept: {found['a']}"
        assert found.get("new") == ("interrupted", 0), "a run without entries is not listed"
        assert list(store.load("new")) == [], "a run without entries cannot be loaded"

    async def test_lists_what_was_written_to_last_first(self, store: Store) -> None:
        """By the order of writing, whatever clocks say; a withdrawn task is not the newest."""
        log = Trajectory()
        entry = _task(log, "first")
        for name in "abc":
            store.append(name, [entry])
        store.append("a", [_task(log, "second")])
        order = [run.run_id for run in store.runs()]
        assert order == ["a", "c", "b"], f"the order is {order}, not that of the last writes"
        assert store.runs()[0].task == "second", "the task is not the newest one"
        store.append("a", [log.append("withdrawal", since=1)])
        assert store.runs()[0].task == "first", "the task is one that was withdrawn"
        before = store.runs()[0]
        old = Entry(3, 2, 0, "note", data={"text": "of the past"}, time=time.time() - 1e6)
        store.append("a", [old])
        after = store.runs()[0]
        assert after.updated >= before.updated, "with a clock that went back, `updated` did too"
        assert after.updated >= after.created, "`updated` is before `created`"

    async def test_forks(self, store: Store) -> None:
        """A fork has the entries that it began with, and goes on for itself."""
        log = _trajectory("a")
        entries = list(log)
        store.append("a", entries[:6])
        store.fork("a", "b", 4)
        store.append("a", entries[6:])
        assert list(store.load("b")) == entries[:4], "a fork is not what it was forked from"
        info = store.runs()[1]
        assert info.run_id == "b", f"a fork is not in its place of the list: {info}"
        assert info.forked_from == "a", f"it was forked from 'a', not {info.forked_from!r}"
        assert (info.task, info.steps, info.entries) == ("a", 1, 4), f"wrong: {info}"
        own = log.fork(4)
        store.append("b", [_observation(own, "only in b"), _observation(own, "in c as well")])
        assert list(store.load("b")) == list(own), "a fork did not go on for itself"
        assert list(store.load("a")) == entries, "what a fork did is in the run it came from"
        for into, length in (("c", 6), ("d", 5), ("e", 2)):
            store.fork("b", into, length)
            kept = list(store.load(into))
            assert kept == list(own)[:length], f"a fork of a fork at {length} is not what that was"
        _refused("fork into a run that is kept", lambda: store.fork("a", "b", 1))
        _refused("fork of nothing", lambda: store.fork("a", "f", 0))
        _refused("fork of more than there is", lambda: store.fork("a", "f", len(entries) + 1))
        assert "f" not in store, "a refused fork is kept"

    async def test_forks_outlive_what_they_came_from(self, store: Store) -> None:
        """And the other way round; a name that was deleted is free."""
        log = _trajectory("a")
        entries = list(log)
        store.append("a", entries)
        store.fork("a", "b", 5)
        store.fork("b", "c", 3)
        store.delete("a")
        assert "a" not in store, "a deleted run is in the store"
        names = {run.run_id for run in store.runs()}
        assert names == {"b", "c"}, f"a deleted run is listed: {names}"
        assert list(store.load("b")) == entries[:5], "deleting a run took from its fork"
        other = _trajectory("another")
        store.append("a", list(other))
        assert list(store.load("a")) == list(other), "a deleted run is back under its name"
        store.delete("b")
        assert list(store.load("c")) == entries[:3], "deleting a fork took from its fork"
        store.append("c", entries[3:])
        store.delete("c")
        assert list(store.load("a")) == list(other), "deleting forks took from another run"

    async def test_searches(self, store: Store) -> None:
        """Finds the place of words in the run that is asked, whatever the words are."""
        log, other = Trajectory(), Trajectory()
        _task(log, "Where is the treasure?")
        long = "Nothing of note was seen here. " * 300
        deep = _observation(log, f"{long}The treasure lies under the old lighthouse.", call="dig()")
        _observation(log, "北京大学的图书馆很大，欢迎参观。")
        _observation(log, "A lighthouse.")
        log.append("usage", step=3, prompt_tokens=1, lighthouse="lighthouse")
        store.append("a", list(log))
        _observation(other, "The lighthouse of another run.")
        store.append("b", list(other))
        hits = store.search("a", "old lighthouse treasure")
        assert hits, "words that are there were not found"
        assert hits[0].entry == deep.id, f"the best entry is {deep.id}, not {hits[0]}"
        assert "old lighthouse" in hits[0].text, f"the hit does not show the place: {hits[0].text}"
        content = f"{long}The treasure lies under the old lighthouse."
        at = content[hits[0].offset :][: len(hits[0].text)]
        assert at == hits[0].text, f"at the offset {hits[0].offset} is not what the hit shows"
        found = {hit.entry for hit in store.search("a", "lighthouse")}
        assert found == {1, 3}, f"entries with a word are 1 and 3, not {found}"
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True), f"the best is not first: {scores}"
        assert len(store.search("a", "lighthouse", limit=1)) == 1, "limit is not kept"
        assert [h.entry for h in store.search("a", "图书馆")] == [2], "Chinese was not found"
        assert store.search("a", "zeppelin") == [], "there are hits for a word that is nowhere"
        for query in ("", '"', "a AND", "NOT *", "x:y", "(", "\x00", "\ud83d", "🎉", "'; --"):
            try:
                store.search("a", query)
            except Exception as error:
                raise AssertionError(f"search for {query!r} raised {error!r}") from error

    async def test_searches_forks(self, store: Store) -> None:
        """A fork has what it began with and its own, not what the other run wrote later."""
        log = Trajectory()
        _task(log, "Begin with apples.")
        shared = _observation(log, "Bananas are shared.")
        store.append("a", list(log))
        store.fork("a", "b", 2)
        store.append("a", [_observation(log.fork(), "Cherries are in the first only.")])
        own = _observation(log, "Damsons are in the fork only.")
        store.append("b", [own])
        store.fork("b", "c", 3)

        def found(run_id: str, query: str) -> list[int]:
            return [hit.entry for hit in store.search(run_id, query)]

        for name in ("b", "c"):
            assert found(name, "bananas") == [shared.id], "a fork does not find what it began with"
            assert found(name, "cherries") == [], "a fork finds what was written after it"
            assert found(name, "damsons") == [own.id], "a fork does not find its own"
        assert found("a", "damsons") == [], "a run finds what its fork wrote"
        store.delete("a")
        assert found("b", "bananas") == [shared.id], "deleting a run took from its fork's search"

    async def test_deletes(self, store: Store) -> None:
        """Nothing of a deleted run comes back; other runs stay."""
        first, second = Trajectory(), Trajectory()
        _task(first, "apples")
        _task(second, "bananas")
        store.append("a", list(first))
        store.append("b", list(second))
        with store.claim("a"):
            _refused("delete of a run that somebody has", lambda: store.delete("a"))
            assert "a" in store, "a run that somebody has was deleted"
        store.delete("a")
        assert "a" not in store, "a deleted run is in the store"
        _refused("load of a deleted run", lambda: store.load("a"))
        assert store.search("a", "apples") == [], "a deleted run was searched"
        store.append("a", list(second))
        assert store.search("a", "apples") == [], "a new run finds what a deleted one said"
        assert list(store.load("b")) == list(second), "deleting one run changed another"

    async def test_gives_a_run_to_one_at_a_time(self, store: Store) -> None:
        """Kept or not; others are free, and it is free again when the claim has ended."""
        with store.claim("a"), store.claim("b"):
            _refused(
                "claim of a run that is had", lambda: _enter(store.claim("a")), ConfigurationError
            )
            failed: list[BaseException] = []

            def claim() -> None:
                try:
                    _enter(store.claim("b"))
                except Exception as error:
                    failed.append(error)

            await anyio.to_thread.run_sync(claim)
            assert failed, "a run was had by two threads at once"
        try:
            with contextlib.suppress(LookupError), store.claim("a"):
                raise LookupError
            _enter(store.claim("a"))
        except ConfigurationError as error:
            raise AssertionError("a run is not free after its claim has ended") from error
        assert "a" not in store, "a claim made a run"

    async def test_is_used_from_several_threads(self, store: Store) -> None:
        """As agents do whose runs are in different event loops."""
        names = [f"run {number}" for number in range(16)]
        failed: list[Exception] = []

        def work(name: str) -> None:
            try:
                log = Trajectory()
                for number in range(8):
                    store.append(name, [_task(log, f"{name} {number}")])
                    store.load(name)
                    store.search(name, "run")
                    store.runs()
            except Exception as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(anyio.to_thread.run_sync, work, name)
        if failed:
            raise AssertionError(f"in another thread: {failed[0]!r}") from failed[0]
        for name in names:
            kept = [entry.data["task"] for entry in store.load(name)]
            expected = [f"{name} {number}" for number in range(8)]
            assert kept == expected, f"runs that were written at once got mixed up: {kept}"

    async def test_takes_a_big_text(self, store: Store) -> None:
        """As a tool may return it; its end is found too."""
        log = Trajectory()
        text = "One line of many that says little.\n" * 60_000 + "The needle is golden.\n"
        entry = _observation(log, text)
        store.append("a", [entry])
        assert list(store.load("a")) == [entry], "a text of 2 MB is not what it was"
        hits = store.search("a", "golden needle", limit=1)
        assert hits, "the end of a text of 2 MB was not found"
        place = hits[0].offset
        assert "golden" in text[place : place + len(hits[0].text)], f"it is not at {place}"

    async def test_works_again_after_it_was_closed(self, store: Store) -> None:
        """`close` releases what is open; it forgets nothing."""
        entries = list(_trajectory("a"))
        store.append("a", entries[:3])
        store.close()
        store.close()
        try:
            store.append("a", entries[3:])
            kept = list(store.load("a"))
        except Exception as error:
            raise AssertionError(f"after close: {error!r}") from error
        assert kept == entries, "closing the store lost something"
