"""`Scheduler`: all answers in the making, one batch at a time.

A tick evaluates one token of every answer (and what it forces) together, then one piece of one
prompt. Prompts take turns; while others answer their pieces are shorter, so that a long prompt does
not stall them. An answer that is alone gets batches as large as they come.
"""

from __future__ import annotations

from collections import deque

from ...errors import BackendError, BackendUnavailable
from .generation import Generation
from .model import LoadedModel
from .slots import Slots

_SHARE_OF_PROMPTS = 8


class Scheduler:
    """The generations of one model.

    Args:
        model: What they are computed with.
        slots: The streams that they are computed in.
    """

    def __init__(self, model: LoadedModel, slots: Slots) -> None:
        self._model = model
        self._slots = slots
        self._waiting: deque[Generation] = deque()
        self._working: deque[Generation] = deque()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._working

    def add(self, generation: Generation) -> None:
        """Begin an answer as soon as there is a slot for it."""
        self._waiting.append(generation)

    def cancel_all(self) -> None:
        """End every answer where it is."""
        for generation in (*self._waiting, *self._working):
            generation.request.cancelled.set()
        self._drop_cancelled()

    def tick(self) -> None:
        """One batch of answers and one of a prompt."""
        self._drop_cancelled()
        self._admit()
        answering = [one for one in self._working if not one.in_prompt]
        if answering:
            self._answer(answering)
        reading = next((one for one in self._working if one.in_prompt), None)
        if reading is not None:
            self._read_prompt(reading, alone=not answering)

    # -- who works ----------------------------------------------------------------------------

    def _drop_cancelled(self) -> None:
        for generation in tuple(self._waiting):
            if generation.request.cancelled.is_set():
                self._waiting.remove(generation)
                self._slots.release(generation.conversation)
        for generation in tuple(self._working):
            if generation.request.cancelled.is_set():
                self._leave(generation)

    def _admit(self) -> None:
        while self._waiting:
            generation = self._waiting[0]
            slot = self._slots.acquire(generation.conversation, generation.tokens)
            if slot is None:
                return
            self._waiting.popleft()
            generation.admit(slot, self._model.batch_size)
            self._working.append(generation)

    def _leave(self, generation: Generation) -> None:
        self._working.remove(generation)
        generation.remember()
        self._slots.release(generation.conversation)

    # -- what is computed ---------------------------------------------------------------------

    def _answer(self, generations: list[Generation]) -> None:
        # By stream: llama.cpp computes neighbouring streams of a batch together.
        generations.sort(key=_stream)
        most = self._model.batch_size // len(generations)
        pieces = [generation.next_of_answer(most) for generation in generations]
        try:
            self._model.evaluate(pieces)
        except BackendError as error:
            for generation in generations:
                self._fail(generation, error)
            return
        row = -1
        for generation, piece in zip(generations, pieces, strict=True):
            row += len(piece.tokens)
            assert generation.slot is not None
            generation.slot.tokens.extend(piece.tokens)
            if piece.wants_logits:
                self._advance(generation, row)

    def _advance(self, generation: Generation, row: int) -> None:
        try:
            generation.advance(self._model.logits(row))
        except Exception as error:  # a defect must reach its caller, not end the thread
            generation.fail(BackendUnavailable(f"the embedded engine failed: {error!r}"))
        if generation.finished is not None:
            self._leave(generation)

    def _read_prompt(self, generation: Generation, *, alone: bool) -> None:
        slot = generation.slot
        assert slot is not None
        most = self._model.batch_size
        piece = generation.next_of_prompt(most if alone else max(most // _SHARE_OF_PROMPTS, 1))
        try:
            self._model.evaluate([piece])
        except BackendError as error:
            self._fail(generation, error)
            return
        slot.tokens.extend(piece.tokens)
        generation.read_on()
        if len(slot.tokens) == generation.prefix:
            self._slots.keep_prefix(slot)
        if not generation.in_prompt:
            self._slots.keep_checkpoint(slot)
        self._working.remove(generation)  # to the back: prompts take turns
        self._working.append(generation)

    def _fail(self, generation: Generation, error: BackendError) -> None:
        assert generation.slot is not None
        self._slots.reset(generation.slot)
        generation.fail(error)
        self._leave(generation)


def _stream(generation: Generation) -> int:
    assert generation.slot is not None
    return generation.slot.stream
