"""Drives `Guide` and `Sampler` together as the engine does, on real vocabularies.

In place of a model there are logits: random ones, which leave the grammar at every chance, or such
that spell out a text, as a model does that knows what it wants to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ling_agent import Sampling
from ling_agent.backends.embedded.grammar import CallGrammars
from ling_agent.backends.embedded.guide import Guide
from ling_agent.backends.embedded.sampling import Sampler

from .vocabularies import Loaded

Logits = NDArray[np.float32]
Strategy = st.SearchStrategy[Any]

SEARCH: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Finds offers.",
        "parameters": {
            "type": "object",
            "properties": {"gpu": {"type": "string"}, "price": {"type": "number"}},
            "required": ["gpu"],
        },
    },
}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
TOOLS = [SEARCH, NOW]

SEARCH_CALL = '{"name": "search", "arguments": {"gpu": "RTX 4090", "price": 0.5}}'
NOW_CALL = '{"name": "now", "arguments": {}}'
PRETTY_CALL = '{\n  "name": "search",\n  "arguments": {\n    "gpu": "RTX 4090"\n  }\n}'


def tagged(call: str) -> str:
    return f"<tool_call>\n{call}\n</tool_call>"


@cache
def grammars_of(loaded: Loaded) -> CallGrammars:
    return CallGrammars(TOOLS, loaded.tokenizer)


def guide_of(loaded: Loaded, grammars: CallGrammars | None = None, **options: Any) -> Guide:
    vocabulary = loaded.vocabulary
    return Guide(
        grammars_of(loaded) if grammars is None else grammars,
        piece=vocabulary.piece,
        is_end=vocabulary.is_end,
        n_vocab=vocabulary.size,
        **options,
    )


@dataclass
class Answer:
    """What came of one answer.

    Attributes:
        refused: How many tokens the guide refused.
        forced: How many tokens it forced.
        stretches: How many stretches that were held to a grammar have ended.
        ended: Whether it ended by itself.
    """

    tokens: list[int] = field(default_factory=list[int])
    text: str = ""
    refused: int = 0
    forced: int = 0
    stretches: int = 0
    ended: bool = False


def drive(
    loaded: Loaded,
    guide: Guide,
    logits: Callable[[Sequence[int]], Logits],
    *,
    sampling: Sampling | None = None,
    limit: int = 200,
) -> Answer:
    """One answer, token by token, as `Generation` makes it."""
    sampler = Sampler(sampling or Sampling(temperature=1.0))
    answer = Answer()

    def take(token: int) -> None:
        was_inside = guide.inside
        guide.take(token)
        answer.tokens.append(token)
        answer.stretches += was_inside and not guide.inside

    while len(answer.tokens) < limit and not answer.ended:
        values, position = logits(answer.tokens), len(answer.tokens)
        token, attempt = sampler.choose(values, position=position), 0
        while not guide.allows(token):
            attempt += 1
            answer.refused += 1
            assert attempt < 64
            allowed = guide.mask()
            token = sampler.choose(values, position=position, allowed=allowed, attempt=attempt)
        if loaded.vocabulary.is_end(token):
            answer.ended = True
            break
        take(token)
        while guide.inside and (tokens := guide.forced()):
            answer.forced += len(tokens)
            for token in tokens:
                take(token)
    data = b"".join(map(loaded.vocabulary.piece, answer.tokens))
    answer.text = data.decode("utf-8", "replace")
    return answer


def end_token(loaded: Loaded) -> int:
    return next(t for t in loaded.tokenizer.eos_tokens if loaded.vocabulary.is_end(t))


def spelling(loaded: Loaded, tokens: Sequence[int], height: float = 30.0) -> Any:
    """Logits of a model that wants to say exactly these tokens, and then to end."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, loaded.vocabulary.size).astype(np.float32)
    wanted = [*tokens, end_token(loaded)]

    def logits(so_far: Sequence[int]) -> Logits:
        values = noise.copy()
        values[wanted[min(len(so_far), len(wanted) - 1)]] += height
        return values

    return logits


def feed(loaded: Loaded, guide: Guide, text: str) -> None:
    """Take a text, each token of which has to be allowed."""
    for token in loaded.tokens(text):
        assert guide.allows(token), loaded.vocabulary.piece(token)
        guide.take(token)


def token_of(loaded: Loaded, piece: bytes) -> int:
    """The token with exactly this text."""
    vocabulary = loaded.vocabulary
    return next(token for token in range(vocabulary.size) if vocabulary.piece(token) == piece)


def allowed_pieces(loaded: Loaded, guide: Guide) -> set[bytes]:
    return {loaded.vocabulary.piece(token) for token in np.flatnonzero(guide.mask()).tolist()}


class Patched:
    """A vocabulary in which some tokens have another text."""

    def __init__(self, loaded: Loaded, pieces: Mapping[int, bytes]) -> None:
        self._loaded = loaded
        self._pieces = pieces

    def piece(self, token: int) -> bytes:
        return self._pieces.get(token) or self._loaded.vocabulary.piece(token)


_ENDING = {
    *(b'"', b'",', b'"}', b'"}}', b"}", b"}}", b"]", b",", b":", b"[]", b"{}", b"```", b"\n"),
    *(b' "', b', "', b'": ', b'":', b"}\n", b"}}\n", b"</tool_call>", b"</", b"tool", b"_"),
    *(b"call", b">", b"<", b"0", b"1", b"2", b"9", b".", b"-", b"e", b"E", b"\\", b"a", b"b", b"x"),
    *(b"true", b"false", b"null", b" "),
}
"""Texts of tokens that end something, and of those that begin numbers and escapes."""


@cache
def _noise(loaded: Loaded) -> tuple[list[Logits], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    size = loaded.vocabulary.size
    ending = np.array([t for t in range(size) if loaded.vocabulary.piece(t) in _ENDING])
    noise = [rng.normal(0, 2, size).astype(np.float32) for _ in range(8)]
    for one in noise:
        one[ending] += rng.normal(11, 3, len(ending)).astype(np.float32)
    return noise, ending


def random_logits(loaded: Loaded, seed: int, base: Any = None) -> Any:
    """Logits of a model that says anything, with a liking for what ends strings and objects."""
    noise, ending = _noise(loaded)
    rng = np.random.default_rng(seed)

    def logits(so_far: Sequence[int]) -> Logits:
        values = noise[rng.integers(len(noise))].copy()
        if base is not None:
            values += base(so_far)
        if len(so_far) > 60:
            values[ending] += 6
        values[end_token(loaded)] += 40
        return values

    return logits
