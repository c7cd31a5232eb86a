"""`Redactor` takes secret values out of texts and payloads; `find_secrets` finds them in objects.

What counts as a secret is a value in pydantic's ``SecretStr`` or ``SecretBytes``. pydantic is not
imported for it: when it is not loaded, there is no such value.
"""

from __future__ import annotations

import base64
import copy
import html
import json
import logging
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

T = TypeVar("T")

MASK = "[secret]"
"""What stands in place of a secret."""

_log = logging.getLogger("ling_agent.secrets")

_WHOLE_WORD = 6  # shorter values are only found where they stand alone
_SHORTEST = 4  # shorter ones would make texts unreadable, and are no secrets
_PIECE = 8  # characters of a secret that was cut off that are still worth hiding
_CUTS = ("…", "\n[cut: ")  # how texts show that something was cut off behind them
_DEEPEST = 40
_LARGEST = 100_000
_SEARCHED = 10_000
_SEARCH_DEPTH = 8
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), type, types.ModuleType)


class Redactor:
    """Replaces secrets by ``[secret]``; immutable, and safe to share between threads.

    A value is found as it is, and as URLs, JSON, HTML, Python's `repr`, hexadecimal digits and
    base64 write it; in base64 also inside a longer text, as in ``Authorization: Basic …``. A piece
    of at least 8 characters is found where a text was cut off in the middle of it. Values of 4 and
    5 characters are only found where no letter or digit stands beside them; shorter ones are not
    looked for, which is logged once. It does not find what was changed in any other way: spelled
    out, reversed, encrypted.

    Args:
        secrets: ``SecretStr``, ``SecretBytes``, or plain texts; empty ones are left out.
        mask: What stands in place of a secret.
    """

    __slots__ = ("_forms", "_mask", "_short")

    def __init__(self, secrets: Iterable[object] = (), *, mask: str = MASK) -> None:
        values = {value for secret in secrets if (value := secret_text(secret))}
        if any(len(value) < _SHORTEST for value in values):
            _log.warning("a secret of fewer than %d characters cannot be hidden", _SHORTEST)
        self._mask = mask
        forms = {form for value in values if len(value) >= _WHOLE_WORD for form in _forms(value)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._short = tuple(sorted(v for v in values if _SHORTEST <= len(v) < _WHOLE_WORD))

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._forms or self._short)

    def __repr__(self) -> str:
        return f"Redactor({'some' if self else 'no'} secrets)"

    def text(self, text: str) -> str:
        """The text without secrets; the same object when it holds none."""
        for form in self._forms:
            if form in text:
                text = _masked(text, form, self._mask)
            elif len(form) > _PIECE and (form[:_PIECE] in text or form[-_PIECE:] in text):
                text = _without_piece(text, form, self._mask)
        for value in self._short:
            if value in text:
                text = _without_word(text, value, self._mask)
        return text

    def value(self, value: T) -> T:
        """A payload without secrets; the same object when it holds none.

        Texts, bytes, secrets, mappings (keys too), sequences, sets, dataclasses, pydantic models,
        exceptions and plain objects are looked through; what has to change is copied, never
        changed in place. Replaced as a whole is what holds a secret and cannot be copied, holds
        itself, or is nested deeper than 40 levels, and what is made of more than 100,000 objects.
        """
        if not self or not self._holds(value):
            return value
        return cast("T", self._without(value, ()))

    def error(self, error: BaseException) -> None:
        """Take secrets out of an error and of those that it was raised from, in place.

        A cause that cannot be changed, and shows a secret, is cut off.
        """
        if self:
            self._clean(error, {})

    def _clean(self, error: BaseException, seen: dict[int, bool]) -> bool:
        """Whether the error shows no secret any more."""
        if id(error) in seen:
            return seen[id(error)]
        seen[id(error)] = True
        error.args = self.value(error.args)
        for name, told in list(_dict_of(error).items()):
            _dict_of(error)[name] = self.value(told)  # notes too
        if isinstance(error, OSError):
            error.filename, error.filename2 = self.value((error.filename, error.filename2))
            error.strerror = self.value(error.strerror)
        if error.__cause__ is not None and not self._clean(error.__cause__, seen):
            error.__cause__ = None
        if error.__context__ is not None and not self._clean(error.__context__, seen):
            error.__context__ = None
        for inner in _exceptions(error):
            self._clean(inner, seen)
        shown = str(error)
        seen[id(error)] = self.text(shown) == shown
        return seen[id(error)]

    def _holds(self, value: object) -> bool:
        """Whether there is a secret in an object, or it is too large to be sure."""
        seen: set[int] = set()
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                if self.text(part) is not part:
                    return True
            elif isinstance(part, bytes | bytearray):
                text = _decoded(part)
                if self.text(text) is not text:
                    return True
            elif not isinstance(part, _ATOMS) and id(part) not in seen:
                if is_secret(part) or len(seen) >= _LARGEST:
                    return True
                seen.add(id(part))
                waiting += _parts(part)
        return False

    def _without(self, value: Any, above: tuple[int, ...]) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray):
            return type(value)(self.text(_decoded(value)).encode("utf-8", "surrogateescape"))
        if not self._holds(value):
            return value
        if is_secret(value) or id(value) in above or len(above) >= _DEEPEST:
            return self._mask
        within = (*above, id(value))

        def clean(part: Any) -> Any:
            return self._without(part, within)

        try:
            return _rebuilt(value, clean)
        except Exception:
            return self._mask


def secret_text(secret: object) -> str:
    """The text of a secret."""
    value = cast("Any", secret).get_secret_value() if is_secret(secret) else secret
    return _decoded(value) if isinstance(value, bytes | bytearray) else str(value)


def is_secret(value: object) -> bool:
    """Whether it is one of pydantic's secret types."""
    loaded = sys.modules.get("pydantic.types")
    if loaded is None:
        return False
    return isinstance(value, (loaded.SecretStr, loaded.SecretBytes, loaded.Secret))


def find_secrets(value: object) -> tuple[object, ...]:
    """The secrets in an object, such as a run's ``deps``: those that it and its parts hold.

    Looked through are mappings, sequences, sets, and the attributes of dataclasses, pydantic models
    and plain objects, to 8 levels and 10,000 objects; each once. No property is executed.
    """
    if "pydantic.types" not in sys.modules:
        return ()
    found: list[object] = []
    seen: set[int] = set()
    waiting: deque[tuple[object, int]] = deque([(value, 0)])
    while waiting and len(seen) < _SEARCHED:
        part, depth = waiting.popleft()
        if isinstance(part, _ATOMS) or id(part) in seen:
            continue
        seen.add(id(part))
        if is_secret(part):
            found.append(part)
        elif depth < _SEARCH_DEPTH:
            waiting.extend((inner, depth + 1) for inner in _parts(part))
    return tuple(found)


# -- what a value is written as


def _forms(value: str) -> Iterator[str]:
    """A secret as texts may show it."""
    data = value.encode("utf-8", "surrogateescape")
    yield from (value, " ".join(value.split()), repr(value)[1:-1])
    yield from (html.escape(value), html.escape(value, quote=False))
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield from (escaped, json.dumps(escaped, ensure_ascii=ascii_only)[1:-1])
    for encode in (quote, quote_plus):
        for safe in ("", "/"):
            escaped = encode(data, safe=safe)
            yield from (escaped, _lower_escapes(escaped))
    yield from (data.hex(), data.hex().upper())
    for offset in range(3):
        core = _base64_core(data, offset)
        yield from (core, core.replace("+", "-").replace("/", "_"))


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join((head, *(part[:2].lower() + part[2:] for part in rest)))


def _base64_core(data: bytes, offset: int) -> str:
    """The digits that the bytes alone decide, when they begin at ``offset`` modulo 3."""
    digits = base64.b64encode(b"\0" * offset + data).decode()
    return digits[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]


def _decoded(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "surrogateescape")


def _masked(text: str, form: str, mask: str) -> str:
    """The text without one form of a secret; one that the mask itself holds stays readable."""
    if form not in mask:
        return text.replace(form, mask)
    masked = mask.join(part.replace(form, mask) for part in text.split(mask))
    return text if masked == text else masked


def _without_piece(text: str, form: str, mask: str) -> str:
    """Hide the beginning of a secret where a text was cut behind it, or its end in front."""
    head, tail = form[:_PIECE], form[-_PIECE:]
    at = text.find(head)
    while at >= 0:
        size = _PIECE
        while text.startswith(form[: size + 1], at) and size < len(form):
            size += 1
        end = at + size
        if end == len(text) or text.startswith(_CUTS, end):
            text = text[:at] + mask + text[end:]
        at = text.find(head, at + 1)
    at = text.find(tail)
    while at >= 0:
        size = _PIECE
        end = at + size
        while size < len(form) and text.endswith(form[-size - 1 :], 0, end):
            size += 1
        start = end - size
        if text.endswith("…", 0, start):
            text = text[:start] + mask + text[end:]
        at = text.find(tail, at + 1)
    return text


def _without_word(text: str, value: str, mask: str) -> str:
    """Hide a short secret where it stands alone."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not text[max(at - 1, 0) : at].isalnum() and not text[end : end + 1].isalnum():
            text = text[:at] + mask + text[end:]
        at = text.find(value, at + 1)
    return text


# -- what an object holds


def _exceptions(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _dict_of(value: object) -> dict[str, Any]:
    """The attributes that an object keeps in its own dictionary; nothing of its is executed."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _slots_of(value: object) -> Iterator[tuple[types.MemberDescriptorType, object]]:
    """The slots of an object that are filled, with what is in them."""
    for cls in type(value).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, types.MemberDescriptorType) and name != "__dict__":
                try:
                    yield member, member.__get__(value, type(value))
                except AttributeError:
                    continue


def _parts(value: Any) -> list[Any]:
    """What an object holds, one level down."""
    parts: list[Any] = []
    if isinstance(value, dict):
        held = cast("dict[Any, Any]", value)
        for key, part in dict[Any, Any].items(held):  # its own method may do something
            parts += (key, part)
    elif isinstance(value, types.MappingProxyType):
        parts.append(dict(cast("Mapping[Any, Any]", value)))
    elif isinstance(value, list | tuple | set | frozenset | deque):
        parts += cast("Iterable[Any]", value)
    elif isinstance(value, BaseException):
        parts.append(value.args)
    if not isinstance(value, _FUNCTIONS):
        parts += _dict_of(cast("Any", value)).values()
        parts += (held for _, held in _slots_of(cast("Any", value)))
    return parts


def _rebuilt(value: Any, clean: Callable[[Any], Any]) -> Any:
    """A copy of an object whose parts were cleaned."""
    kind = cast("Callable[..., Any]", type(value))
    if isinstance(value, dict | types.MappingProxyType):
        held = cast("Mapping[Any, Any]", value)
        cleaned = {clean(key): clean(part) for key, part in held.items()}
        if kind in (dict, types.MappingProxyType):
            return cleaned
        made: Any = copy.copy(cast("Any", held))
        made.clear()
        made.update(cleaned)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        items = [clean(part) for part in cast("Iterable[Any]", value)]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    else:
        made = copy.copy(value)
    if isinstance(made, BaseException):
        made.args = clean(made.args)
    for name, part in list(_dict_of(made).items()):
        _dict_of(made)[name] = clean(part)  # not by setattr: it may be frozen, or do something
    for member, part in list(_slots_of(made)):
        if (cleaned := clean(part)) is not part:
            member.__set__(made, cleaned)
    return made
