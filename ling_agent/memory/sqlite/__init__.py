"""`SQLiteStore`: runs in a file that outlives the process, and the rescue of damaged files."""

from __future__ import annotations

from .rescue import Rescued, rescue
from .store import SQLiteStore

__all__ = ["Rescued", "SQLiteStore", "rescue"]
