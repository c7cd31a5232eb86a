"""Secrets are found however they are written, and what holds none stays the same object."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
import subprocess
import sys
import threading
import time
from collections import UserDict, defaultdict, deque
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, Secret, SecretBytes, SecretStr

from ling_agent.secrets import MASK, Redactor, find_secrets, is_secret, secret_text

KEY = 'sk-Ab1/+"é <&>\\x9Q'
REDACTOR = Redactor([SecretStr(KEY)])


# -- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        f"Bearer {KEY}",
        json.dumps({"key": KEY}),
        json.dumps({"key": KEY}, ensure_ascii=False),
        json.dumps({"body": json.dumps({"key": KEY})}),
        repr({"key": KEY}),
        quote(KEY, safe=""),
        quote(KEY),
        quote_plus(KEY),
        re.sub("%..", lambda escape: escape[0].lower(), quote(KEY, safe="")),
        f"https://user:{quote(KEY, safe='')}@host/path",
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        base64.b64encode(KEY.encode()).decode().rstrip("="),
        "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(),
        "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode(),
        "Basic " + base64.b64encode(f"x:{KEY}".encode()).decode(),
        KEY.encode().hex(),
        html.escape(KEY),
        html.escape(KEY, quote=False),
    ],
)
def test_each_way_to_write_it(written: str) -> None:
    shown = REDACTOR.text(f"before {written} after")
    assert MASK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "Ab1" not in shown
    assert "x9Q" not in shown
    assert KEY.encode().hex()[:12] not in shown
    assert REDACTOR.text(shown) == shown


secrets = st.text(min_size=6, max_size=40).filter(lambda value: value not in MASK)


@given(value=secrets, before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_value_is_left_behind(value: str, before: str, after: str) -> None:
    redactor = Redactor([SecretStr(value)])
    shown = redactor.text(f"{before}{value}{after}")
    assert value not in shown.replace(MASK, "")
    assert MASK in shown


@given(value=st.text(min_size=6, max_size=40).map(str.encode), prefix=st.binary(max_size=5))
def test_base64_of_a_longer_text_holds_no_value(value: bytes, prefix: bytes) -> None:
    redactor = Redactor([SecretBytes(value)])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redactor.text(encode(prefix + value + b"tail").decode())
        assert MASK in shown


@given(text=st.text())
def test_a_text_without_secrets_is_the_same_object(text: str) -> None:
    assert REDACTOR.text(text) is text
    assert Redactor().text(text) is text


def test_longer_secrets_go_first() -> None:
    redactor = Redactor([SecretStr("abcdef"), SecretStr("abcdefghij")])
    assert redactor.text("abcdefghij abcdef") == f"{MASK} {MASK}"


def test_what_a_cut_has_left_of_a_secret_is_hidden() -> None:
    key = "sk-0123456789abcdefghij"
    redactor = Redactor([key])
    assert redactor.text(f"key {key[:15]}…") == f"key {MASK}…"
    assert redactor.text(f"key {key[:15]}") == f"key {MASK}"
    assert redactor.text(f"key {key[:9]}\n[cut: 3 of 9 tokens shown]").startswith(f"key {MASK}\n[")
    assert redactor.text(f"…{key[5:]} is it") == f"…{MASK} is it"
    assert redactor.text(f"{key[:15]} and more") == f"{key[:15]} and more"
    assert redactor.text(f"{key[:12]}x {key[:12]}") == f"{key[:12]}x {MASK}"


def test_short_secrets_are_hidden_only_where_they_stand_alone() -> None:
    redactor = Redactor([SecretStr("4711")])
    assert redactor.text("PIN 4711, room 47110, a4711, 4711") == (
        f"PIN {MASK}, room 47110, a4711, {MASK}"
    )


def test_shorter_ones_are_not_looked_for_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redactor = Redactor([SecretStr("abc"), SecretStr("")])
    assert redactor.text("abc") == "abc"
    assert not redactor
    assert len(caplog.records) == 1
    assert "abc" not in caplog.text


def test_a_secret_that_the_mask_holds_is_stable() -> None:
    redactor = Redactor([SecretStr("secret")])
    shown = redactor.text("the secret")
    assert shown == f"the {MASK}"
    assert redactor.text(shown) is shown


def test_its_own_repr_says_nothing() -> None:
    assert "Ab1" not in repr(REDACTOR)


def test_it_is_fast_without_secrets_and_linear_with_them() -> None:
    text = "x" * 1_000_000
    began = time.perf_counter()
    for _ in range(100):
        Redactor().text(text)
    assert time.perf_counter() - began < 1.0
    pieces = "sk-Ab1/+" * 20_000
    assert REDACTOR.text(pieces).startswith("sk-")


# -- payloads ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Frozen:
    text: str
    count: int = 1


@dataclasses.dataclass(slots=True)
class Slotted:
    text: str


class Named(NamedTuple):
    text: str
    number: int


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: str
    _hidden: str = PrivateAttr("")


class Plain:
    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def never(self) -> str:
        raise AssertionError("a property was executed")


class Locked:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lock = threading.Lock()

    def __copy__(self) -> Locked:
        raise TypeError("not to be copied")


def shown(value: object) -> str:
    """Everything that is in a payload, as text."""
    if dataclasses.is_dataclass(value):
        return str([getattr(value, field.name) for field in dataclasses.fields(value)])
    return str(vars(value)) if isinstance(value, Plain) else str(value)


PAYLOADS: list[Any] = [
    f"a {KEY}",
    f"a {KEY}".encode(),
    bytearray(KEY.encode()),
    [1, [KEY]],
    (KEY, 2),
    {"a": {"b": KEY}},
    {KEY: 1},
    {KEY, "other"},
    frozenset({KEY}),
    deque([KEY]),
    MappingProxyType({"a": KEY}),
    defaultdict(list, {"a": [KEY]}),
    Frozen(KEY),
    Slotted(KEY),
    Named(KEY, 2),
    Model.model_validate({"text": "x", "more": KEY}),
    Plain(KEY),
    ValueError(f"bad key {KEY}"),
    {"deep": [Frozen(KEY), Plain(KEY)]},
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda value: type(value).__name__)
def test_a_payload_is_copied_without_its_secrets(payload: Any) -> None:
    before = shown(payload)
    clean = REDACTOR.value(payload)
    assert type(clean) in (type(payload), dict)
    assert clean is not payload
    assert MASK in shown(clean)
    assert "Ab1" not in shown(clean)
    assert shown(payload) == before
    again = REDACTOR.value(clean)
    assert again is clean


@pytest.mark.parametrize(
    "payload",
    [None, 1, 1.5, True, "text", b"bytes", [1, {"a": ("b",)}], Frozen("x"), Plain("x"), print],
)
def test_a_payload_without_secrets_is_the_same_object(payload: object) -> None:
    assert REDACTOR.value(payload) is payload
    assert Redactor().value(payload) is payload


def test_a_secret_object_in_a_payload_is_hidden_whatever_it_holds() -> None:
    assert REDACTOR.value({"key": SecretStr("another")}) == {"key": MASK}


def test_what_cannot_be_copied_or_holds_itself_is_hidden_as_a_whole() -> None:
    assert REDACTOR.value({"a": Locked(KEY)}) == {"a": MASK}
    loop: list[Any] = [KEY]
    loop.append(loop)
    assert REDACTOR.value(loop) == [MASK, MASK]
    harmless: list[Any] = []
    harmless.append(harmless)
    assert REDACTOR.value(harmless) is harmless


def test_deep_payloads_are_no_way_around() -> None:
    deep: Any = KEY
    for _ in range(2000):
        deep = [deep]
    assert "Ab1" not in str(REDACTOR.value(deep))


# -- errors -----------------------------------------------------------------------------------


class RefusedError(Exception):
    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def test_an_error_and_its_causes_are_cleaned_in_place() -> None:
    def fail() -> None:
        try:
            raise KeyError(KEY)
        except KeyError as cause:
            raise RefusedError(f"no: {KEY}", KEY) from cause

    with pytest.raises(RefusedError) as caught:
        fail()
    error = caught.value
    error.add_note(f"note {KEY}")
    REDACTOR.error(error)
    assert str(error) == f"no: {MASK}"
    assert error.reason == MASK
    assert error.__notes__ == [f"note {MASK}"]
    assert str(error.__cause__) == repr(MASK)


def test_errors_of_the_system_and_groups_are_cleaned() -> None:
    missing = FileNotFoundError(2, "No such file", f"/keys/{KEY}")
    group = ExceptionGroup("several", [missing, ValueError(KEY)])
    REDACTOR.error(group)
    assert "Ab1" not in str(missing)
    assert str(group.exceptions[1]) == MASK


def test_a_cause_that_cannot_be_cleaned_is_cut_off() -> None:
    def fail() -> None:
        try:
            Model.model_validate({"text": [KEY]})
        except ValueError as cause:
            raise RuntimeError("failed") from cause

    with pytest.raises(RuntimeError) as caught:
        fail()
    REDACTOR.error(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# -- finding ----------------------------------------------------------------------------------


class Settings(BaseModel):
    key: SecretStr
    nested: dict[str, list[SecretBytes]] = {}


def test_secrets_in_deps_are_found() -> None:
    key = SecretStr(KEY)

    @dataclasses.dataclass
    class Deps:
        settings: Settings
        plain: Plain
        table: dict[str, object]

    plain = Plain("x")
    vars(plain)["token"] = SecretStr("token-1")
    deps = Deps(
        Settings(key=key, nested={"a": [SecretBytes(b"bytes-1")]}),
        plain,
        {"user": UserDict(key=SecretStr("user-dict")), "tuple": (Slotted("x"), Secret("generic"))},
    )
    found = {secret_text(secret) for secret in find_secrets(deps)}
    assert found == {KEY, "token-1", "bytes-1", "user-dict", "generic"}


def test_cycles_and_large_objects_end() -> None:
    loop: dict[str, Any] = {"key": SecretStr(KEY)}
    loop["self"] = loop
    loop["many"] = [[n] for n in range(100_000)]
    assert [secret_text(secret) for secret in find_secrets(loop)] == [KEY]


@pytest.mark.parametrize("value", [None, 3, "text", b"x", [], {}, sys, Plain, print, lambda: None])
def test_where_there_is_none(value: object) -> None:
    assert find_secrets(value) == ()
    assert not is_secret(value)


def test_pydantic_is_not_imported_for_it() -> None:
    code = (
        "import sys, dataclasses\n"
        "from ling_agent.secrets import Redactor, find_secrets\n"
        "assert find_secrets({'a': [object()]}) == ()\n"
        "assert Redactor(['plain-secret']).value(['plain-secret']) == ['[secret]']\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
