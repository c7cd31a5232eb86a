"""Where a call begins in text that is free: bytes in, "a call's rest follows" out.

Two forms begin a call: ``<tool_call>`` anywhere, and for families that write untagged calls an
object whose first key is ``name``, bare or in a code block, at the beginning of the message. The
message begins again behind reasoning, behind an untagged call and behind each line of a plan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from .grammar import OPEN

_OPEN = OPEN.encode()
_THINK, _END_THINK = b"<think>", b"</think>"
_UNTAGGED = re.compile(rb'\s*(```(?:json)?\s*)?(\{\s*)"name"(\s*):')
_UNTAGGED_SO_FAR = re.compile(
    rb'\s*(?:`{1,2}|(?:```(?:json|jso|js|j)?\s*)?(?:\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*)?)?)?)?)?)?)?)'
)
_PLAN = re.compile(rb"[\s#*_]*plan[\s*_]*:", re.IGNORECASE)
_PLAN_ITEM = re.compile(rb"\s*(?:\d|[-*]|\xe2\x80\xa2|step\b)", re.IGNORECASE)
_LONGEST_HEAD = 256


@dataclass(frozen=True, slots=True)
class Found:
    """A call begins.

    Attributes:
        excess: What follows the beginning in the same piece.
        untagged: Whether it is written without tags.
        fenced: Whether in a code block.
        pretty: Whether over several lines.
    """

    excess: bytes
    untagged: bool = False
    fenced: bool = False
    pretty: bool = False


@dataclass(frozen=True, slots=True)
class FreeText:
    """What of the text so far still matters for finding the beginning of a call.

    Attributes:
        bare: Whether untagged calls count.
        tail: The last bytes, fewer than a tag has.
        head: The message so far; None when an untagged call can no longer begin.
        mode: ``start`` of the answer, where reasoning may begin; ``thinking``; ``text``.
        plan: Whether the message began with a plan.
    """

    bare: bool
    tail: bytes = b""
    head: bytes | None = b""
    mode: Literal["start", "thinking", "text"] = "start"
    plan: bool = False

    def add(self, piece: bytes) -> FreeText | Found:
        """The state behind one more piece, or the call that begins in it."""
        if self.mode == "text" and self.head is None and not self.plan:
            return self._find_tag(piece)  # the usual case
        if self.mode == "thinking":
            return self._think(piece)
        if self.mode == "start":
            seen = ((self.head or b"") + piece).lstrip()
            if seen.startswith(_THINK):
                rest = seen[len(_THINK) :]
                return replace(self, mode="thinking", tail=b"", head=b"")._think(rest)
            if not _THINK.startswith(seen):
                tail = (self.head or b"")[-(len(_OPEN) - 1) :]
                return replace(self, mode="text", tail=tail).add(piece)
            return replace(self, head=(self.head or b"") + piece)
        return self._find_untagged(piece)

    def after_call(self, *, untagged: bool) -> FreeText:
        """The state behind a call."""
        return FreeText(self.bare, head=b"" if untagged else None, mode="text")

    def _think(self, piece: bytes) -> FreeText | Found:
        window = self.tail + piece
        end = window.find(_END_THINK)
        if end < 0:
            return replace(self, tail=window[-(len(_END_THINK) - 1) :])
        message = replace(self, tail=b"", head=b"", mode="text")
        rest = window[end + len(_END_THINK) :]
        return message.add(rest) if rest else message

    def _find_tag(self, piece: bytes) -> FreeText | Found:
        window = self.tail + piece
        at = window.find(_OPEN)
        if at >= 0:
            return Found(window[at + len(_OPEN) :])
        return FreeText(self.bare, window[-(len(_OPEN) - 1) :], self.head, self.mode, self.plan)

    def _find_untagged(self, piece: bytes) -> FreeText | Found:
        tagged = self._find_tag(piece)
        if isinstance(tagged, Found):
            return tagged
        head, plan = self.head, self.plan
        if head is not None:
            head += piece
            plan = plan or _PLAN.match(head) is not None
            found = _UNTAGGED.match(head) if self.bare else None
            if found is not None:
                return Found(
                    head[found.end() :],
                    untagged=True,
                    fenced=found[1] is not None,
                    pretty=found[2] != b"{" or bool(found[3]),
                )
        if plan and b"\n" in piece and not (head and _could_become_untagged(head)):
            head = piece.rpartition(b"\n")[2]
        if head is not None and not _could_become_untagged(head):
            # A line that is no part of the plan ends it.
            plan = plan and bool(_PLAN.match(head) or _PLAN_ITEM.match(head))
            head = None
        return replace(tagged, head=head, plan=plan)


def _could_become_untagged(head: bytes) -> bool:
    return len(head) < _LONGEST_HEAD and (
        _UNTAGGED_SO_FAR.fullmatch(head) is not None
        # The word that makes a message a plan.
        or b"plan".startswith(head.strip(b" \t\r\n#*_").lower())
    )
