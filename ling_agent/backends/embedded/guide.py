"""`Guide`: which tokens a call may have, and nothing in text that is free.

Lazy: free text is only searched for the beginning of a call, and the grammar is asked there first.
Inside a call a token is sampled as ever and the grammar asked about that one token; only when it
says no is a mask computed. Behind a call the text is free again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import NamedTool, ToolChoice
from .grammar import CallGrammars
from .triggers import Found, FreeText, open_call

# With what an answer in words does not begin: a call, a fence or another plan.
_CALL_OPENING = re.compile(rb"\s*([\[{`<]|plan\b|tool\b)", re.IGNORECASE)


class Guide:
    """Holds the calls of one answer to their schema.

    Args:
        grammars: Of the tools; None when there are none, which leaves ``none`` as a choice.
        piece: Text of a token.
        is_end: Whether a token ends the answer.
        n_vocab: Size of the vocabulary.
        choice: See `ModelRequest.tool_choice`.
        bare_json: Whether untagged calls are held to their schema, too.

    Attributes:
        failed: Why the constraint was given up; empty when it was not.
    """

    def __init__(
        self,
        grammars: CallGrammars | None,
        *,
        piece: Callable[[int], bytes],
        is_end: Callable[[int], bool],
        n_vocab: int,
        choice: ToolChoice = "auto",
        bare_json: bool = False,
    ) -> None:
        self._grammars = grammars
        self._piece = piece
        self._is_end = is_end
        self._n_vocab = n_vocab
        self._choice = choice
        self._free = FreeText(bare_json)
        self._matcher: Any = None
        self._whole = False  # the matcher's text goes on to the end of the answer
        self._untagged = False  # the call that it is in
        self._first = True
        self._refused: list[int] = []  # in free text, at this position
        self.failed = ""
        if grammars is not None and choice != "none":
            self._begin_whole(grammars)

    def _begin_whole(self, grammars: CallGrammars) -> None:
        if isinstance(self._choice, NamedTool):
            self._matcher = grammars.whole_calls(self._choice.name)
        elif self._choice == "required":
            self._matcher = grammars.whole_calls()
        elif grammars.holds_answers:
            self._matcher = grammars.whole_answer()
        self._whole = self._matcher is not None

    def begin(self, text: str) -> None:
        """Take a text with which the answer begins; it may end inside a call."""
        if not text:
            return
        data = text.encode("utf-8", "surrogatepass")
        self._first = False
        found = open_call(data) if self._choice != "none" else None
        if found is not None and (self._free.bare or not found.untagged):
            matcher = self._matcher_of(found)
            if matcher is not None and not matcher.is_stopped():
                self._enter(matcher, found)
                return
        state = self._free.add(data)
        self._free = state if isinstance(state, FreeText) else self._free.after_call(untagged=False)

    @property
    def inside(self) -> bool:
        """Whether the next token is held to a grammar."""
        return self._matcher is not None

    def allows(self, token: int) -> bool:
        """Whether a token may be taken here; an end token only where nothing is unfinished."""
        if self._matcher is not None:
            if self._is_end(token):
                return self._whole and bool(self._matcher.is_accepting())
            return self._matcher.validate_tokens([token]) == 1
        if self.failed or not self._refuses(token):
            return True
        self._refused.append(token)
        return False

    def mask(self) -> NDArray[np.bool_]:
        """What may be taken here, [vocabulary]; to be asked for after a refusal."""
        if self._matcher is None:
            allowed = np.ones(self._n_vocab, np.bool_)
            allowed[self._refused] = False
            return allowed
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: self._n_vocab].astype(np.bool_)
        if len(allowed) < self._n_vocab:
            allowed = np.pad(allowed, (0, self._n_vocab - len(allowed)))
        if not allowed.any():
            self.give_up(str(self._matcher.get_error()) or "the grammar allows no token")
            return np.ones(self._n_vocab, np.bool_)
        return allowed

    def take(self, token: int) -> None:
        """A token was chosen."""
        self._refused.clear()
        self._first = False
        if self._matcher is not None:
            self._advance(token)
            return
        if self.failed:
            return
        state = self._free.add(self._piece(token))
        if isinstance(state, FreeText):
            self._free = state
            return
        matcher = self._matcher_of(state)
        if matcher is None:
            self._free = self._free.after_call(untagged=False)
        else:
            self._enter(matcher, state)

    def forced(self) -> list[int]:
        """The tokens that must follow now; none in free text."""
        if self._matcher is None or self._matcher.is_stopped():
            return []
        return list(self._matcher.compute_ff_tokens())

    def give_up(self, reason: str) -> None:
        """Let the rest of the answer be free."""
        self.failed = " ".join(reason.split())[:200]
        self._matcher = None

    def _refuses(self, token: int) -> bool:
        """Whether free text does not go on so: a call that is not wanted, or that begins wrong."""
        piece = self._piece(token)
        if self._choice == "none":
            if self._first and _CALL_OPENING.match(piece):
                return True
            state = self._free.add(piece)
            return isinstance(state, Found) and not state.untagged
        if self._grammars is None:
            return False
        state = self._free.add(piece)
        return isinstance(state, Found) and self._matcher_of(state) is None

    def _matcher_of(self, found: Found) -> Any:
        """A matcher for the rest of a call; None when it does not take the excess."""
        grammars = self._grammars
        if grammars is None:
            return None
        if found.untagged:
            matcher = grammars.rest_of_untagged(fenced=found.fenced, pretty=found.pretty)
        else:
            matcher = grammars.rest_of_tagged()
        # The grammar is one of bytes: these tokens need not be those that were sampled.
        tokens: list[int] = grammars.tokenizer.tokenize_bytes(found.excess)
        return matcher if matcher.try_consume_tokens(tokens) == len(tokens) else None

    def _enter(self, matcher: Any, found: Found) -> None:
        self._matcher, self._untagged, self._whole = matcher, found.untagged, False
        if matcher.is_stopped():
            self._leave()

    def _advance(self, token: int) -> None:
        if self._is_end(token):
            return
        if not self._matcher.consume_token(token):
            self.give_up(str(self._matcher.get_error()))
        elif self._matcher.is_stopped() and not self._whole:
            self._leave()

    def _leave(self) -> None:
        self._matcher = None
        self._free = self._free.after_call(untagged=self._untagged)
