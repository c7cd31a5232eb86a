"""The verdict on the calls of a single turn, by the package's own checkers.

As in its runner for models with function calling: calls are judged as ``[{name: arguments}]``.
Of the relevance categories all that counts is whether there is a call; the others go through its
``ast_checker`` with the function documents as they are in its data. (Of Java and JavaScript the
arguments are strings with source text: so its documents say it to the model.)
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ..benchmark import Case
from .data import is_relevance
from .package import MODEL, module

_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker said.

    Attributes:
        passed: Whether it is right.
        text: ``ok``, or in one line why not.
        details: The checker's own words, as JSON types.
    """

    passed: bool
    text: str = "ok"
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def judge(case: Case, calls: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge the calls of one turn.

    Args:
        case: Of a single-turn category.
        calls: ``{"name": …, "arguments": {…}}`` in order.
    """
    output = [{call["name"]: copy.deepcopy(call["arguments"])} for call in calls]
    if is_relevance(case.category):
        return _relevance(case.category, output)
    if not module("utils").is_function_calling_format_output(output):
        return Verdict(False, "ast_decoder:decoder_wrong_output_format: no calls of that form")
    try:
        result = module("eval_checker.ast_eval.ast_checker").ast_checker(
            copy.deepcopy(case.data["entry"]["function"]),
            output,
            copy.deepcopy(case.data["answer"]),
            _language(case.category),
            case.category,
            MODEL,
        )
    except Exception as error:  # the package would stop its evaluation there
        return Verdict(False, f"the checker failed on these calls: {one_line(repr(error))}")
    return verdict_of(result)


def verdict_of(result: Mapping[str, Any]) -> Verdict:
    """The verdict that a checker's answer stands for."""
    if result["valid"]:
        return Verdict(True)
    said = result.get("error") or result.get("error_message") or ""
    kind = str(result.get("error_type", "wrong"))
    return Verdict(False, f"{kind}: {one_line(said)}")


def one_line(said: object) -> str:
    """A message, or a list of them, as one bounded line."""
    parts = cast("list[object]", said) if isinstance(said, list) else [said]
    text = re.sub(r"\s+", " ", "; ".join(str(part) for part in parts))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _relevance(category: str, output: list[dict[str, Any]]) -> Verdict:
    called = not module("utils").is_empty_output(output)
    if "irrelevance" in category:
        if called:
            names = ", ".join(name for item in output for name in item)
            return Verdict(False, f"irrelevance_error:decoder_success: it called {names}")
    elif not called:
        return Verdict(False, "relevance_error:decoder_failed: there is no call")
    return Verdict(True)


def _language(category: str) -> Any:
    languages = module("constants.enums").Language
    if category == "simple_java":
        return languages.JAVA
    return languages.JAVASCRIPT if category == "simple_javascript" else languages.PYTHON
