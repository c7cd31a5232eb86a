"""The order of hits: BM25 finds candidates, which are read and ranked by how much of the query
stands together in them.

BM25 sees how often words occur in a piece, and not where. Of pieces with the same words the one
that has them in one sentence is the better answer.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import full_text
from .full_text import Candidate, Span
from .search import Hit
from .searchable import Searchable
from .terms import is_single_cjk, query_words, tokens

_CANDIDATES = 120
_COUNTED = 2_000
_COMMON = 0.2
_WINDOWS = (8, 16)
"""Words that count as standing together: about a clause, and about a sentence."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A term of a query, with its weight: rare ones say more."""

    term: str
    word: str
    pieces: int
    weight: float


def find(
    connection: sqlite3.Connection,
    spans: Sequence[Span],
    query: str,
    text_of: Callable[[int, int], Searchable],
    limit: int,
) -> list[Hit]:
    """Places in pieces of a run that match a query, the best first.

    Args:
        connection: With the tables of `full_text`.
        spans: The pieces that are searched.
        query: Any text.
        text_of: Gives the searchable text of a run's entry, by number and id.
        limit: At most so many.
    """
    asked = _asked(connection, spans, query)
    if not asked or limit < 1:
        return []
    words = [term.word for term in _telling(asked)]
    found = full_text.candidates(connection, words, spans, max(_CANDIDATES, 2 * limit))
    hits = [_hit(candidate, asked, text_of) for candidate in found]
    hits.sort(key=lambda hit: (-hit.score, -hit.entry, hit.offset))
    return hits[:limit]


def _asked(connection: sqlite3.Connection, spans: Sequence[Span], query: str) -> list[_Asked]:
    total = max(1, full_text.size(connection, spans))
    asked: list[_Asked] = []
    for term, word in query_words(query).items():
        count = full_text.count(connection, word, spans, _COUNTED)
        if count:
            weight = math.log(1 + max(0.0, total - count + 0.5) / (count + 0.5))
            asked.append(_Asked(term, word, count, weight))
    return asked


def _telling(asked: list[_Asked]) -> list[_Asked]:
    """The terms that candidates are found by.

    BM25 counts all rows of a term: one that is everywhere costs much and tells little.
    """
    rarest = sorted(asked, key=lambda term: term.pieces)
    common = max(_COUNTED * _COMMON, rarest[0].pieces * 4)
    return [term for place, term in enumerate(rarest) if place < 2 or term.pieces <= common]


def _hit(
    candidate: Candidate, asked: list[_Asked], text_of: Callable[[int, int], Searchable]
) -> Hit:
    whole = text_of(candidate.run, candidate.entry)
    text = candidate.piece.of(whole)
    offset = max(0, candidate.piece.start - whole.lead)
    return Hit(candidate.entry, offset, text, _score(text, asked))


def _score(text: str, asked: list[_Asked]) -> float:
    """How well a text answers: BM25, and how much of the query stands together."""
    weights = {term.term: term.weight for term in asked}
    single = tuple(term.term for term in asked if is_single_cjk(term.term))
    places: list[tuple[int, str]] = []
    for place, term in enumerate(tokens(text)):
        if term in weights:
            places.append((place, term))
        elif single and term.startswith(single):
            places.append((place, term[0]))
    counts: dict[str, int] = {}
    for _, term in places:
        counts[term] = counts.get(term, 0) + 1
    often = sum(weights[term] * n * 2.2 / (n + 1.2) for term, n in counts.items())
    return often + 2 * sum(_together(places, weights, window) for window in _WINDOWS)


def _together(places: list[tuple[int, str]], weights: dict[str, float], window: int) -> float:
    """The most weight of different terms within so many words."""
    best, begin = 0.0, 0
    inside: dict[str, int] = {}
    mass = 0.0
    for place, term in places:
        if not inside.get(term):
            mass += weights[term]
        inside[term] = inside.get(term, 0) + 1
        while place - places[begin][0] >= window:
            left = places[begin][1]
            inside[left] -= 1
            if not inside[left]:
                mass -= weights[left]
            begin += 1
        best = max(best, mass)
    return best
