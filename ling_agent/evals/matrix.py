"""Several settings in one command: each combination is an evaluation of its own."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigurationError
from ..planning import Planning
from .options import EvalOptions
from .results import MANIFEST

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is varied. An empty tuple leaves the setting as it is.

    Attributes:
        planning: Of our agent.
        temperature: Of our agent, and of the baselines.
        observation: Of our agent.
        baseline: Stacks that are asked as well.
        agent: Whether our agent is asked at all.
    """

    planning: tuple[Planning, ...] = ()
    temperature: tuple[float, ...] = ()
    observation: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    agent: bool = True

    def cells(self, options: EvalOptions) -> dict[str, EvalOptions]:
        """The evaluations by label, the agent's before those of the baselines.

        A label names the settings that have several values, for example
        ``planning-off_temperature-0.7``; of a single evaluation it is empty.

        Raises:
            ConfigurationError: Nothing is left to evaluate, or two labels are the same.
        """
        agent = self._agent(options) if self.agent else {}
        cells = agent | self._baselines(options)
        if not cells:
            raise ConfigurationError("nothing is evaluated: name a baseline, or leave the agent in")
        return {"": next(iter(cells.values()))} if len(cells) == 1 else cells

    def _agent(self, options: EvalOptions) -> dict[str, EvalOptions]:
        planning = _distinct(self.planning) or [options.planning]
        temperature = _distinct(self.temperature) or [options.temperature]
        observation = _distinct(self.observation) or [options.observation]
        cells: dict[str, EvalOptions] = {}
        for plan, heat, form in itertools.product(planning, temperature, observation):
            parts = [
                f"planning-{plan}" if len(planning) > 1 else "",
                f"temperature-{heat:g}" if len(temperature) > 1 else "",
                f"observation-{form or 'default'}" if len(observation) > 1 else "",
            ]
            cell = dataclasses.replace(
                options, planning=plan, temperature=heat, observation=form, baseline=""
            )
            _add(cells, _label(parts) or "agent", cell)
        return cells

    def _baselines(self, options: EvalOptions) -> dict[str, EvalOptions]:
        temperature = _distinct(self.temperature) or [options.temperature]
        cells: dict[str, EvalOptions] = {}
        for name, heat in itertools.product(_distinct(self.baseline), temperature):
            parts = [f"baseline-{name}", f"temperature-{heat:g}" if len(temperature) > 1 else ""]
            cell = dataclasses.replace(
                options, baseline=name, temperature=heat, planning=None, observation=""
            )
            _add(cells, _label(parts), cell)
        return cells


def check_directory(directory: Path, labels: Sequence[str]) -> None:
    """Refuse to mix one evaluation with several in the same directory.

    Raises:
        ConfigurationError: It holds what is of the other kind.
    """
    single = list(labels) == [""]
    if not single and (directory / MANIFEST).exists():
        raise ConfigurationError(
            f"{directory} holds a single evaluation, and this command makes {len(labels)}: "
            "give another directory"
        )
    if single and evaluations_below(directory):
        raise ConfigurationError(
            f"{directory} holds several evaluations, and this command makes one: "
            "give another directory"
        )


def evaluations_below(directory: Path) -> list[Path]:
    """The sub-directories that hold an evaluation, by name."""
    try:
        return sorted(entry for entry in directory.iterdir() if (entry / MANIFEST).is_file())
    except OSError:
        return []


def _distinct(values: Sequence[_T]) -> list[_T]:
    return list(dict.fromkeys(values))


def _add(cells: dict[str, EvalOptions], label: str, cell: EvalOptions) -> None:
    if label in cells:
        raise ConfigurationError(f"two values have the same label {label}: evaluate them apart")
    cells[label] = cell


def _label(parts: Sequence[str]) -> str:
    """A name of a directory."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", "_".join(filter(None, parts)))
