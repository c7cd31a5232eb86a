"""Conversations for the tests of templates, and the official templates to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jinja2
import pytest
from hypothesis import strategies as st

from .support import DATA, SHARED, TIME, TOOLS, WEATHER

Message = dict[str, Any]

LING_CONFIG = SHARED / "ling" / "tokenizer_config.json"

needs_ling = pytest.mark.skipif(
    not LING_CONFIG.exists(),
    reason=f"no official Ling template at {LING_CONFIG}; set LING_AGENT_SHARED to its folder",
)

_LING1 = (  # inclusionAI/Ling-lite, as the tests of llama.cpp (MIT) have it
    "{% for message in messages %}{% set role = message['role'] | lower %}"
    "{% if role == 'user' %}{% set role = 'HUMAN' %}{% endif %}{% set role = role | upper %}"
    "{{ '<role>' + role + '</role>' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<role>ASSISTANT</role>' }}{% endif %}"
)
_FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "chatml": ("qwen2.5_chat_template.jinja", {}),
    "ling3": ("ling3_chat_template.jinja", {"enable_thinking": False}),
    "ling3-thinking": ("ling3_chat_template.jinja", {}),
    "qwen3": ("qwen3_chat_template.jinja", {}),
    "qwen3-no-thinking": ("qwen3_chat_template.jinja", {"enable_thinking": False}),
    "hermes": ("hermes_tool_use_template.jinja", {"bos_token": ""}),
    "plain": ("chatml_template.jinja", {}),
}


@cache
def official(template: str) -> Callable[..., str]:
    """The official template, rendered as Hugging Face's `apply_chat_template` renders it."""
    variables: dict[str, Any] = {}
    if template in ("ling2", "ling2.5"):
        source: str = json.loads(LING_CONFIG.read_text(encoding="utf-8"))["chat_template"]
    elif template == "ling1":
        source = _LING1
    else:
        name, variables = _FILES[template]
        source = (DATA / name).read_text(encoding="utf-8")
    return compiled(source, variables)


def compiled(source: str, variables: dict[str, Any]) -> Callable[..., str]:
    """A template's source, ready to render."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _tojson
    rendered = environment.from_string(source, globals=variables).render
    return rendered


def _tojson(value: object, ensure_ascii: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii)


def call(name: str, arguments: dict[str, Any], number: int = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def user(text: str = "What is the weather in Oslo?") -> Message:
    return {"role": "user", "content": text}


def system(text: str = "Be brief.") -> Message:
    return {"role": "system", "content": text}


def assistant(text: str = "", *calls: dict[str, Any]) -> Message:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def result(text: str = '{"temp": 4}') -> Message:
    return {"role": "tool", "content": text, "tool_call_id": "call_0"}


OSLO = call("get_weather", {"city": "Oslo"})
ROME = call("get_weather", {"city": "Roma", "tags": ["é", "😀", "</x>"], "n": 1.5e-7}, 1)

CONVERSATIONS: dict[str, list[Message]] = {
    "user": [user()],
    "system": [system(), user()],
    "empty texts": [system(""), user(""), assistant("")],
    "two turns": [user("Hi"), assistant("Hello!"), user("Bye")],
    "later system": [system(), user(), system("Now in French."), assistant("Oui.")],
    "system only": [system()],
    "assistant first": [assistant("Hello!"), user()],
    "call": [user(), assistant("", OSLO)],
    "call with text": [user(), assistant("Let me look.\n", OSLO)],
    "call and result": [system(), user(), assistant("", OSLO), result(), assistant("4 °C.")],
    "two calls": [user(), assistant("", OSLO, ROME), result("a"), result("b\n"), assistant("Ok.")],
    "text and two calls": [user(), assistant("Both:", OSLO, ROME), result(), result("")],
    "no arguments": [user(), assistant("", call("get_time", {})), result("12:00")],
    "call, call": [user(), assistant("", OSLO), result(), assistant("", ROME), result()],
    "result first": [result(), user()],
    "result then user": [user(), assistant("", OSLO), result(), user("And Rome?")],
    "unicode": [system("简体 \u2028 é"), user("🌍 \\n \"quoted\" 'x' & <b>")],
    "white space": [system("  a\n\n"), user("\n b \n"), assistant("\n\nc \n")],
}

CHOSEN_TOOLS: dict[str, list[dict[str, Any]]] = {
    "no tools": [],
    "one tool": [WEATHER],
    "tools": [*TOOLS, {**TIME, "note": "é <b> 'x' & \"y\" \\ \u2028"}],
}


def assistant_with(text: str, calls: list[dict[str, Any]]) -> Message:
    return assistant(text, *calls)


texts = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(["get_weather", "write_file", "größe", "a-b.c"])
calls_lists = st.lists(st.builds(call, names, st.dictionaries(texts, values, max_size=3)))
turns = st.one_of(
    st.builds(user, texts),
    st.builds(system, texts),
    st.builds(result, texts),
    st.builds(assistant_with, texts, calls_lists),
)
