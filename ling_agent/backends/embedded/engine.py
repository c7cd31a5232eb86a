"""`Engine`: a loaded model with its conversations, grammars and answers in the making.

All methods are called from one thread, see `EngineThread`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ContextOverflow, StoreError
from .generation import Generation, GenerationRequest
from .grammar import CallGrammars
from .guide import Guide
from .lltokenizer import llguidance_tokenizer
from .model import LoadedModel
from .saved_state import (
    SavedState,
    StateKey,
    build_fingerprint,
    model_fingerprint,
    read_state,
    write_state,
)
from .scheduler import Scheduler
from .settings import EngineSettings
from .slots import Slots
from .snapshots import Snapshot
from .system_memory import available_memory

_MIN_ANSWER = 16
_KEPT_GRAMMARS = 16
_SNAPSHOT_SHARE = 8  # of the available memory
_MOST_SNAPSHOTS = 4 << 30  # bytes


class Engine:
    """A loaded model that answers requests.

    Args:
        settings: How it is loaded.

    Raises:
        ConfigurationError: llama-cpp-python is missing, or there is no such file.
        BackendUnavailable: The file cannot be loaded; the message says why.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.model = LoadedModel(settings)
        free = available_memory()
        budget = _MOST_SNAPSHOTS if free is None else min(free // _SNAPSHOT_SHARE, _MOST_SNAPSHOTS)
        self.slots = Slots(self.model, budget // 2)
        self.scheduler = Scheduler(self.model, self.slots)
        self._closed = False
        self._fingerprint: str | None = None
        self._tokenizer: Any = None
        self._grammars: OrderedDict[str, CallGrammars] = OrderedDict()

    def close(self) -> None:
        """Free the model; the engine cannot be used afterwards. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self.model.close()

    def start(self, request: GenerationRequest) -> None:
        """Begin an answer; `tick` goes on with it.

        Raises:
            ContextOverflow: Prompt and the shortest answer do not fit.
        """
        guide, notes = self._guide(request)
        tokens = self._tokens(request)
        room = self._room(tokens)
        self.scheduler.add(
            Generation(
                request,
                self.model.vocabulary,
                tokens,
                prefix=self._prefix(request, tokens),
                room=room,
                conversation=self.slots.claim(request.conversation),
                guide=guide,
                notes=notes,
            )
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's own tokenizer."""
        return len(self.model.vocabulary.tokenize(text))

    def tick(self) -> None:
        """Go on with what there is to do."""
        self.scheduler.tick()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.scheduler.idle

    def _tokens(self, request: GenerationRequest) -> list[int]:
        """Tokens of the prompt; those of the conversation so far are kept as they were made."""
        known = self.slots.known(request.conversation)
        text = known.text if known is not None else ""
        if known is None or not text or not request.prompt.startswith(text):
            return self.model.vocabulary.tokenize(request.prompt)
        return known.tokens + self.model.vocabulary.tokenize(request.prompt[len(text) :])

    def _room(self, tokens: Sequence[int]) -> int:
        """Tokens that are left for the answer."""
        room = self.model.n_ctx - len(tokens)
        if room < _MIN_ANSWER:
            raise ContextOverflow(
                f"the prompt has {len(tokens):,} tokens and the context window "
                f"{self.model.n_ctx:,}: shorten the task, raise n_ctx or take a model with a "
                "longer context",
                prompt_tokens=len(tokens),
                context_window=self.model.n_ctx,
            )
        return room

    def _prefix(self, request: GenerationRequest, tokens: Sequence[int]) -> int:
        """How many tokens of the prompt are those of the shared beginning.

        Tokens may reach over the end of it: then the last ones differ and are not counted.
        """
        shared = self.model.vocabulary.tokenize(request.prefix) if request.prefix else []
        count = 0
        most = min(len(shared), len(tokens) - 1)  # and no copy of all the others
        for one, other in zip(shared, tokens[:most], strict=False):
            if one != other:
                break
            count += 1
        return count

    # -- states on disk -----------------------------------------------------------------------

    def save_state(self, name: str, path: Path) -> None:
        """Write a conversation with its state to a file.

        Raises:
            StoreError: Nothing is known of it, or the file cannot be written.
        """
        conversation = self.slots.known(name)
        snapshot = None if conversation is None else self.slots.snapshot_of(conversation)
        if conversation is None or snapshot is None:
            raise StoreError(
                f"there is no state of the run {name!r} to save: it has not run on this model, or "
                "its state had to make room for others"
            )
        evaluated = len(snapshot.tokens)
        text, tokens = conversation.text, tuple(conversation.tokens)
        if tokens[:evaluated] != snapshot.tokens:
            # An answer in the making, or one that is no exact image of its tokens.
            text, tokens = "", snapshot.tokens
        state = SavedState(text, tokens, evaluated, snapshot.data.data)
        write_state(path, self._state_key(), state)

    def load_state(self, name: str, path: Path) -> str:
        """Take up a saved conversation; returns why that is not possible, or nothing."""
        state = read_state(path, self._state_key())
        if isinstance(state, str):
            return state
        known = self.slots.known(name)
        if known is not None and known.claimed:
            return f"the run {name!r} is at work: load its state before it goes on"
        data = np.frombuffer(state.data, np.uint8)
        self.slots.take_up(
            name, state.text, list(state.tokens), Snapshot(state.tokens[: state.evaluated], data)
        )
        return ""

    def _state_key(self) -> StateKey:
        model = self.model
        if self._fingerprint is None:
            self._fingerprint = model_fingerprint(model.settings.path)
        gpu = "none" if model.gpu is None else model.gpu.name.replace(" ", "_")
        settings = (
            f"n_ctx={model.n_ctx} n_parallel={model.n_parallel} kv_type={model.settings.kv_type} "
            f"flash_attention={model.settings.flash_attention} gpu={gpu}"
        )
        return StateKey(self._fingerprint, settings, build_fingerprint(model.lib))

    # -- constraints --------------------------------------------------------------------------

    def _guide(self, request: GenerationRequest) -> tuple[Guide | None, tuple[str, ...]]:
        """What holds this answer to a form, with notes; None for text that is free."""
        vocabulary = self.model.vocabulary
        if request.weigh:
            return None, ()
        wanted = request.constrained and (request.tools or request.answer_schema is not None)
        if not wanted and request.choice != "none":
            return None, ()
        grammars = self._compiled(request.tools, request.answer_schema) if wanted else None
        guide = Guide(
            grammars,
            piece=vocabulary.piece,
            is_end=vocabulary.is_end,
            n_vocab=vocabulary.size,
            choice=request.choice,
            bare_json=request.bare_json,
            typed=request.answer_schema is not None,
        )
        guide.begin(request.prefill)
        return guide, () if grammars is None else grammars.notes

    def _compiled(
        self, tools: Sequence[Mapping[str, Any]], answer_schema: Mapping[str, Any] | None
    ) -> CallGrammars:
        key = json.dumps([list(tools), answer_schema], sort_keys=False)
        grammars = self._grammars.get(key)
        if grammars is None:
            grammars = self._grammars[key] = CallGrammars(tools, self._lltokenizer(), answer_schema)
            while len(self._grammars) > _KEPT_GRAMMARS:
                self._grammars.popitem(last=False)
        self._grammars.move_to_end(key)
        return grammars

    def _lltokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = llguidance_tokenizer(self.model.lib, self.model.vocabulary)
        return self._tokenizer
