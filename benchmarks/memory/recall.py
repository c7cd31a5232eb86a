"""Whether search finds the planted facts in the log of the run, by both questions about each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ling_agent.memory import Store
from ling_agent.memory.sqlite import SQLiteStore

from .facts import Fact
from .run import SESSION

_LIMIT = 5


@dataclass(frozen=True, slots=True)
class Miss:
    """A question that was not answered by the first hit.

    Attributes:
        query: What was asked.
        fact: What should have been found.
        place: Where it was among the first hits, from 1; 0 when it was not there.
        found: Beginning of the first hit's text.
    """

    query: str
    fact: str
    place: int
    found: str


@dataclass(slots=True)
class Asked:
    """How one way of asking went.

    Attributes:
        hits: Facts that came first, by kind.
        all: Facts, by kind.
        seconds: Of each search.
        misses: The others.
    """

    hits: dict[str, int] = field(default_factory=dict[str, int])
    all: dict[str, int] = field(default_factory=dict[str, int])
    seconds: list[float] = field(default_factory=list[float])
    misses: list[Miss] = field(default_factory=list[Miss])

    @property
    def rate(self) -> float:
        """Share of the facts that came first."""
        return sum(self.hits.values()) / max(sum(self.all.values()), 1)


def recall(path: Path, planted: Mapping[int, Fact]) -> tuple[Asked, Asked]:
    """Ask for all facts, by exact terms and by paraphrase."""
    store = SQLiteStore(path)
    try:
        places = _places(store, planted)
        exact = _ask(store, planted, places, lambda fact: fact.exact)
        return exact, _ask(store, planted, places, lambda fact: fact.paraphrase)
    finally:
        store.close()


def _places(store: Store, planted: Mapping[int, Fact]) -> dict[str, int]:
    """The entry of each fact, by its text."""
    texts = {fact.text for fact in planted.values()}
    return {
        line: entry.id
        for entry in store.load(SESSION)
        if entry.kind == "observation"
        for line in entry.text.split("\n")
        if line in texts
    }


def _ask(
    store: Store,
    planted: Mapping[int, Fact],
    places: Mapping[str, int],
    query_of: Callable[[Fact], str],
) -> Asked:
    asked = Asked()
    for fact in planted.values():
        query = query_of(fact)
        started = time.perf_counter()
        hits = store.search(SESSION, query, limit=_LIMIT)
        asked.seconds.append(time.perf_counter() - started)
        entries = [hit.entry for hit in hits]
        entry = places[fact.text]
        found = entries[:1] == [entry]
        asked.all[fact.kind] = asked.all.get(fact.kind, 0) + 1
        asked.hits[fact.kind] = asked.hits.get(fact.kind, 0) + found
        if not found:
            place = entries.index(entry) + 1 if entry in entries else 0
            asked.misses.append(Miss(query, fact.text, place, hits[0].text[:100] if hits else ""))
    return asked
