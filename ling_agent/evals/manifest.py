"""`Manifest`: which evaluation a results directory holds, and how two of them differ."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..errors import ConfigurationError
from ..version import __version__
from .benchmark import Benchmark, Case, Selection
from .lines import plain

FORMAT = 1
"""Of the files of a results directory; one more when they change their meaning."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The header of the results: ``manifest.json``.

    Attributes:
        benchmark: Its name.
        benchmark_version: Of the package that holds its data.
        subject: Model, backend and settings, as `Benchmark.describe` tells them.
        selection: The fields of `Selection`.
        case_timeout: Seconds that one case may take.
        cases: How many cases each category has in this evaluation, in the benchmark's order.
        headline: The categories of the macro average.
        sessions: When, on what machine and by which code it was begun and gone on with.
        ling_agent: The version of this package.
        format: `FORMAT`.
    """

    benchmark: str
    benchmark_version: str
    subject: Mapping[str, Any]
    selection: Mapping[str, Any]
    case_timeout: float
    cases: Mapping[str, int]
    headline: tuple[str, ...]
    sessions: tuple[Mapping[str, Any], ...] = ()
    ling_agent: str = __version__
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        benchmark: Benchmark,
        subject: Mapping[str, Any],
        selection: Selection,
        cases: Sequence[Case],
        *,
        case_timeout: float,
    ) -> Manifest:
        """That of an evaluation which is about to run."""
        return cls(
            benchmark=benchmark.name,
            benchmark_version=benchmark.version,
            subject=plain(subject),
            selection=plain(dataclasses.asdict(selection)),
            case_timeout=float(case_timeout),
            cases=dict(Counter(case.category for case in cases)),
            headline=tuple(benchmark.headline),
        )

    @property
    def total(self) -> int:
        """All cases of the evaluation."""
        return sum(self.cases.values())

    def to_json(self) -> str:
        """As the file holds it."""
        return json.dumps(plain(dataclasses.asdict(self)), indent=2) + "\n"

    def differences(self, other: Manifest) -> list[str]:
        """What is not the same in another one, each in words; when and where does not count.

        The other one is ``there``, for a directory that is found.
        """
        here, there = self.settings(), other.settings()
        return [
            f"{name} is {_told(there, name)} there and {_told(here, name)} here"
            for name in dict.fromkeys([*here, *there])
            if here.get(name, _MISSING) != there.get(name, _MISSING)
        ]

    def settings(self) -> dict[str, Any]:
        """All that decides what comes out, by dotted names: versions first."""
        data = plain(dataclasses.asdict(self))
        first = ("ling_agent", "benchmark", "benchmark_version", "subject", "selection")
        ordered = {name: data.pop(name) for name in first}
        for name in ("sessions", "format"):
            data.pop(name)
        return dict(_flat("", ordered | data))


_MISSING = object()


def from_json(text: str, *, where: str) -> Manifest:
    """The manifest of a file.

    Args:
        text: What the file holds.
        where: Its name, for the message.

    Raises:
        ConfigurationError: It is none, or one of another format.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{where} is not JSON ({error}): {_ANOTHER}") from None
    fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if fields.get("format") != FORMAT:
        raise ConfigurationError(
            f"{where} is of format {fields.get('format')!r}, written by ling-agent "
            f"{fields.get('ling_agent', 'of an unknown version')}; this is {__version__} and reads "
            f"format {FORMAT}: {_ANOTHER}"
        )
    known = {field.name for field in dataclasses.fields(Manifest)}
    try:
        found = Manifest(**{name: value for name, value in fields.items() if name in known})
    except TypeError as error:
        raise ConfigurationError(f"{where} is no manifest ({error}): {_ANOTHER}") from None
    return dataclasses.replace(
        found, headline=tuple(found.headline), sessions=tuple(found.sessions)
    )


_ANOTHER = "use another directory, or the version that wrote it"


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or not value:
        return [(prefix, value)]
    entries = cast("dict[str, Any]", value)
    return [
        pair
        for name, entry in entries.items()
        for pair in _flat(f"{prefix}.{name}" if prefix else name, entry)
    ]


def _told(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "not set"
