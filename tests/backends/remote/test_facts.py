"""What a refusal teaches about a server, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.backends.remote.facts import ServerFacts, adaptation

VLLM = ServerFacts(
    "vllm",
    "0.32.0",
    "m",
    ("m",),
    8192,
    constraint="structured_outputs",
    tokenize="/tokenize",
    token_ids=True,
    running_usage=True,
    every_sampling_field=True,
)
OPENAI = ServerFacts("openai", None, "m", ("m",), None)

REFUSALS: list[tuple[ServerFacts, str, dict[str, object], str]] = [
    (
        VLLM,
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        {"tool_parser": False},
        "start it with --enable-auto-tool-choice --tool-call-parser hermes",
    ),
    (
        VLLM,
        "The provided JSON schema contains features not supported by xgrammar.",
        {"constraint": "none"},
        "features not supported by xgrammar",
    ),
    (VLLM, "Unknown field: structured_outputs", {"constraint": "none"}, "not held to their schema"),
    (VLLM, "Failed to compile grammar", {"constraint": "none"}, "Failed to compile grammar"),
    (
        OPENAI,
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        {"max_tokens_name": "max_completion_tokens"},
        "",
    ),
    (
        OPENAI,
        "tool_choice 'required' is not supported",
        {"forces_calls": False, "named_choice": False},
        "cannot be made to call a tool",
    ),
    (
        VLLM,
        "Requested sample logprobs of 20, which is greater than max allowed: 5",
        {"logprobs": False},
        "how sure the model is of a call stays unknown",
    ),
    (VLLM, "prompt must be a string", {"token_ids": False}, "prompts are sent as text"),
    (VLLM, "extra field top_k not permitted", {"every_sampling_field": False}, "top_k, min_p"),
    (VLLM, "unknown stream_options", {"running_usage": False}, ""),
    (OPENAI, "unknown stream_options", {"usage_in_stream": False}, ""),
]


@pytest.mark.parametrize(("facts", "reason", "changes", "note"), REFUSALS)
def test_a_refusal_teaches(
    facts: ServerFacts, reason: str, changes: dict[str, object], note: str
) -> None:
    learned = adaptation(facts, reason)
    assert learned is not None
    changed: dict[str, Any] = {
        name: getattr(learned, name)
        for name in ServerFacts.__slots__
        if name != "notes" and getattr(learned, name) != getattr(facts, name)
    }
    assert changed == changes
    assert [note in text for text in learned.notes] == ([True] if note else [])


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (VLLM, ""),
        (VLLM, "temperature must be non-negative"),
        (VLLM, "The model `x` does not exist."),
        (OPENAI, "extra field top_k not permitted"),
        (OPENAI, "structured outputs are not supported"),
    ],
)
def test_what_cannot_be_done_without_teaches_nothing(facts: ServerFacts, reason: str) -> None:
    assert adaptation(facts, reason) is None


@given(
    st.lists(st.sampled_from([reason for _, reason, _, _ in REFUSALS]) | st.text(), max_size=3),
    st.sampled_from([VLLM, OPENAI]),
)
def test_learning_comes_to_an_end(reasons: list[str], facts: ServerFacts) -> None:
    """A server that refuses everything with the same words is not asked for ever."""
    reason = " ".join(reasons)
    for _ in range(8):
        learned = adaptation(facts, reason)
        if learned is None:
            return
        assert learned != facts
        facts = learned
    pytest.fail("it never gives up")


def test_a_note_is_made_once() -> None:
    assert OPENAI.with_note("a").with_note("b").with_note("a").notes == ("a", "b")


def test_a_window_that_the_caller_knows_takes_the_note_away() -> None:
    facts = OPENAI.with_note("the server does not say how long its context window is").with_note(
        "b"
    )
    assert facts.with_window(4096).context_window == 4096
    assert facts.with_window(4096).notes == ("b",)


def test_without_constraint() -> None:
    assert VLLM.without_constraint().constraint == "none"
    assert VLLM.without_constraint().answer_format == "none"
    assert VLLM.without_constraint().notes == ()
