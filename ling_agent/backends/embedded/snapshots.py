"""States of sequences as bytes in memory: what was computed once and need not be again.

A snapshot is taken of a conversation that loses its slot, and of the system prompt and tools with
which new conversations begin. Copying it back costs about as much as copying memory does, and the
numbers are the same bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The recurrent part of a sequence's state, behind its first ``length`` tokens."""

    length: int
    data: Bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a sequence behind its tokens.

    Attributes:
        tokens: What was evaluated.
        data: llama.cpp's state of the sequence.
        checkpoints: Of a model that cannot be cut back, oldest first.
    """

    tokens: tuple[int, ...]
    data: Bytes
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return self.data.nbytes + sum(one.data.nbytes for one in self.checkpoints)


class Prefixes:
    """Snapshots of the beginnings that conversations share, least recently used out.

    Args:
        most: How many are kept.
        budget: Bytes of all of them.
    """

    def __init__(self, most: int, budget: int) -> None:
        self._most = most
        self._budget = budget
        self._kept: OrderedDict[tuple[int, ...], Snapshot] = OrderedDict()

    def __contains__(self, tokens: Sequence[int]) -> bool:
        return tuple(tokens) in self._kept

    def add(self, snapshot: Snapshot) -> None:
        """Keep one; the oldest ones make room."""
        self._kept[snapshot.tokens] = snapshot
        while self._kept and (len(self._kept) > self._most or self._size() > self._budget):
            self._kept.popitem(last=False)

    def best(self, tokens: Sequence[int]) -> Snapshot | None:
        """The longest one with which these tokens begin and that leaves one to evaluate."""
        found: Snapshot | None = None
        for key, snapshot in self._kept.items():
            longer = found is None or len(key) > len(found.tokens)
            if longer and len(key) < len(tokens) and key == tuple(tokens[: len(key)]):
                found = snapshot
        if found is not None:
            self._kept.move_to_end(found.tokens)
        return found

    def _size(self) -> int:
        return sum(snapshot.size for snapshot in self._kept.values())
