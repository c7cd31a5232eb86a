"""A store with one fault, for each that the conformance suite has to find."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager

from ling_agent import StoreError, Trajectory
from ling_agent.memory import Entry, Hit, InMemoryStore, RunInfo
from ling_agent.memory.claims import LocalClaims
from ling_agent.messages import ToolMessage


class FaultyStore(InMemoryStore):
    """A store with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault
        self._thread = threading.current_thread()
        self._names: set[str] = set()

    def append(self, run_id: str, entries: Sequence[Entry], *, status: str | None = None) -> None:
        if self._fault == "one thread" and threading.current_thread() is not self._thread:
            raise RuntimeError("made in another thread")
        if self._fault == "keeps nothing":
            return
        self._names.add(run_id)
        run_id = "one" if self._fault == "one for all" else run_id
        if self._fault == "begins anywhere" and run_id not in self and entries and entries[0].id:
            super().append(run_id, [dataclasses.replace(entries[0], id=0)])
        if self._fault == "keeps what follows" and run_id in self:
            length = len(super().load(run_id))
            following = [e for place, e in enumerate(entries, start=length) if e.id == place]
            if len(following) < len(entries):
                super().append(run_id, following)
        if self._fault == "forgets the status" and not entries:
            return
        if self._fault == "keeps any status" and run_id in self:
            super().append(run_id, [], status=status)
        if self._fault == "long texts are cut":
            entries = [self._cut(entry) for entry in entries]
        super().append(run_id, entries, status=status)

    def _cut(self, entry: Entry) -> Entry:
        message = entry.message
        if isinstance(message, ToolMessage):
            message = dataclasses.replace(message, content=message.content[:1_000_000])
        return dataclasses.replace(entry, message=message)

    def load(self, run_id: str) -> Trajectory:
        if self._fault == "makes things up" and run_id not in self:
            return Trajectory()
        if self._fault == "its own errors" and run_id not in self:
            raise KeyError(run_id)
        run_id = "one" if self._fault == "one for all" else run_id
        if self._fault == "lends its own":
            return self._runs[run_id].trajectory
        return super().load(run_id)

    def fork(self, run_id: str, into: str, length: int) -> None:
        if self._fault == "forks too much":
            length = len(self.load(run_id))
        if self._fault == "forks over others" and into in self and into != run_id:
            del self._runs[into]
        super().fork(run_id, into, length)
        if self._fault == "forgets where from":
            self._runs[into].forked_from = None
        if self._fault == "forks share":
            self._runs[into].trajectory = self._runs[run_id].trajectory

    def search(self, run_id: str, query: str, *, limit: int = 10) -> list[Hit]:
        if self._fault == "understands queries" and query == "(":
            raise StoreError("syntax error")
        if self._fault == "searches other runs":
            return [
                hit for name in self._runs for hit in super(FaultyStore, self).search(name, query)
            ]
        if self._fault == "searches where it came from" and run_id in self:
            run_id = self._runs[run_id].forked_from or run_id
        hits = super().search(run_id, query, limit=99 if self._fault == "no limit" else limit)
        if self._fault == "worst first":
            return hits[::-1]
        if self._fault == "the beginning":
            return [dataclasses.replace(hit, offset=0) for hit in hits]
        if self._fault == "searches the beginning":
            return [hit for hit in hits if hit.offset < 1_000_000]
        return hits

    def runs(self) -> list[RunInfo]:
        found = super().runs()
        match self._fault:
            case "the first first":
                return found[::-1]
            case "does not see claims":
                return [
                    dataclasses.replace(run, status="interrupted")
                    if run.status == "running"
                    else run
                    for run in found
                ]
            case "any clock":
                times = {run.run_id: self.load(run.run_id) for run in found}
                return [
                    dataclasses.replace(run, updated=times[run.run_id][-1].time)
                    for run in found
                    if len(times[run.run_id])
                ]
            case "lists what was":
                gone = self._names.difference(run.run_id for run in found)
                return found + [dataclasses.replace(found[0], run_id=name) for name in gone]
            case _:
                return found

    def delete(self, run_id: str) -> None:
        if self._fault == "deletes what is in use":
            self._claims = LocalClaims()
        if self._fault == "keeps what was deleted":
            return
        if self._fault == "deletes forks":
            for name in [n for n, kept in self._runs.items() if kept.forked_from == run_id]:
                super().delete(name)
        super().delete(run_id)

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        if self._fault == "anybody may":
            return contextlib.nullcontext()
        if self._fault == "one thread claims" and threading.current_thread() is not self._thread:
            return contextlib.nullcontext()
        return self._for_ever(run_id) if self._fault == "for ever" else super().claim(run_id)

    @contextlib.contextmanager
    def _for_ever(self, run_id: str) -> Generator[None, None, None]:
        claim = super().claim(run_id)
        claim.__enter__()
        self._names.add(run_id)
        vars(self).setdefault("kept", []).append(claim)
        yield

    def __contains__(self, run_id: object) -> bool:
        if self._fault == "has everything" or (self._fault == "has numbers" and run_id == 5):
            return True
        return super().__contains__("one" if self._fault == "one for all" else run_id)

    def close(self) -> None:
        if self._fault == "forgets when closed":
            self._runs.clear()
