"""`Guide`: which tokens a call may have, and nothing in text that is free.

Lazy: free text is only searched for the beginning of a call, and the grammar is asked there first.
Inside a call a token is sampled as ever and the grammar asked about that one token; only when it
says no is a mask computed. Behind a call the text is free again.

A grammar that fails never breaks an answer: the rest of it is free then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import NamedTool, ToolChoice
from .grammar import CLOSE, OPEN, CallGrammars
from .triggers import Found, FreeText

# With what an answer in words does not begin: a call, a fence or another plan.
_CALL_OPENING = re.compile(rb"\s*([\[{`]|<(?!think>)|plan\b|tool\b)", re.IGNORECASE)

# JSON has no bounds for numbers, Python's floats do: what is read as infinite is no argument.
_WITH_EXPONENT = re.compile(rb"[0-9][0-9.]*[eE][+-]?[0-9]+")
_IN_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]*\Z")
_OUTSIDE_STRINGS = re.compile(rb'(?:[^"]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
_LONGEST_NUMBER = 64

# What byte-pair tokenizers split a text into before they merge its bytes, at the end of a text.
_LAST_WORD = re.compile(
    rb"(?:[^A-Za-z0-9\x80-\xff]?[A-Za-z\x80-\xff]+| ?[0-9]+| ?[^\sA-Za-z0-9\x80-\xff]+)?\s*\Z"
)

_LONGEST_REASON = 200


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
        self._awaited: Any = None  # the matcher of a whole answer, while the model still reasons
        self._untagged = False  # the call that it is in
        self._written = bytearray()  # of what the matcher holds
        self._silent = True  # nothing visible was written
        self._refused: list[int] = []  # at this position
        self.failed = ""
        if grammars is not None and choice != "none":
            self._begin_whole(grammars)

    def _begin_whole(self, grammars: CallGrammars) -> None:
        if isinstance(self._choice, NamedTool):
            self._start(grammars.whole_calls(self._choice.name))
        elif self._choice == "required":
            self._start(grammars.whole_calls())
        elif grammars.holds_answers:
            self._start(grammars.whole_answer())

    def _start(self, matcher: Any) -> None:
        if matcher is None:
            name = f" {self._choice.name!r}" if isinstance(self._choice, NamedTool) else ""
            self.give_up(f"there is no tool{name} to call")
            return
        if matcher.is_error():
            self.give_up(_reason(matcher))
            return
        self._matcher, self._whole = matcher, True
        self._written.clear()

    def begin(self, text: str) -> None:
        """Take a text with which the answer begins; it may end inside a call or in reasoning."""
        if not text:
            return
        data = text.encode("utf-8", "surrogatepass")
        self._silent = self._silent and not data.strip()
        whole, self._matcher, self._whole = self._matcher, None, False
        # By lines, since an untagged call may begin behind one.
        for line in data.splitlines(keepends=True):
            self._read(line)
        if whole is None or self._matcher is not None or self.failed:
            return
        if self._free.mode == "thinking":
            self._awaited = whole
        elif data.rfind(OPEN.encode()) <= data.rfind(CLOSE.encode()):
            self._start(whole)

    @property
    def inside(self) -> bool:
        """Whether the next token is held to a grammar."""
        return self._matcher is not None

    def allows(self, token: int) -> bool:
        """Whether a token may be taken here; an end token only where nothing is unfinished."""
        if self._matcher is not None:
            allowed = self._fits(token)
        else:
            allowed = bool(self.failed) or not self._refuses(token)
        if not allowed:
            self._refused.append(token)
        return allowed

    def mask(self) -> NDArray[np.bool_]:
        """What may be taken here, [n_vocab]; to be asked for after a refusal.

        In free text it leaves out the tokens that were refused at this position, so that it is to
        be asked for again until a token is allowed.
        """
        allowed = np.ones(self._n_vocab, np.bool_) if self._matcher is None else self._fitting()
        allowed[self._refused] = False
        if not allowed.any():
            self.give_up(_reason(self._matcher) or "the grammar allows no token")
            allowed = np.ones(self._n_vocab, np.bool_)
        return allowed

    def take(self, token: int) -> None:
        """A token was chosen."""
        self._refused.clear()
        if self._is_end(token):
            return
        piece = self._piece(token)
        if self._silent:
            self._silent = not piece.strip()
        if self._matcher is None:
            self._read(piece)
            if self._awaited is not None and self._free.mode != "thinking":
                self._start(self._awaited)
                self._awaited = None
        elif self._matcher.validate_tokens([token]) != 1 or not self._matcher.consume_token(token):
            self.give_up(_reason(self._matcher) or "a token that the grammar refuses was taken")
        else:
            self._advance(piece)

    def forced(self) -> list[int]:
        """Tokens that must follow now, as far as it is certain how they are spelt.

        There may be more of them when these are taken; none in free text.
        """
        if self._matcher is None or self._matcher.is_stopped():
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        # Where the vocabulary has no token for a byte, llguidance leaves that byte out.
        tokens = tokens[: self._matcher.validate_tokens(tokens)] if tokens else tokens
        return tokens[: self._certain(tokens)] if tokens else tokens

    def _certain(self, tokens: list[int]) -> int:
        """How many of the forced tokens the model would have chosen itself.

        The last word may be spelt in other tokens once something follows it: ``}}`` with a line
        break becomes ``}`` and ``}\\n``. A blank begins a new word, whatever it is.
        """
        assert self._grammars is not None
        if self._grammars.tokenizer.is_special_token(tokens[-1]):
            return len(tokens)
        pieces = list(map(self._piece, tokens))
        text = b"".join(pieces)
        if self._matcher.compute_ff_bytes().startswith(text + b" "):
            return len(tokens)
        word = _LAST_WORD.search(text)
        size, count = len(text) if word is None else word.start(), 0
        for piece in pieces:
            size -= len(piece)
            if size < 0:
                break
            count += 1
        return count

    def give_up(self, reason: str) -> None:
        """Let the rest of the answer be free."""
        self.failed = " ".join(reason.split())[:_LONGEST_REASON]
        self._matcher = self._awaited = None
        self._refused.clear()

    # -- inside -------------------------------------------------------------------------------

    def _fits(self, token: int) -> bool:
        if self._is_end(token):
            return self._whole and bool(self._matcher.is_accepting())
        return self._matcher.validate_tokens([token]) == 1 and not self._overflows(token)

    def _fitting(self) -> NDArray[np.bool_]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=self._n_vocab, bitorder="little").view(np.bool_)
        start = max(0, len(self._written) - _LONGEST_NUMBER)
        if _IN_EXPONENT.search(self._written, start) and _OUTSIDE_STRINGS.fullmatch(self._written):
            overflows = [
                token for token in np.flatnonzero(allowed).tolist() if self._overflows(token)
            ]
            allowed[overflows] = False
        return allowed

    def _overflows(self, token: int) -> bool:
        """Whether a number would have an exponent that no float has; llguidance takes any."""
        before = self._written[-_LONGEST_NUMBER:]
        text = before + self._piece(token)
        for number in _WITH_EXPONENT.finditer(text):
            if number.end() > len(before) and math.isinf(float(number[0])):
                whole = self._written + text[len(before) : number.end()]
                return _OUTSIDE_STRINGS.fullmatch(whole) is not None
        return False

    def _advance(self, piece: bytes) -> None:
        """The matcher has taken this text; a call may have ended in it."""
        self._written += piece
        if self._whole or not self._matcher.is_accepting():
            return
        # A token may hold more than the end of the call.
        if self._untagged:
            behind = piece[len(piece.rstrip()) :]
        else:
            start = max(0, len(self._written) - len(piece) - len(CLOSE) + 1)
            end = self._written.find(CLOSE.encode(), start) + len(CLOSE)
            behind = bytes(self._written[end:])
        self._matcher = None
        self._free = self._free.after_call(untagged=self._untagged)
        if behind:
            self._read(behind)

    # -- free text ----------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Go on with a text that was not asked about."""
        if self.failed:
            return
        if self._matcher is not None:
            if self._feed(self._matcher, data):
                self._advance(data)
                return
            self._matcher = None
            self._free = self._free.after_call(untagged=False)
        state = self._free.add(data)
        if isinstance(state, FreeText):
            self._free = state
        elif not self._enter(state):
            self._free = self._free.after_call(untagged=False)
            if state.excess:
                self._read(state.excess)

    def _enter(self, found: Found) -> bool:
        """Begin to hold a call to its grammar; False where it has begun otherwise."""
        matcher = self._matcher_of(found)
        if matcher is None:
            return False
        self._matcher, self._untagged = matcher, found.untagged
        self._written.clear()
        self._advance(found.excess)
        return True

    def _refuses(self, token: int) -> bool:
        """Whether free text does not go on so: a call that is not wanted, or that begins wrong."""
        piece = self._piece(token)
        if self._choice == "none":
            if self._silent and _CALL_OPENING.match(piece):
                return True
            state = self._free.add(piece)
            return isinstance(state, Found) and not state.untagged
        if self._grammars is None:
            return False
        state = self._free.add(piece)
        if not isinstance(state, Found) or not state.excess:
            return False
        return self._matcher_of(state) is None and not self.failed

    def _matcher_of(self, found: Found) -> Any:
        """A matcher for the rest of a call that has taken the excess; None when it does not."""
        grammars = self._grammars
        if grammars is None or self._choice == "none":
            return None
        if found.untagged:
            matcher = grammars.rest_of_untagged(fenced=found.fenced, pretty=found.pretty)
        else:
            matcher = grammars.rest_of_tagged()
        if matcher is None:
            return None
        if matcher.is_error():
            self.give_up(_reason(matcher))
            return None
        return matcher if self._feed(matcher, found.excess) else None

    def _feed(self, matcher: Any, data: bytes) -> bool:
        """Let a matcher take a text, unless it does not take all of it."""
        assert self._grammars is not None
        # The grammar is one of bytes: these tokens need not be those that were sampled.
        tokens: list[int] = self._grammars.tokenizer.tokenize_bytes(data)
        if matcher.validate_tokens(tokens) != len(tokens):
            return False
        return bool(matcher.consume_tokens(tokens))


def _reason(matcher: Any) -> str:
    return str(matcher.get_error()).partition("<state>")[0] if matcher is not None else ""
