"""Text <-> tokens, by the model's own tokenizer."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any


class Vocabulary:
    """The vocabulary of a loaded model.

    Args:
        lib: The ``llama_cpp`` bindings.
        pointer: The ``llama_vocab`` of a loaded model; valid as long as the model is.
    """

    def __init__(self, lib: Any, pointer: Any) -> None:
        self._lib = lib
        self.pointer = pointer
        self.size = int(lib.llama_vocab_n_tokens(pointer))
        self._pieces: dict[int, bytes] = {}
        self._buffer = ctypes.create_string_buffer(64)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of a text, special tokens recognised, no BOS added."""
        data = text.encode("utf-8", errors="surrogatepass")
        size = len(data) + 8
        buffer = (self._lib.llama_token * size)()
        count = self._lib.llama_tokenize(self.pointer, data, len(data), buffer, size, False, True)
        return buffer[:count]

    def piece(self, token: int) -> bytes:
        """Text of a token as bytes; a character may be spread over several tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def _read_piece(self, token: int) -> bytes:
        buffer = self._buffer
        size = self._lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, True)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = self._lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, True)
        return buffer.raw[:size]

    def is_end(self, token: int) -> bool:
        """Whether the file marks the token as an end of generation."""
        return bool(self._lib.llama_vocab_is_eog(self.pointer, token))

    def stop_tokens(self, texts: Sequence[str]) -> frozenset[int]:
        """Ids of those stop texts that are one token; the file's own ones are always honoured."""
        ids = (self.tokenize(text) for text in texts)
        return frozenset(tokens[0] for tokens in ids if len(tokens) == 1)
