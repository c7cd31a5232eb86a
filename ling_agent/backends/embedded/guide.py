"""`Guide`: which tokens a call or a typed answer may have, and nothing in text that is free.

Lazy: free text is only searched for the beginning of a call, and the grammar is asked there first.
Inside a call a token is sampled as ever and the grammar asked about that one token; only when it
says no is a mask computed. Behind a call the text is free again.

A typed answer is held to its schema from its first token on, behind reasoning. Where a call may
come in its place, it is held from an opening bracket on: prose in front of a call stays possible.

A grammar that fails never breaks an answer: the rest of it is free then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..base import DraftForm, NamedTool, ToolChoice
from .grammar import CLOSE, OPEN, CallGrammars
from .triggers import Found, FreeText

# With what an answer in words does not begin: a call, a fence or another plan.
_CALL_OPENING = re.compile(rb"\s*([\[{`]|<(?!think>)|plan\b|tool\b)", re.IGNORECASE)
# The same where the answer is JSON.
_NO_JSON_OPENING = re.compile(rb"\s*(<(?!think>)|plan\b|tool\b)", re.IGNORECASE)
_THINK = b"<think>"

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
        typed: Whether the answer is to be JSON, held to a schema or not.

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
        typed: bool = False,
    ) -> None:
        self._grammars = grammars
        self._piece = piece
        self._is_end = is_end
        self._n_vocab = n_vocab
        self._choice = choice
        self._typed = typed
        self._bare_json = bare_json
        self._free = FreeText(bare_json)
        self._matcher: Any = None
        self._whole = False  # the matcher's text goes on to the end of the answer
        self._awaited: Any = None  # the matcher of whole calls, while the model still reasons
        self._answer: Any = None  # the matcher of a typed answer that has not begun
        self._no_calls = False  # in place of that answer
        self._untagged = False  # the call that it is in
        self._written = bytearray()  # of what the matcher holds
        self._silent = True  # nothing visible was written
        self._refused: list[int] = []  # at this position
        self.failed = ""
        if grammars is not None:
            self._begin_whole(grammars)

    def _begin_whole(self, grammars: CallGrammars) -> None:
        if isinstance(self._choice, NamedTool):
            self._start(grammars.whole_calls(self._choice.name))
        elif self._choice == "required":
            self._start(grammars.whole_calls())
        elif self._choice in get_args(DraftForm):
            self._start(grammars.drafted_calls(cast("DraftForm", self._choice)))
        elif grammars.holds_answers:
            self._no_calls = self._choice == "none" or not grammars.holds_calls
            untagged = self._bare_json and not self._no_calls
            self._answer = grammars.whole_answer(untagged_calls=untagged)
            if self._answer.is_error():
                self.give_up(_reason(self._answer))

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
        if self._begin_answer(data):
            return
        self._silent = self._silent and not data.strip()
        whole, self._matcher, self._whole = self._matcher, None, False
        # By lines, since an untagged call may begin behind one.
        for line in data.splitlines(keepends=True):
            self._read(line)
        self._give_way()
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
        elif self._answer_may_begin:
            allowed = self._begins_well(token)
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
        matcher = self._matcher
        if matcher is None and self._answer_may_begin and self._no_calls:
            matcher = self._answer
        allowed = np.ones(self._n_vocab, np.bool_) if matcher is None else self._fitting(matcher)
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
        if self._begin_answer(piece):
            return
        if self._silent:
            self._silent = not piece.strip()
        if self._matcher is None:
            self._read(piece)
            self._give_way()
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
        self._matcher = self._awaited = self._answer = None
        self._refused.clear()

    # -- the beginning of a typed answer ------------------------------------------------------

    @property
    def _answer_may_begin(self) -> bool:
        """Whether nothing visible was written of an answer that has a schema."""
        if self._answer is None or self._matcher is not None:
            return False
        head = self._free.head
        return self._free.mode != "thinking" and head is not None and not head.strip()

    def _give_way(self) -> None:
        """Something else has begun in place of the typed answer."""
        if not self._answer_may_begin and (self._matcher or self._free.mode != "thinking"):
            self._answer = None

    def _begins_well(self, token: int) -> bool:
        """Whether a token may be the first that is visible, or stand in front of that."""
        if self._is_end(token):
            return not self._no_calls
        piece = self._piece(token)
        text = piece.lstrip()
        if text.startswith(_THINK) and self._free.mode == "start":
            return True
        if not text:  # white space: one token of it behind reasoning, any before prose
            return not self._no_calls or (self._free.mode == "text" and not self._free.head)
        if self._no_calls or text.startswith(b"{"):
            tokens = self._tokens(text)
            return bool(self._answer.validate_tokens(tokens) == len(tokens))
        # A fence would hide the bracket behind it.
        return not text.startswith(b"`") and not self._refuses(token)

    def _begin_answer(self, data: bytes) -> bool:
        """Hold the rest to the schema where a text is the beginning of a typed answer."""
        text = data.lstrip()
        if not text or not self._answer_may_begin:
            return False
        if not (self._no_calls or text.startswith(b"{")) or not self._feed(self._answer, text):
            return False
        self._matcher, self._whole, self._answer = self._answer, True, None
        self._written[:] = text
        self._refused.clear()
        return True

    # -- inside -------------------------------------------------------------------------------

    def _fits(self, token: int) -> bool:
        if self._is_end(token):
            return self._whole and bool(self._matcher.is_accepting())
        return self._matcher.validate_tokens([token]) == 1 and not self._overflows(token)

    def _fitting(self, matcher: Any) -> NDArray[np.bool_]:
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
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
            opening = _NO_JSON_OPENING if self._typed else _CALL_OPENING
            if self._silent and opening.match(piece):
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
        tokens = self._tokens(data)
        if matcher.validate_tokens(tokens) != len(tokens):
            return False
        return bool(matcher.consume_tokens(tokens))

    def _tokens(self, data: bytes) -> list[int]:
        """A text for a matcher, which takes bytes in any tokens, not only in those sampled."""
        assert self._grammars is not None
        tokens: list[int] = self._grammars.tokenizer.tokenize_bytes(data)
        return tokens


def _reason(matcher: Any) -> str:
    return str(matcher.get_error()).partition("<state>")[0] if matcher is not None else ""
