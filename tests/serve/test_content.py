"""What a plain client reads of the model's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent.serve.content import Content


def read(content: Content, *messages: list[str], answer: str | None) -> str:
    """Everything that a client gets."""
    parts: list[str] = []
    for message in messages:
        content.begin()
        parts += map(content.add, message)
    return "".join([*parts, content.end(answer)])


@given(st.text(alphabet=" \n\tab", max_size=12), st.data())
def test_one_message_is_the_answer_however_it_is_cut(text: str, data: st.DataObject) -> None:
    pieces: list[str] = []
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:size])
        rest = rest[size:]
    assert read(Content(answer_only=False), pieces, answer=text.strip() or None) == text.strip()


def test_messages_are_paragraphs() -> None:
    said = read(Content(answer_only=False), ["I ", "add.\n"], ["\n", "3", "."], answer="3.")
    assert said == "I add.\n\n3."


def test_a_message_without_words_is_no_paragraph() -> None:
    assert read(Content(answer_only=False), ["\n"], [], ["3"], answer="3") == "3"


def test_without_words_before_there_is_no_gap() -> None:
    assert read(Content(answer_only=False), [], ["3"], answer="3") == "3"


@pytest.mark.parametrize(
    ("answer", "said"),
    [("secret", "secret"), ("secret!", "secret!"), ("***", "secret\n\n***"), (None, "secret")],
)
def test_an_answer_that_a_hook_has_changed_is_told(answer: str | None, said: str) -> None:
    assert read(Content(answer_only=False), ["secret"], answer=answer) == said


def test_the_answer_alone() -> None:
    content = Content(answer_only=True)
    assert content.add("I add.") == ""
    assert read(content, ["3"], answer='{"sum": 3}') == '{"sum": 3}'
    assert read(Content(answer_only=True), ["3"], answer=None) == ""
