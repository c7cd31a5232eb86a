"""`Content`: which of the model's words a plain client reads, and how they are joined."""

from __future__ import annotations

_GAP = "\n\n"


class Content:
    """The content of one streamed answer; used once.

    Text is passed on as it comes: whether a message goes on with a call is not known before it
    has. So what the model says before it calls tools is read as well, each message a paragraph of
    its own. White space around a message is left out; an answer in one message is therefore, piece
    by piece, what an unstreamed request gets.

    Args:
        answer_only: Hold everything back but the answer, which then comes in one piece.
    """

    def __init__(self, *, answer_only: bool) -> None:
        self._answer_only = answer_only
        self._message: list[str] = []  # what was passed on of the newest message
        self._space = ""  # behind it
        self._gap = ""

    def begin(self) -> None:
        """A further message begins."""
        if self._message:
            self._gap = _GAP
        self._message, self._space = [], ""

    def add(self, text: str) -> str:
        """What to pass on for a piece of text; may be empty."""
        if self._answer_only:
            return ""
        body = self._space + text
        if not self._message:
            body = body.lstrip()
        words = body.rstrip()
        self._space = body[len(words) :]
        if not words:
            return ""
        self._message.append(words)
        gap, self._gap = self._gap, ""
        return gap + words

    def end(self, answer: str | None) -> str:
        """What is missing of the answer: all of it, or what a hook has made of the text."""
        said = "".join(self._message)
        if not answer or said == answer:
            return ""
        if said and answer.startswith(said):
            return answer[len(said) :]
        return (_GAP if said else self._gap) + answer
