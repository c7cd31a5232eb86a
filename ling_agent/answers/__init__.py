"""Typed answers: what `Agent(output_type=…)` asks of a model, and how its answer is read."""

from __future__ import annotations

from .spec import AnswerError, AnswerSpec

__all__ = ["AnswerError", "AnswerSpec"]
