"""The steps of the synthetic run: what its tool returns, kept in a file, and what is planted where.

The texts are made before the run and read one by one, so that the run's own process neither makes
nor holds them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

from .facts import COUNT, Fact, facts
from .filler import Filler

TASK = (
    "Read the pages of the archive one after the other. Note what is worth keeping; questions "
    "about them come later."
)
TOOL = "read_page"
FINAL_ANSWER = "All pages have been read."

_SEED = 20_261_126


def planted(steps: int) -> dict[int, Fact]:
    """The facts by the step that they are planted in, at random places of the run."""
    count = min(COUNT, steps)
    places = random.Random(_SEED).sample(range(1, steps + 1), count)
    return dict(zip(places, facts(count), strict=True))


def write(path: Path, steps: int) -> Mapping[int, Fact]:
    """Write what the tool returns in each step; returns what is planted."""
    filler, hidden = Filler(_SEED), planted(steps)
    with path.open("w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            fact = hidden.get(step)
            text = filler.observation(fact.text if fact is not None else "")
            print(json.dumps(text, ensure_ascii=False), file=file)
    return hidden


class Steps:
    """Reads what `write` wrote; nothing of it stays in memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._starts = [0]
        for line in self._file:
            self._starts.append(self._starts[-1] + len(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def observation(self, step: int) -> str:
        """What the tool returns in a step, from 1."""
        self._file.seek(self._starts[step - 1])
        return json.loads(self._file.readline())


class Model:
    """What the model says: in each step a sentence and a call with new arguments."""

    def __init__(self) -> None:
        self._filler = Filler(_SEED + 1)

    def sentence(self) -> str:
        """What it says before a call."""
        return self._filler.sentence(8, 14)

    def arguments(self, step: int) -> dict[str, object]:
        """What it calls the tool with."""
        return {"page": step, "topic": self._filler.sentence(2, 4).rstrip(".").lower()}
