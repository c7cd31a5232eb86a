"""Real vocabularies without their weights, for what is done to tokens and needs no model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llama_cpp.llama_cpp as library
import pytest

from ling_agent import catalog
from ling_agent.backends.embedded.lltokenizer import llguidance_tokenizer
from ling_agent.backends.embedded.vocabulary import Vocabulary

SPECIAL_TAGS = "qwen2.5-coder-0.5b"
"""``<tool_call>`` and ``</tool_call>`` are tokens of this vocabulary; `make test` pulls it."""

PLAIN_TAGS = "smollm2-135m"
"""The tags are ordinary text in this one."""

_lib: Any = library


@dataclass(frozen=True)
class Loaded:
    """A vocabulary twice: as the engine reads it, and as llguidance does."""

    vocabulary: Vocabulary
    tokenizer: Any

    def tokens(self, text: str) -> list[int]:
        """As a model writes it: tags as special tokens where there are any."""
        return list(self.vocabulary.tokenize(text))


def load(alias: str) -> Loaded:
    """The vocabulary of a model in the cache; skips the test when it is not there."""
    path = catalog.cached_path(alias)
    if path is None:
        pytest.skip(f"run `ling-agent models pull {alias}` to test with its vocabulary")
    return _load(str(path))


@_lib.llama_log_callback
def _silent(_level: int, _text: bytes, _data: object) -> None:
    pass


@cache
def _load(path: str) -> Loaded:
    params = _lib.llama_model_default_params()
    params.vocab_only = True
    _lib.llama_log_set(_silent, None)
    # Never freed: both objects refer to it until the process ends.
    model = _lib.llama_model_load_from_file(path.encode(), params)
    vocabulary = Vocabulary(_lib, _lib.llama_model_get_vocab(model))
    return Loaded(vocabulary, llguidance_tokenizer(_lib, vocabulary))
