"""A model's text -> the one value that it says, or what is wrong with it.

The steps, from what was asked for to what can still be understood:

1. the whole text is one JSON value;
2. JSON objects and arrays, in code blocks and between prose, as they are or repaired: those that
   fit have to say one thing;
3. the whole text is itself the value, as of a Literal or a date, where no JSON is in it.
"""

from __future__ import annotations

from typing import Any, cast

from ..tools.problems import Problem
from .finding import BrokenJSONError, Found, RepeatedKeyError, find_json, loads
from .form import KEY, Fit, Form
from .spec import AnswerError
from .wording import broken, explain_answer, repeated, several


def read_answer(text: str, form: Form) -> Any:
    """The value of the type that a text says.

    Raises:
        AnswerError: None fits, or several different ones do.
    """
    text = text.strip()
    try:
        whole = _fit(loads(text), form)
    except RepeatedKeyError as error:
        raise AnswerError((repeated(error.key),)) from None
    except ValueError:
        return _read_parts(text, form)
    if isinstance(whole, list):
        raise AnswerError(explain_answer(whole, form))
    return whole.value


def _read_parts(text: str, form: Form) -> Any:
    try:
        found = find_json(text, lambda value: isinstance(_fit(value, form), Fit))
    except RepeatedKeyError as error:
        raise AnswerError((repeated(error.key),)) from None
    except BrokenJSONError as error:
        raise AnswerError((broken(error.line, error.column, error.what, error.near),)) from None
    judged = [_fit(one.value, form) for one in found]
    fits = _different([one for one in judged if isinstance(one, Fit)])
    if len(fits) > 1:
        raise AnswerError((several([one.json for one in fits]),))
    if fits:
        return fits[0].value
    if found:
        raise AnswerError(explain_answer(_of_longest(found, judged), form))
    plain = form.fit(text)
    if isinstance(plain, list):
        raise AnswerError(explain_answer(plain, form))
    return plain.value


def _fit(value: Any, form: Form) -> Fit | list[Problem]:
    """The value inside its wrapping, where there is one, or else the bare value."""
    if not (form.wrapped and isinstance(value, dict) and KEY in value):
        return form.fit(value)
    given = cast("dict[str, Any]", value)
    inner = form.fit(given[KEY])
    unknown = [Problem((key,), "", unknown=True) for key in given if key != KEY]
    if isinstance(inner, Fit) and not unknown:
        return inner
    bare = form.fit(given)  # a type of several may have objects with such a key
    if isinstance(bare, Fit):
        return bare
    return [*(inner if isinstance(inner, list) else []), *unknown]


def _different(fits: list[Fit]) -> list[Fit]:
    """Those that say something else than the ones before them."""
    kept: list[Fit] = []
    for one in fits:
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _same(one: Fit, other: Fit) -> bool:
    return type(one.value) is type(other.value) and bool(one.value == other.value)


def _of_longest(found: list[Found], judged: list[Fit | list[Problem]]) -> list[Problem]:
    """The problems of the value that most was written for."""
    at = max(range(len(found)), key=lambda at: found[at].size)
    problems = judged[at]
    return problems if isinstance(problems, list) else []
