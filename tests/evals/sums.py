"""A benchmark of sums, small and real: an agent is asked to add, its call is judged.

The model is a scripted one that answers from the request: wrong where the first number is a
multiple of 3, in words where it is one of 5. The environment says what goes wrong:

- ``SUMS_GATE=N:FILE``: from case N on the model waits until the file is there.
- ``SUMS_GONE=N``: the server is gone from case N on.
- ``SUMS_HANGS=N``: case N never ends.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from ling_agent import Agent, BackendUnavailable, ConfigurationError, Limits, Sampling, Tool
from ling_agent.backends import ModelRequest
from ling_agent.evals.benchmark import Benchmark, Case, Outcome, Selection
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.runner import nearest
from ling_agent.results import Usage
from ling_agent.testing import ScriptedBackend

from ..helpers import call

CATEGORIES = ("small", "large")
COUNT = 12
"""Cases of each category."""

NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


def reply(request: ModelRequest) -> str:
    """What the scripted model answers."""
    asked = str(getattr(request.messages[-1], "content", ""))
    first, second = map(int, re.findall(r"-?[0-9]+", asked)[:2])
    if first % 3 == 0:
        return call("add", a=first, b=second + 1)
    if first % 5 == 0:
        return f"<b>{first + second}</b> | `done`"
    return call("add", a=first, b=second)


class Sums(Benchmark):
    """See the module.

    Attributes:
        asked: Ids of the cases that were run, in order.
        running: How many run now.
        most: How many have run at the same time.
        closed: Whether it was closed.
    """

    name = "sums"
    headline = ("small", "large", "never run")

    def __init__(self, options: EvalOptions | None = None, *, version: str = "1.0") -> None:
        self.version = version
        self.options = options or EvalOptions()
        self.asked: list[str] = []
        self.running = self.most = 0
        self.closed = False

    def cases(self, selection: Selection) -> list[Case]:
        every = [
            Case(f"{category}_{number}", category, {"a": number + offset, "b": 7})
            for category, offset in zip(CATEGORIES, (0, 1000), strict=True)
            for number in range(COUNT)
        ]
        unknown = [name for name in selection.categories if name not in CATEGORIES]
        if unknown:
            raise ConfigurationError(f"no category {unknown[0]}: {nearest(unknown[0], CATEGORIES)}")
        if selection.ids:
            return [case for case in every if case.id in selection.ids]
        chosen = selection.categories or CATEGORIES
        of = {name: [case for case in every if case.category == name] for name in chosen}
        return [case for cases in of.values() for case in cases[: selection.limit]]

    async def run(self, case: Case) -> Outcome:
        self.asked.append(case.id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await _goes_wrong(int(case.id.partition("_")[2]), case.category)
            return await self._judged(case)
        finally:
            self.running -= 1

    async def _judged(self, case: Case) -> Outcome:
        made: list[Mapping[str, Any]] = []

        def add(a: int, b: int) -> str:
            made.append({"a": a, "b": b})
            return "ok"

        tool = Tool.from_schema("add", "Add.", NUMBERS, add)
        backend = ScriptedBackend(itertools.repeat(self.answer))
        agent = Agent(
            backend,
            tools=[tool],
            planning=self.options.planning or "off",
            limits=Limits(max_steps=1),
            sampling=Sampling(temperature=self.options.temperature),
        )
        began = time.monotonic()
        result = await agent.run(f"Add {case.data['a']} and {case.data['b']}.")
        passed = made == [case.data]
        step = result.steps[0].message
        return Outcome(
            case=case.id,
            category=case.category,
            passed=passed,
            score=float(passed),
            verdict="ok" if passed else "no call" if not made else f"wrong value: {made[0]}",
            prompt=str(getattr(backend.requests[-1].messages[-1], "content", "")),
            text=step.content,
            calls=tuple({"name": c.name, "arguments": c.arguments} for c in step.calls),
            repairs=tuple(r for c in step.calls for r in c.repairs),
            usage=Usage(
                prompt_tokens=result.usage.prompt_tokens,
                completion_tokens=result.usage.completion_tokens,
                requests=result.usage.requests,
            ),
            seconds=time.monotonic() - began,
            status=str(result.status),
        )

    def answer(self, request: ModelRequest) -> str:
        """The scripted model; a baseline only knows words."""
        return "No." if self.options.baseline == "words" else reply(request)

    async def describe(self) -> Mapping[str, Any]:
        return {"model": "scripted", "settings": self.options.settings()}

    async def aclose(self) -> None:
        self.closed = True


def benchmark(options: EvalOptions) -> Sums:
    """For ``ling-agent eval run``."""
    return Sums(options)


def no_benchmark(options: EvalOptions) -> str:
    """Makes something else."""
    return "sums"


async def _goes_wrong(number: int, category: str) -> None:
    place = number + COUNT * CATEGORIES.index(category)
    gate, _, file = os.environ.get("SUMS_GATE", "").partition(":")
    if gate and place >= int(gate):
        await until(lambda: Path(file).exists())
    if place >= int(os.environ.get("SUMS_GONE", "1000")):
        raise BackendUnavailable("the server went away")
    if str(place) == os.environ.get("SUMS_HANGS"):
        await anyio.sleep_forever()


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that has no event: it is said by another process, or by a count."""
    while not happened():  # noqa: ASYNC110 - see above
        await anyio.sleep(0.01)


def files(directory: Path) -> dict[str, bytes]:
    """What is in a directory."""
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def lines(directory: Path) -> list[str]:
    """The whole lines of the results so far."""
    file = directory / "results.jsonl"
    return file.read_text().splitlines() if file.exists() else []
