"""Which tasks of the package are run, as cases: a task of a domain, so many times."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from ...errors import ConfigurationError
from ..benchmark import Case, Selection
from . import package

DOMAINS = ("mock", "airline", "retail", "telecom")


def known_domain(name: str) -> str:
    """The name, if it is one.

    Raises:
        ConfigurationError: It is not; the message has the nearest.
    """
    if name not in DOMAINS:
        raise ConfigurationError(f"domain {name!r}: {_nearest(name, DOMAINS)}")
    return name


@cache
def tasks_of(domain: str, split: str) -> Mapping[str, Any]:
    """The package's tasks of a split of a domain by their id, in its order; treat as read-only.

    Raises:
        ConfigurationError: The domain has no such split.
    """
    registry = package.part("registry").registry
    splits = registry.get_task_splits_loader(domain)
    known: Iterable[str] = splits() if splits is not None else ("base",)
    if split not in known:
        raise ConfigurationError(f"{domain}: split {split!r}: {_nearest(split, known)}")
    return {task.id: task for task in registry.get_tasks_loader(domain)(split)}


def select(
    selection: Selection, *, domains: tuple[str, ...], split: str, trials: int
) -> list[Case]:
    """The cases: tasks in the package's order, the trials of each behind one another.

    Args:
        selection: Its ``ids`` are those of cases or of tasks, which stand for all their trials.
        domains: Those that are run when the selection names none.
        split: Of the tasks.
        trials: How often each task is run.

    Raises:
        ConfigurationError: There is no such domain, split or task.
    """
    wanted = tuple(known_domain(name) for name in selection.categories) or domains
    if selection.ids:
        return _named(selection.ids, wanted, split, trials)
    cases: list[Case] = []
    for domain in wanted:
        ids = list(tasks_of(domain, split))
        if selection.limit is not None and selection.limit < len(ids):
            drawn = set(random.Random(f"{selection.seed} {domain}").sample(ids, selection.limit))
            ids = [name for name in ids if name in drawn]
        cases += [_case(domain, name, trial) for name in ids for trial in range(trials)]
    return cases


def _named(names: Iterable[str], domains: tuple[str, ...], split: str, trials: int) -> list[Case]:
    by_task: dict[str, list[Case]] = {}
    by_id: dict[str, Case] = {}
    for domain in domains:
        for task in tasks_of(domain, split):
            cases = [_case(domain, task, trial) for trial in range(trials)]
            by_task.setdefault(task, []).extend(cases)
            by_id |= {case.id: case for case in cases}
    found: dict[str, Case] = {}
    for name in names:
        cases = [by_id[name]] if name in by_id else by_task.get(name)
        if cases is None:
            near = _nearest(name, [*by_task, *by_id])
            raise ConfigurationError(f"{' and '.join(domains)}: task {name!r}: {near}")
        found |= {case.id: case for case in cases}
    return list(found.values())


def _case(domain: str, task: str, trial: int) -> Case:
    return Case(f"{domain}/{task}#{trial}", domain, {"task": task, "trial": trial})


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:4]
    return f"there is none of that name; nearest are {', '.join(near)}"
