"""BFCL v4 on the official package ``bfcl-eval``: its data, its checkers, its simulated classes."""

from __future__ import annotations

from .benchmark import BFCL
from .data import CATEGORIES, GROUPS, HEADLINE, MULTI_TURN, SINGLE_TURN

__all__ = ["BFCL", "CATEGORIES", "GROUPS", "HEADLINE", "MULTI_TURN", "SINGLE_TURN"]
