"""Examines a backend as it runs, and says which flag to change: behind ``ling-agent doctor``."""

from __future__ import annotations

from .examine import examine
from .findings import Finding, Report, Status

__all__ = ["Finding", "Report", "Status", "examine"]
