"""Whether the values of a call come from the conversation: small models make some up.

A 0.5B model fills in optional arguments that nobody mentioned, lists every member of an enumeration
where one was asked for, and writes calls behind the last one that is needed. Such values have one
thing in common: nobody said them. `Conversation` knows what was said; `called_for` keeps of drafted
calls those that are called for, `without_inventions` leaves out optional values that were made up,
`share_said` says how much of what a call requires was said.

A value counts as said when its words are (a date: its numbers), a number also as a percentage or
with another sign. Truth values say nothing either way. Required values are never left out: a tool
cannot do without them, and a model may well know what was not said.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

Call = Mapping[str, Any]
"""A drafted call, ``{"name": …, "arguments": {…}}``."""

_ENOUGH_WORDS = 0.6  # of a longer text, that it counts as said
_ENOUGH_VALUES = 0.5  # of a further call's new values
_STEM = 4
_LONGEST_DATE = 25
_LONGEST_FILLER = 3  # get, set, of
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "billion": 1e9}
_SCALED = re.compile(rf"({_NUMBER.pattern})\s?({'|'.join(_SCALES)})\b", re.IGNORECASE)
_ACCENTS = re.compile("[\u0300-\u036f]")
# What says more about which arguments there are than `required`: leaving one out may break it.
_BOUND_TOGETHER = {
    *("allOf", "anyOf", "oneOf", "not", "if", "minProperties", "$ref"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
}
_NAMES = "zero one two three four five six seven eight nine ten eleven twelve"
_WORDS = {word: float(number) for number, word in enumerate(_NAMES.split())}


class Conversation:
    """What was said.

    Args:
        texts: Of all messages, whoever said them.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        text = "\n".join(texts)
        self._words = _plain(text)
        self._numbers = numbers_of(text)
        self._numbers |= {_WORDS[word] for word in self._words.split() if word in _WORDS}
        self._numbers |= {
            float(number.replace(",", "")) * _SCALES[scale.lower()]
            for number, scale in _SCALED.findall(text)
        }

    def said(self, value: object) -> bool | None:
        """Whether a value was said; None for one that says nothing, such as a truth value."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return self._number_said(value)
        return self._text_said(value) if isinstance(value, str) else None

    def _number_said(self, number: float) -> bool:
        try:
            value = float(number)
        except OverflowError:  # of an integer; what is said is kept as floats
            return False
        forms = [sign * value * scale for sign in (1, -1) for scale in (1, 100, 0.01)]
        return any(
            abs(form - said) <= 1e-9 * max(1.0, abs(said))
            for said in self._numbers
            for form in forms
        )

    def _text_said(self, value: str) -> bool | None:
        plain = _plain(value)
        if not plain:
            return None
        if plain in self._words:
            return True
        digits = re.findall(r"\d+", value)
        if (
            len(digits) >= 2
            and len(plain) <= _LONGEST_DATE
            and any(float(number) in self._numbers for number in digits)
        ):
            # A date or a time in another form: zeros and the month, said as a word, are free.
            return all(len(number) <= 2 or float(number) in self._numbers for number in digits)
        # Short words are particles where words are spelt with letters, and names in Chinese.
        words = [word[:_STEM] for word in plain.split() if len(word) > 2 or not word.isascii()]
        known = sum(word in self._words for word in words)
        return bool(words) and known / len(words) >= _ENOUGH_WORDS


def numbers_of(text: str) -> set[float]:
    """The numbers that are written with digits in a text."""
    numbers = (float(found.replace(",", "")) for found in _NUMBER.findall(text))
    return {number for number in numbers if math.isfinite(number)}


def values_of(call: Call) -> Iterator[object]:
    """The texts, numbers and truth values in a call's arguments."""
    return (value for _, _, value in _values(call))


def called_for(
    calls: Sequence[Call], conversation: Conversation, tools: Sequence[Mapping[str, Any]]
) -> list[Call]:
    """Of drafted calls the first, and those behind it for which something new was said.

    A further call has to have a value that was said and that no call before it has; or another
    tool, of whose name a word was said, and no value that was made up. Half of its new values at
    least were said. The first that does not ends the list: what a model makes up behind it is no
    better.

    Args:
        calls: As they were drafted.
        conversation: What was said.
        tools: OpenAI tool objects.
    """
    kept = list(calls[:1])
    for call in calls[1:]:
        if call in kept or not _is_called_for(call, kept, conversation, _schemas(tools)):
            break
        kept.append(call)
    return kept


def _is_called_for(
    call: Call,
    before: Sequence[Call],
    conversation: Conversation,
    schemas: Mapping[str, Mapping[str, Any]],
) -> bool:
    made = {(each["name"], place, value) for each in before for place, value, _ in _values(each)}
    known = {value for _, _, value in made}
    new = [each for each in _values(call) if (call["name"], *each[:2]) not in made]
    judged: list[bool] = []
    fresh = False
    for place, text, value in new:
        said = conversation.said(value)
        if said is False and _is_enumerated(schemas.get(call["name"], {}), place):
            continue  # the schema left it no other words
        if said is not None:
            judged.append(said)
            fresh = fresh or (said and text not in known)
    if not fresh and judged and all(judged):
        own = _name_words(call["name"]).difference(*(_name_words(each["name"]) for each in before))
        fresh = any(conversation.said(word) for word in own)
    return fresh and sum(judged) >= _ENOUGH_VALUES * len(judged)


def _name_words(name: str) -> set[str]:
    """The longer words of a tool's name, whether it is written like_this or likeThis."""
    return {word.lower() for word in _NAME_WORD.findall(name) if len(word) > _LONGEST_FILLER}


def without_inventions(
    arguments: Mapping[str, Any], schema: Mapping[str, Any], conversation: Conversation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments without optional values that were made up, and what was left out.

    Of a list of texts with some that were said, the others go. An optional text, number or list of
    which nothing was said goes. What is the default stays as it is, and all stay of a schema that
    ties arguments to each other.

    Args:
        arguments: Of a call that fits its schema.
        schema: JSON schema of the arguments; one that is none, such as True, says nothing.
        conversation: What was said.

    Returns:
        The arguments, and a line for each that was changed, as in `ToolCall.repairs`.
    """
    required = _required(schema)
    free = not _BOUND_TOGETHER & _mapping(schema).keys()
    kept: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in arguments.items():
        declared = _declared(schema, name)
        if "default" in declared and value == declared["default"]:
            kept[name] = value
            continue
        fitting = _said_items(value, conversation, least=_least_items(declared))
        if free and name not in required and _is_invention(fitting, conversation):
            notes.append(f"left out {name}: nobody mentioned {_shown(value)}")
            continue
        if fitting != value:
            notes.append(f"shortened {name} to what was mentioned")
        kept[name] = fitting
    return kept, tuple(notes)


def share_said(call: Call, schema: Mapping[str, Any], conversation: Conversation) -> float:
    """How much of what a call requires was said, from 0 to 1; 0.5 where that says nothing."""
    required = _required(schema)
    judged: list[bool] = []
    for place, _, value in _values(call):
        if place[0] not in required:
            continue
        said = conversation.said(value)
        if said is False and _is_enumerated(schema, place):
            continue
        if said is not None:
            judged.append(said)
    return sum(judged) / len(judged) if judged else 0.5


def _is_invention(value: object, conversation: Conversation) -> bool:
    if isinstance(value, list):
        items = cast("list[object]", value)
        plain = all(isinstance(item, str | int | float) for item in items)
        return plain and bool(items) and not any(conversation.said(item) for item in items)
    return value == "" or conversation.said(value) is False


def _said_items(value: object, conversation: Conversation, *, least: int) -> Any:
    if not isinstance(value, list):
        return value
    items = cast("list[object]", value)
    if not all(isinstance(item, str) for item in items):
        return items
    said = [item for item in items if conversation.said(item)]
    return said if least <= len(said) < len(items) else items


def _least_items(declared: Mapping[str, Any]) -> int:
    least = declared.get("minItems")
    return max(least, 1) if isinstance(least, int) else 1


def _values(call: Call) -> Iterator[tuple[tuple[str, ...], str, object]]:
    """Place, text and value of each leaf of the arguments."""
    waiting: list[tuple[tuple[str, ...], object]] = [
        ((name,), value) for name, value in call["arguments"].items()
    ]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, object]", value)
            waiting += [((*place, name), each) for name, each in inner.items()]
        elif isinstance(value, list):
            waiting += [((*place, "[]"), each) for each in cast("list[object]", value)]
        else:
            yield place, json.dumps(value, ensure_ascii=False).lower(), value


def _is_enumerated(schema: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    declared = _declared(schema, place[0])
    return "enum" in declared or "enum" in _mapping(declared.get("items"))


def _declared(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a schema says about one argument; nothing where that is a truth value."""
    return _mapping(_mapping(_mapping(schema).get("properties")).get(name))


def _required(schema: Mapping[str, Any]) -> set[str]:
    names = _mapping(schema).get("required")
    known = cast("list[object]", names) if isinstance(names, list | tuple) else []
    return {name for name in known if isinstance(name, str)}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    functions = (tool["function"] for tool in tools)
    return {function["name"]: _mapping(function.get("parameters")) for function in functions}


def _plain(text: str) -> str:
    """Words in lower case and without accents, with one blank between them."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    return " ".join(re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", bare)).split())


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
