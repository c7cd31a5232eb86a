"""Text to tokens and back, on real vocabularies."""

from __future__ import annotations

import codecs

import pytest

from .vocabularies import SPECIAL_TAGS, Loaded, load

pytestmark = pytest.mark.model

TEXTS = [
    "Grüße aus Köln, 日本語と中文 🎉 👩‍👧 \u2028 <tool_call> \t\r\n",
    "".join(map(chr, range(1, 256))),
    " ".join(map(chr, (0x7F, 0x80, 0x7FF, 0x800, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF))),
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_kind_of_character_survives(text: str) -> None:
    vocabulary = load(SPECIAL_TAGS).vocabulary
    tokens = vocabulary.tokenize(text)
    assert b"".join(map(vocabulary.piece, tokens)).decode() == text
    # As an answer is read: token by token, and no character in parts.
    decoder = codecs.getincrementaldecoder("utf-8")()
    assert "".join(decoder.decode(vocabulary.piece(token)) for token in tokens) == text


def test_special_tokens_are_found_in_text(loaded: Loaded) -> None:
    tokens = loaded.vocabulary.tokenize("<|im_start|>user\nHi<|im_end|>")
    (end,) = loaded.vocabulary.stop_tokens(["<|im_end|>"])
    assert tokens[-1] == end
    assert loaded.vocabulary.is_end(end)
    assert not any(map(loaded.vocabulary.is_end, tokens[:-1]))


def test_stop_texts_of_several_tokens_are_no_stop_tokens(loaded: Loaded) -> None:
    assert loaded.vocabulary.stop_tokens(["several words here"]) == frozenset()
