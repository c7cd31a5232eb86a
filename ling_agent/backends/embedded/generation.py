"""`Generation`: one answer in the making, from its prompt's tokens to its last piece of text."""

from __future__ import annotations

import codecs
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LingAgentError
from ...limits import Sampling
from ...results import Usage
from ..base import Chunk, Finished, FinishReason, PrefillChunk, TextChunk, ToolChoice
from .guide import Guide
from .model import Piece
from .sampling import Sampler
from .slots import Conversation, Slot
from .vocabulary import Vocabulary

_REPLACEMENT = "\ufffd"
_MOST_REFUSALS = 64  # of one position
_TOLD_EVERY = 0.25  # seconds between two reports on a long prompt


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What the backend asks the engine for.

    Attributes:
        prompt: Rendered text, special tokens and prefilled text included.
        put: Takes each chunk; called in the engine's thread.
        cancelled: Set by another thread to end it.
        sampling: How tokens are chosen, and how many at most.
        stop: Texts that end it where they are one token; the model's own end tokens do, too.
        prefix: The beginning of the prompt that other conversations share.
        prefill: The end of the prompt that counts as the answer's beginning.
        conversation: Under which name the tokens are kept for the next prompt.
        stop_when: Takes each piece; True ends the answer with that piece.
        choice: See `ModelRequest.tool_choice`.
        tools: OpenAI tool objects.
        bare_json: Whether untagged calls are held to their schema, too.
        constrained: Whether calls are held to their schema at all.
        answer_schema: JSON schema of the answer in words.
        weigh: See `ModelRequest.weigh`.
        watched: Whether somebody wants to know how far a long prompt is.
    """

    prompt: str
    put: Callable[[Chunk | BaseException], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    prefix: str = ""
    prefill: str = ""
    conversation: str = ""
    stop_when: Callable[[str], bool] | None = None
    choice: ToolChoice = "auto"
    tools: tuple[Mapping[str, Any], ...] = ()
    bare_json: bool = False
    constrained: bool = True
    answer_schema: Mapping[str, Any] | None = None
    weigh: tuple[str, ...] = ()
    watched: bool = False


class Generation:
    """One answer in the making.

    Args:
        request: What was asked for.
        vocabulary: Of the model.
        tokens: Of the prompt.
        prefix: How many of them are shared with other conversations.
        room: Tokens that are left for the answer.
        conversation: Whose answer it is.
        guide: Holds calls to their schema; None for free text.
        notes: What was degraded, one line each.
    """

    def __init__(
        self,
        request: GenerationRequest,
        vocabulary: Vocabulary,
        tokens: list[int],
        *,
        prefix: int,
        room: int,
        conversation: Conversation,
        guide: Guide | None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.request = request
        self.tokens = tokens
        self.prefix = prefix
        self.conversation = conversation
        self.slot: Slot | None = None
        self.finished: FinishReason | None = None
        self._vocabulary = vocabulary
        self._prompt_length = len(tokens)
        self._limit = min(request.sampling.max_tokens, room)
        self._stop = vocabulary.stop_tokens(request.stop)
        self._sampler = Sampler(request.sampling)
        self._guide = guide
        self._notes = notes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text: list[str] = []
        self._constrained = self._forced = 0
        self._reused = 0
        self._tells = False  # how far the prompt is
        self._told = 0.0
        self._asked = self._admitted = self._first = time.perf_counter()

    # -- what is to be computed ---------------------------------------------------------------

    @property
    def in_prompt(self) -> bool:
        """Whether there is more of the prompt to evaluate than its last token.

        That one is evaluated alone, whether the rest came from the cache or not: batches of
        another size round differently, and a repeated run should give the same answer.
        """
        assert self.slot is not None
        return len(self.slot.tokens) < self._prompt_length - 1

    def admit(self, slot: Slot, batch: int) -> None:
        """It has a slot, whose tokens are a beginning of its own.

        Args:
            slot: Where it is computed.
            batch: Tokens that are evaluated in one go; of a prompt that takes more, the reader is
                told how far it is.
        """
        self.slot = slot
        self._reused = len(slot.tokens)
        self._admitted = time.perf_counter()
        self._tells = self.request.watched and self._prompt_length - 1 - self._reused > batch
        self._tell(self._reused)

    def read_on(self) -> None:
        """More of the prompt was evaluated."""
        assert self.slot is not None
        if self._tells and time.perf_counter() - self._told >= _TOLD_EVERY:
            self._tell(len(self.slot.tokens))

    def _tell(self, tokens: int) -> None:
        if self._tells:
            self._told = time.perf_counter()
            self.request.put(PrefillChunk(tokens, self._prompt_length))

    def next_of_prompt(self, most: int) -> Piece:
        """The next tokens of the prompt, up to where its state is worth keeping."""
        assert self.slot is not None
        start = len(self.slot.tokens)
        end = self.prefix if start < self.prefix else self._prompt_length - 1
        tokens = self.tokens[start : min(end, start + most)]
        return Piece(self.slot.stream, start, tokens, wants_logits=False)

    def next_of_answer(self, most: int) -> Piece:
        """What was chosen and not evaluated: a token, and those that it forces."""
        assert self.slot is not None
        start = len(self.slot.tokens)
        tokens = self.tokens[start : start + most]
        return Piece(
            self.slot.stream, start, tokens, wants_logits=start + len(tokens) == len(self.tokens)
        )

    # -- what came out ------------------------------------------------------------------------

    def advance(self, logits: NDArray[np.float32]) -> None:
        """Choose the next token and take what it forces; pieces of text go to the reader."""
        if len(self.tokens) == self._prompt_length:
            self._first = time.perf_counter()
            self._tell(self._prompt_length)
        if self.request.weigh:
            self._finish("stop", self._weights(logits))
            return
        token = self._choose(logits)
        if self._ends(token):
            self._put_text(self._decoder.decode(b"", final=True))
            self._finish("stop")
            return
        self._take(token)
        guide = self._guide
        while self.finished is None and guide is not None and guide.inside:
            forced = guide.forced()
            if not forced:
                return
            for token in forced:
                if self.finished is not None:
                    return
                self._forced += 1
                self._take(token)

    def _weights(self, logits: NDArray[np.float32]) -> tuple[float, ...]:
        """Log-probabilities of the words that were asked about."""
        shifted = logits.astype(np.float64) - float(logits.max())
        total = float(np.log(np.exp(shifted).sum()))
        first = [self._vocabulary.tokenize(word)[0] for word in self.request.weigh]
        return tuple(float(shifted[token]) - total for token in first)

    def _choose(self, logits: NDArray[np.float32]) -> int:
        generated = self.tokens[self._prompt_length :]
        position = len(generated)
        sampler, guide = self._sampler, self._guide
        recent = generated if sampler.penalises else ()
        token = sampler.choose(logits, position=position, recent=recent)
        if guide is None or guide.allows(token):
            return token
        # Bounded: in free text a mask leaves out only the tokens that were refused so far.
        for attempt in range(1, _MOST_REFUSALS):
            token = sampler.choose(
                logits, position=position, recent=recent, allowed=guide.mask(), attempt=attempt
            )
            if guide.allows(token):
                return token
        guide.give_up("no token was found that the grammar takes")
        return token

    def _ends(self, token: int) -> bool:
        return token in self._stop or self._vocabulary.is_end(token)

    def _take(self, token: int) -> None:
        guide = self._guide
        self.tokens.append(token)
        if guide is not None:
            if guide.inside:
                self._constrained += 1
            guide.take(token)
        last = len(self.tokens) - self._prompt_length == self._limit
        text = self._decoder.decode(self._vocabulary.piece(token), final=last)
        self._put_text(text)
        stop_when = self.request.stop_when
        if stop_when is not None and stop_when(text):
            self._finish("stop")
        elif last:
            self._finish("length")

    def _put_text(self, text: str) -> None:
        self._text.append(text)
        if text:
            self.request.put(TextChunk(text))

    def fail(self, error: LingAgentError) -> None:
        """It ends with an error, which its reader gets."""
        self.finished = "stop"
        self.request.put(error)

    def _finish(self, reason: FinishReason, weights: tuple[float, ...] = ()) -> None:
        self.finished = reason
        notes = self._all_notes()
        self.request.put(Finished(reason, self._usage(), notes=notes, weights=weights))

    def _usage(self) -> Usage:
        now = time.perf_counter()
        return Usage(
            prompt_tokens=self._prompt_length,
            completion_tokens=len(self.tokens) - self._prompt_length,
            cached_tokens=self._reused,
            requests=1,
            seconds=now - self._asked,
            prefill_seconds=self._first - self._admitted,
            decode_seconds=now - self._first,
            constrained_tokens=self._constrained,
            forced_tokens=self._forced,
        )

    def _all_notes(self) -> tuple[str, ...]:
        if self._guide is None or not self._guide.failed:
            return self._notes
        what = "a call" if self.request.answer_schema is None else "the answer"
        return (*self._notes, f"{what} was not constrained: {self._guide.failed}")

    def remember(self) -> None:
        """Keep text and tokens for the next prompt, so that they need not be tokenised again."""
        # Pieces with a replacement character are no exact image of their tokens.
        if not any(_REPLACEMENT in text for text in self._text):
            self.conversation.text = self.request.prompt + "".join(self._text)
            self.conversation.tokens = self.tokens
