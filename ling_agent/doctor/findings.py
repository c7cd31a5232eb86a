"""What an examination finds: `Verdict` of a check, `Finding` of a server, `Report` of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_LONGEST = 500


class Status(StrEnum):
    """What a check says.

    ``broken``: requests fail, calls or answers are wrong or lost. ``warning``: it works, and less
    well than it could. ``unknown``: it does not apply to this server, or could not be told.
    """

    ok = "ok"
    warning = "warning"
    broken = "broken"
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        status: How it is.
        seen: What was seen, one line.
        fix: The flag or setting to change; empty where nothing is to be done.
        figures: What was measured, by name; the unit is part of the name.
    """

    status: Status
    seen: str
    fix: str = ""
    figures: Mapping[str, float | int] = field(default_factory=dict[str, float | int])


def ok(seen: str, **figures: float | int) -> Verdict:
    """All is well."""
    return Verdict(Status.ok, seen, figures=figures)


def warning(seen: str, fix: str) -> Verdict:
    """It works, less well than it could."""
    return Verdict(Status.warning, seen, fix)


def broken(seen: str, fix: str) -> Verdict:
    """It fails, or gives wrong answers."""
    return Verdict(Status.broken, seen, fix)


def unknown(seen: str, fix: str = "") -> Verdict:
    """It does not apply, or could not be told."""
    return Verdict(Status.unknown, seen, fix)


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict, and what it is about.

    Attributes:
        server: Base URL; the backend string of an embedded model; empty for all servers together.
        check: Name of the check, for example ``tool-parser``.
        status: How it is.
        seen: What was seen, one line.
        fix: The flag or setting to change; empty where nothing is to be done.
        figures: What was measured.
    """

    server: str
    check: str
    status: Status
    seen: str
    fix: str = ""
    figures: Mapping[str, float | int] = field(default_factory=dict[str, float | int])

    def to_json(self) -> dict[str, Any]:
        """The finding for programs."""
        return {
            "server": self.server,
            "check": self.check,
            "status": str(self.status),
            "seen": self.seen,
            "fix": self.fix or None,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one examination.

    Attributes:
        backend: The backend string.
        findings: In the order of the checks, server after server.
        seconds: How long it took.
    """

    backend: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def broken(self) -> bool:
        """Whether anything is broken."""
        return self.count(Status.broken) > 0

    def count(self, status: Status) -> int:
        """How many findings are so."""
        return sum(finding.status is status for finding in self.findings)

    def summary(self) -> str:
        """One line."""
        counts = [f"{self.count(status)} {status}" for status in Status if self.count(status)]
        return f"{', '.join(counts)}; took {self.seconds:.0f} s"

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "backend": self.backend,
            "status": "broken" if self.broken else "ok",
            "counts": {str(status): self.count(status) for status in Status},
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_json() for finding in self.findings],
        }


def one_line(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A text of a server or model, as a finding may repeat it: no key, no control characters."""
    for secret in secrets:
        text = text.replace(secret, "[key]")
    line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
