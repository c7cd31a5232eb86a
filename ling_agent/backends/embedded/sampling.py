"""`Sampler`: logits -> a token, by the rules of llama.cpp's chain, without sorting the vocabulary.

The order is llama.cpp's: penalties, top_k, top_p, min_p, temperature, draw. All three truncations
keep the most probable tokens, so each only says how many are left, and few are ever sorted.

A draw is a function of the seed, the token's position and, where a mask is given, the number of the
attempt. Nothing is carried from one token to the next, so that tokens which were not drawn but
forced, and masks, leave the draws at all other positions as they were.

Why a refused token may be answered by a second draw: let P be the unmasked distribution and A the
allowed tokens. The engine draws from P and keeps the token if it is in A; otherwise it draws again,
independently, from P conditioned on A. A token a of A then comes out with the probability

    P(a) + (1 - P(A)) * P(a) / P(A)  =  P(a) / P(A),

which is the conditional distribution itself. A mask, which is expensive to compute, is thus needed
only where the model leaves the grammar, and where it never does, the answer is token for token that
of unconstrained sampling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...limits import Sampling

_PENALTY_WINDOW = 64
_BLOCK = 256

# Tokens this far below the maximum, in nats, have less than 1e-8 of the probability together.
_NEGLIGIBLE = 30.0

Logits = NDArray[np.float32]
Tokens = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Sampler:
    """Chooses tokens for one answer; it has no state.

    Args:
        sampling: How. A temperature of 0 takes the first maximum, and no truncation changes that.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._truncates = bool(sampling.top_k or sampling.top_p < 1.0 or sampling.min_p)
        self._weights: NDArray[np.float32] = np.zeros(0, np.float32)

    @property
    def penalises(self) -> bool:
        """Whether `choose` looks at ``recent``."""
        return self._sampling.repetition_penalty != 1.0

    def choose(
        self,
        logits: Logits,
        *,
        position: int,
        recent: Sequence[int] = (),
        allowed: Mask | None = None,
        attempt: int = 0,
    ) -> int:
        """The next token.

        Args:
            logits: Shape [n_vocab]; left as they are. A token of -inf or NaN is not chosen while
                there is another one.
            position: Index of the token in its answer.
            recent: Tokens of the answer so far; the last 64 are penalised, each once.
            allowed: Shape [n_vocab]: draw from the distribution conditioned on these tokens. The
                truncations are those of the unmasked distribution, except where they leave no
                allowed token: then they are made among the allowed ones.
            attempt: Number of this draw among those with a mask at this position, so that they are
                independent of each other; without a mask it does not matter.

        Raises:
            ValueError: No token is allowed.
        """
        if np.isnan(logits.max()):
            logits = np.where(np.isnan(logits), np.float32(-np.inf), logits)
        logits = self._penalised(logits, recent)
        if allowed is None:
            return self._choose(logits, (position, 0))
        draw = (position, 1 + attempt)
        tokens = self._truncated(logits)
        if tokens is not None:
            tokens = tokens[allowed[tokens]]
            if len(tokens):
                return self._draw(logits, tokens, draw)
        tokens = np.flatnonzero(allowed)
        if not len(tokens):
            raise ValueError("no token is allowed")
        return int(tokens[self._choose(logits[tokens], draw)])

    def _choose(self, logits: Logits, draw: tuple[int, int]) -> int:
        if self._sampling.temperature == 0.0:
            return int(logits.argmax())
        tokens = self._truncated(logits)
        if tokens is not None:
            return self._draw(logits, tokens, draw)
        return self._draw_from_all(logits, draw)

    def _penalised(self, logits: Logits, recent: Sequence[int]) -> Logits:
        """llama.cpp's rule: positive logits are divided by the penalty, others multiplied."""
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0 or not len(recent):
            return logits
        tokens = list(set(recent[-_PENALTY_WINDOW:]))
        values = logits[tokens]
        logits = logits.copy()
        logits[tokens] = np.where(values > 0, values / penalty, values * penalty)
        return logits

    def _truncated(self, logits: Logits) -> Tokens | None:
        """The tokens that the truncations keep; None where there are no truncations."""
        sampling = self._sampling
        if not sampling.temperature or not self._truncates:
            return None
        best = float(logits.max())
        if np.isinf(best):
            return np.flatnonzero(logits == best)
        if sampling.top_k:
            tokens = _most_probable(logits, min(sampling.top_k, len(logits)))
            total = float(np.exp(logits[tokens].astype(np.float64) - best).sum())
        elif sampling.top_p < 1.0:
            total = float(self._exponentials(logits, best, 1.0).sum())
            tokens = _at_least(logits, best, sampling.top_p * total)
        else:
            return np.flatnonzero(logits >= best + np.log(sampling.min_p))
        if sampling.top_p < 1.0:
            tokens = _nucleus(logits, tokens, best, sampling.top_p * total)
        if sampling.min_p:
            tokens = tokens[logits[tokens] >= best + np.log(sampling.min_p)]
        return tokens

    def _exponentials(self, logits: Logits, best: float, temperature: float) -> Logits:
        """``exp((logits - best) / temperature)``, with zeros up to a multiple of `_BLOCK`."""
        size = len(logits)
        if not size <= len(self._weights) < size + _BLOCK:
            self._weights = np.zeros(-(-size // _BLOCK) * _BLOCK, np.float32)
        weights = self._weights[:size]
        np.subtract(logits, np.float32(best), out=weights)
        if temperature != 1.0:
            np.divide(weights, np.float32(temperature), out=weights)
        np.exp(weights, out=weights)
        self._weights[size:] = 0
        return self._weights

    def _draw(self, logits: Logits, tokens: Tokens, draw: tuple[int, int]) -> int:
        """Of a few tokens; which order they have does not matter, as long as it is always one."""
        values = logits[tokens].astype(np.float64)
        best = values.max()
        if np.isinf(best):
            return int(tokens[values.argmax()])
        weights = np.exp((values - best) / self._sampling.temperature)
        uniform = _uniform(self._sampling.seed, *draw)
        return int(tokens[_inverse_cdf(weights, uniform)])

    def _draw_from_all(self, logits: Logits, draw: tuple[int, int]) -> int:
        """Of all tokens: only one block's cumulative weights are computed."""
        best = float(logits.max())
        if np.isinf(best):
            return int(logits.argmax())
        weights = self._exponentials(logits, best, self._sampling.temperature)
        blocks = weights.reshape(-1, _BLOCK)
        sums = blocks.sum(axis=1).astype(np.float64)
        below = np.cumsum(sums)
        uniform = _uniform(self._sampling.seed, *draw)
        target = uniform * float(below[-1])
        block = _inverse_cdf(sums, uniform)
        rest = (target - float(below[block] - sums[block])) / float(sums[block])
        inside = _inverse_cdf(blocks[block].astype(np.float64), min(max(rest, 0.0), 1.0))
        return block * _BLOCK + inside


def _uniform(seed: int, position: int, number: int) -> float:
    """A number in [0, 1) that depends on nothing else."""
    digest = hashlib.blake2b(b"%d %d %d" % (seed, position, number), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _most_probable(logits: Logits, count: int) -> Tokens:
    """The ``count`` largest logits; of equal ones the lower token comes first."""
    place = len(logits) - count
    bound = np.partition(logits, place)[place]
    if np.isneginf(bound):  # there are fewer than that
        return np.flatnonzero(logits > -np.inf)
    return _down_to(logits, np.flatnonzero(logits >= bound), bound, count)


def _at_least(logits: Logits, best: float, mass: float) -> Tokens:
    """Tokens above some bound that weigh at least ``mass``, where ``exp(best)`` weighs 1."""
    for depth in (4.0, 10.0, _NEGLIGIBLE):
        tokens = np.flatnonzero(logits >= best - depth)
        # A margin for the rounding of the two sums, so that the nucleus lies within.
        if np.exp(logits[tokens] - np.float32(best)).sum() > mass * (1 + 1e-5):
            break
    return tokens


def _nucleus(logits: Logits, tokens: Tokens, best: float, mass: float) -> Tokens:
    """The smallest set of the most probable ``tokens`` that weighs ``mass``."""
    ordered = np.sort(logits[tokens])[::-1]  # values alone: many times faster than an argsort
    weights = np.exp(ordered.astype(np.float64) - best)
    count = min(int(np.searchsorted(np.cumsum(weights), mass)) + 1, len(tokens))
    return _down_to(logits, tokens, ordered[count - 1], count)


def _down_to(logits: Logits, tokens: Tokens, bound: np.float32, count: int) -> Tokens:
    """The first ``count`` tokens by logit, of which the last one has the logit ``bound``."""
    values = logits[tokens]
    above = tokens[values > bound]
    equal = tokens[values == bound]
    return np.concatenate([above, equal[: count - len(above)]])


def _inverse_cdf(weights: NDArray[np.float64], uniform: float) -> int:
    """Index of the weight on which ``uniform`` of the whole lies; never one of weight 0."""
    below = np.cumsum(weights)
    index = int(np.searchsorted(below, uniform * float(below[-1]), side="right"))
    if index == len(weights):  # by rounding
        index = int(np.flatnonzero(weights).max())
    return index
