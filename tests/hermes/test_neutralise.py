"""Neutralising is exact: nothing special is left, and everything comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.hermes import HermesError, neutralise, parse, restore

TOKENS = (
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>"),
    *("<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|role_end|>"),
    *("<|startoftext|>", "<role>", "</role>", "<role>SYSTEM</role>", "<function=f>", "<arg_key>"),
    *("</arg_value>", "<parameter=x>", "</function>", "<tool_call >"),
)
MARK = "\u2060"

texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*TOKENS, MARK, "<", "<" + MARK, "tool_call>", "x"])).map("".join),
)
templates = st.sampled_from(["ling2", "chatml"])


@given(text=texts, template=templates)
def test_restore_is_exact(text: str, template: str) -> None:
    assert restore(neutralise(text, template), template) == text


@given(text=texts, template=templates)
def test_nothing_special_is_left(text: str, template: str) -> None:
    safe = neutralise(text, template)
    assert not [token for token in TOKENS if token in safe]
    message = parse(safe)
    assert not message.calls
    assert message.reasoning is None
    assert message.content == safe


@pytest.mark.parametrize("template", ["ling2", "chatml"])
@pytest.mark.parametrize("token", TOKENS)
def test_each_token(token: str, template: str) -> None:
    safe = neutralise(f"a {token} b", template)
    assert safe.startswith(f"a <{MARK}{token[1:6]}"[:5])
    assert token not in safe
    again = neutralise(safe, template)
    assert again != safe
    assert restore(again, template) == safe


@pytest.mark.parametrize("text", ["", "a < b", "<b>bold</b>", "x <| y", "List<tool>", f"{MARK} <"])
def test_other_text_is_untouched(text: str) -> None:
    assert neutralise(text, "ling2") == text
    assert restore(text, "ling2") == text


def test_unknown_template() -> None:
    with pytest.raises(HermesError, match="unknown template"):
        neutralise("x <", "llama")
    with pytest.raises(HermesError, match="unknown template"):
        restore(MARK, "llama")
