"""llguidance's view of a vocabulary: built once per model, in about half a second."""

from __future__ import annotations

import ctypes
from typing import Any

from ...extras import require
from .vocabulary import Vocabulary

_SPECIAL = b"\xff"  # llguidance's mark: no text, however it is spelt, is such a token


def llguidance_tokenizer(lib: Any, vocabulary: Vocabulary) -> Any:
    """An ``LLTokenizer`` for grammars.

    Args:
        lib: The ``llama_cpp`` bindings.
        vocabulary: Of the loaded model, which has to outlive the tokenizer.

    Raises:
        ConfigurationError: llguidance is not installed.
    """
    module: Any = require("llguidance", extra="llamacpp", why="holding calls to their schema")
    tokens: list[bytes] = []
    ends: list[int] = []
    for token in range(vocabulary.size):
        piece = vocabulary.piece(token)
        attributes = lib.llama_vocab_get_attr(vocabulary.pointer, token)
        own = attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        if attributes & lib.LLAMA_TOKEN_ATTR_CONTROL or (
            own and piece.startswith(b"<") and piece.endswith(b">")
        ):
            piece = _SPECIAL + piece
        tokens.append(piece)
        if vocabulary.is_end(token):
            ends.append(token)
    return module.LLTokenizer.from_llamacpp(
        tokens=tokens,
        vocab_ptr=vocabulary.pointer,
        tokenize_fptr=ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value,
        eos_token=ends or [0],
        slices=None,
    )
