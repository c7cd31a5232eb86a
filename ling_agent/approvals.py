"""Decisions about calls that wait for approval, for `Agent.resume`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deny:
    """Do not run the call; the model is told the reason."""

    reason: str = "the user declined"


@dataclass(frozen=True, slots=True)
class Edit:
    """Run the call with these arguments instead."""

    arguments: Mapping[str, Any]


Approval = bool | Deny | Edit
"""True runs the call, False is ``Deny()``."""
