"""One call block: from the opening tag to the end of its JSON (or XML) and whatever closes it.

The end of the JSON object ends the call. The tag behind it is only waited for to know whether it
is there; where the JSON cannot be followed at all, the tag is what ends the block.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .calls import Bad, Good, Outcome, cut_off
from .markup import MarkupScanner
from .prose import Prose
from .repair import read_block
from .scanner import JsonScanner
from .session import MAX_RESCANS, Mode, Session
from .tags import BACKTICK, FENCE, LEAD, TAG, is_partial, partial_at

_MENTION = frozenset(").,;:*!?\u3002\uff0c\u3001")
"""Characters behind `<tool_call>` that show that the tag is only being talked about."""

_FENCE_OPEN = re.compile(r"```[\w+-]{0,16}\s*")
_END = re.compile(
    r"(?P<close></tool_call\s{0,8}>)|(?P<open><tool_call\s{0,8}>)"
    r"|(?P<stop><\|(?:im_end|role_end|endoftext|im_start)\|>"
    r"|<role>(?:SYSTEM|HUMAN|ASSISTANT|OBSERVATION)</role>)"
)
_SWALLOWED_END = re.compile(r"([}\]])\s*+</tool_call\s{0,8}>(?=\s*+(?:<tool_call|<\|))")
_SWALLOWED_END_FINAL = re.compile(r"([}\]])\s*+</tool_call\s{0,8}>(?=\s*+(?:<tool_call|<\||\Z))")


class Block:
    """The mode inside `<tool_call>`.

    Args:
        opener: The opening tag as written; shown again if the tag turns out to be only a mention.
        repairs: What had to be repaired to get here.
        strict: Allow no repair of the text (it was once taken for the inside of a string).
    """

    def __init__(self, opener: str, repairs: list[str] | None = None, *, strict: bool) -> None:
        self._opener = opener
        self._repairs = repairs or []
        self._strict = strict
        self._state: Callable[[Session], Mode | None] = self._start
        self._raw: list[str] = []
        self._index = 0
        self._started = False
        self._deltas: list[str] = []
        self._arguments_shown = False
        self._hidden = False  # nobody is shown the call of an unknown tool
        self._fenced = False
        self._gap: list[str] = []  # white space behind the object
        self.scanner: JsonScanner | None = None
        self._markup: MarkupScanner | None = None

    def step(self, session: Session) -> Mode | None:
        return self._state(session)

    # -- what the block holds

    def _start(self, session: Session) -> Mode | None:
        self._lead(session)
        text, pos = session.text, session.pos
        char = text[pos : pos + 1]
        if not char or (char == "\\" and pos + 1 == len(text)):
            return self._cut(session) if session.final else None
        if char in "{[":
            self._begin_json(session)
            return self
        if char == "<":
            return self._start_tag(session)
        if char == BACKTICK:
            return self._start_fence(session)
        if char in _MENTION and not self._fenced:
            return self._mention(session)
        return self._prose()

    def _lead(self, session: Session) -> None:
        match = LEAD.match(session.text, session.pos)
        if match and match[0]:
            if "\\" in match[0]:
                self._note("junk_in_span")
            self._raw.append(match[0])
            session.pos = match.end()

    def _start_tag(self, session: Session) -> Mode | None:
        match = TAG.match(session.text, session.pos)
        if match is None:
            if is_partial(session.text, session.pos):
                return self._cut(session) if session.final else None
            return self._prose()
        kind = match.lastgroup
        if kind == "open":
            session.pos = match.end()
            self._note("doubled_tags")
            return self
        if kind == "close":
            session.pos = match.end()
            self._index = session.emitter.next_index()
            empty = "The <tool_call> block is empty: a JSON object is expected."
            return self._end(session, [Bad("empty_tool_call", empty)], "")
        if kind == "function":
            session.pos = match.end()
            self.begin_markup(session, MarkupScanner(match["name"], "qwen"))
            return self
        if kind == "bos":
            session.pos = match.end()
            return self
        if kind == "think":
            self._index = session.emitter.next_index()
            text = "The <tool_call> block holds reasoning, not a JSON object. Send the call again."
            return self._end(session, [Bad("invalid_json", text)], "")
        if kind in ("stop", "role", "turn"):
            return self._cut(session)
        return self._prose()

    def _start_fence(self, session: Session) -> Mode | None:
        match = _FENCE_OPEN.match(session.text, session.pos)
        rest = session.text[session.pos : session.pos + 3]
        if match is None:
            if FENCE.startswith(rest) and not session.final:
                return None
            return self._mention(session)
        if match.end() == len(session.text) and not session.final:
            return None
        self._raw.append(match[0])
        session.pos = match.end()
        self._fenced = True
        self._note("code_fence")
        return self

    def _prose(self) -> Mode:
        raw = "".join(self._raw)
        return Prose(Block, self._opener, raw, self._repairs, strict=self._strict)

    def _mention(self, session: Session) -> Mode:
        """The tag is only talked about: it is text."""
        session.emitter.text(self._opener + "".join(self._raw))
        return session.resume()

    # -- JSON

    def _begin_json(self, session: Session) -> None:
        self._index = session.emitter.next_index()
        self._raw = []
        self._gap = []
        self._started = self._arguments_shown = self._hidden = False
        self._deltas = []
        self.scanner = JsonScanner()
        self._state = self._json

    def _json(self, session: Session) -> Mode | None:
        scanner = self.scanner
        assert scanner is not None
        done_before = scanner.arguments_done
        end = scanner.scan(session.text, session.pos)
        self._raw.append(session.text[session.pos : end])
        session.pos = end
        if not done_before:
            self._show(session, scanner)
        if scanner.status == "done":
            self._state = self._after
        elif scanner.status == "broken":
            self._state = self._broken
            return self._resync(session, _SWALLOWED_END) or self
        elif session.final:
            swallowed = scanner.in_string and not session.length
            return (swallowed and self._resync(session, _SWALLOWED_END_FINAL)) or self._cut(session)
        else:
            return None
        return self

    def _show(self, session: Session, scanner: JsonScanner) -> None:
        """Stream the name and the arguments as soon as both are certain enough to show."""
        if self._hidden:
            return
        if scanner.delta:
            self._deltas.append(scanner.delta)
        if not self._started:
            name = scanner.name
            if name is None or scanner.call_depth != 1 or not name.strip():
                return
            known = session.book.normalised(name)
            if known is None:
                self._hidden = True  # looked up once, not once for each chunk
                return
            session.emitter.started(self._index, known)
            self._started = True
        if self._deltas:
            session.emitter.arguments(self._index, "".join(self._deltas))
            self._arguments_shown = True
            self._deltas = []

    def take(self, session: Session, chunk: str) -> bool:
        """Hot path: take a chunk that lies inside a string of the streamed arguments."""
        scanner = self.scanner
        if not self._started or scanner is None or not scanner.run_of_string(chunk):
            return False
        self._raw.append(chunk)
        session.emitter.arguments(self._index, chunk)
        return True

    def _resync(self, session: Session, pattern: re.Pattern[str]) -> Mode | None:
        """A string that was never closed has swallowed the next block: give that block back."""
        raw = "".join(self._raw)
        self._raw = [raw]
        match = pattern.search(raw) if session.rescans < MAX_RESCANS else None
        if match is None:
            return None
        session.distrusted = max(session.distrusted, session.position)
        session.rescans += 1
        session.put_back(raw[match.end() :])
        return self._finish_text(session, raw[: match.end(1)], closed=True)

    def _broken(self, session: Session) -> Mode | None:
        """The brackets lead nowhere: the next tag ends the block."""
        text, pos = session.text, session.pos
        match = _END.search(text, pos)
        if match is None:
            keep = partial_at(text, pos)
            self._raw.append(text[pos:keep])
            session.pos = keep
            return self._broken_cut(session) if session.final else None
        self._raw.append(text[pos : match.start()])
        session.pos = match.end() if match.lastgroup == "close" else match.start()
        raw = "".join(self._raw)
        if match.lastgroup == "stop":
            return self._cut(session)
        if match.lastgroup == "open":
            thought = self._thought(session, raw)
            if thought is not None:
                return thought
            self._note("missing_end_tag")
        return self._finish_text(session, raw, closed=match.lastgroup == "close")

    def _thought(self, session: Session, raw: str) -> Mode | None:
        """The block that would come next stands in a `<think>` that opened in this one."""
        at = raw.rfind("<think>")
        if at < 0 or "</" in raw[at:]:
            return None
        session.put_back(raw[at:])
        return self._finish_text(session, raw[:at], closed=False)

    def _broken_cut(self, session: Session) -> Mode:
        """The message ends in a broken block: a call only if its end tag had begun."""
        if session.text.startswith("</", session.pos) and not session.length:
            raw = "".join(self._raw)
            outcomes = self._read(session, raw, closed=True)
            if all(isinstance(outcome, Good) for outcome in outcomes):
                self._note("missing_end_tag")
                session.pos = len(session.text)
                return self._finish_text(session, raw, closed=True)
        return self._cut(session)

    # -- XML dialects

    def begin_markup(self, session: Session, markup: MarkupScanner) -> None:
        """Read an XML dialect from here; the name is already known."""
        self._index = session.emitter.next_index()
        self._raw = []
        self._markup = markup
        self._state = self._in_markup
        known = session.book.normalised(markup.name)
        if known is not None:
            session.emitter.started(self._index, known)
            self._started = True

    def _in_markup(self, session: Session) -> Mode | None:
        markup = self._markup
        assert markup is not None
        end = markup.scan(session.text, session.pos, final=session.final)
        self._raw.append(session.text[session.pos : end])
        session.pos = end
        if markup.status == "done":
            self._state = self._after
            return self
        if markup.status == "broken":
            self._state = self._broken
            return self
        return self._cut(session) if session.final else None

    # -- behind the call

    def _after(self, session: Session) -> Mode | None:
        match = LEAD.match(session.text, session.pos)
        if match and match[0]:
            self._gap.append(match[0])
            session.pos = match.end()
        text, pos = session.text, session.pos
        char = text[pos : pos + 1]
        half = char == "\\" and pos + 1 == len(text)  # of a literal "\\n"
        if not session.final and (not char or half):
            return None
        if char == "<":
            return self._after_tag(session, pos)
        if char and char in "}]":
            self._note("extra_brace")
            session.pos = pos + 1
            return self
        if char and char in "{[" and self.scanner is not None:
            session.pos = pos
            self._flush(session)
            self._begin_json(session)
            return self
        if char == "," and self.scanner is not None:
            self._gap.append(char)
            session.pos += 1
            return self
        if char == BACKTICK and self._fenced:
            rest = text[pos : pos + 3]
            if rest == FENCE:
                session.pos = pos + 3
                return self
            if FENCE.startswith(rest) and not session.final:
                return None
        return self._unclosed(session)

    def _after_tag(self, session: Session, pos: int) -> Mode | None:
        text = session.text
        match = TAG.match(text, pos)
        kind = match.lastgroup if match else None
        if match and kind == "close":
            if any("\\" in gap for gap in self._gap):
                self._note("junk_in_span")
            session.pos = match.end()
            self._flush(session)
            return session.resume()
        if match and kind in ("unthink", "other"):
            self._note("wrong_end_tag")
            session.pos = match.end()
            return self
        if match is None and is_partial(text, pos):
            if not session.final:
                return None
            if text.startswith("</", pos):
                session.pos = len(text)
        return self._unclosed(session)

    def _unclosed(self, session: Session) -> Mode:
        if "wrong_end_tag" not in self._repairs:
            self._note("missing_end_tag")
        self._flush(session)
        session.emitter.text("".join(self._gap))
        return session.resume()

    # -- results

    def _note(self, repair: str) -> None:
        if repair not in self._repairs:
            self._repairs.append(repair)

    def _read(self, session: Session, raw: str, *, closed: bool) -> list[Outcome]:
        if self._markup is not None:
            if self._markup.status == "done":
                return [self._markup.outcome(session.book, self._repairs)]
            text = "The call's XML is not closed before the block ends. Send the call again."
            return [Bad("invalid_json", text, self._markup.name)]
        if self.scanner is not None and self.scanner.too_deep:
            return [Bad("too_deep", "The arguments are nested too deeply (512 levels at most).")]
        if self.scanner is not None and self.scanner.repeated is not None:
            text = f'The call has "{self.scanner.repeated}" twice: send it once.'
            return [Bad("invalid_json", text)]
        return read_block(
            raw, session.book, closed=closed, repairs=self._repairs, strict=self._strict
        )

    def _flush(self, session: Session) -> None:
        raw = "".join(self._raw)
        self._end(session, self._read(session, raw, closed=True), raw)

    def _finish_text(self, session: Session, raw: str, *, closed: bool) -> Mode:
        return self._end(session, self._read(session, raw, closed=closed), raw)

    def _cut(self, session: Session) -> Mode:
        """The message ended inside the block: whatever it is, it is not a call."""
        if session.final and TAG.match(session.text, session.pos) is None:
            session.pos = len(session.text)  # the start of a tag, cut like the rest
        if self.scanner is None and self._markup is None:
            self._index = session.emitter.next_index()
        name = self.scanner.name if self.scanner else self._markup.name if self._markup else None
        if self.scanner is not None and self.scanner.too_deep:
            return self._end(session, self._read(session, "", closed=False), "".join(self._raw))
        bad = cut_off(name, shorter=session.length)
        raw = "".join(self._raw)
        return self._end(session, [bad], raw)

    def _end(self, session: Session, outcomes: list[Outcome], raw: str) -> Mode:
        emitter = session.emitter
        for number, outcome in enumerate(outcomes):
            index = self._index if number == 0 else emitter.next_index()
            if isinstance(outcome, Bad) and outcome.name is None and self.scanner is not None:
                outcome.name = self.scanner.name
            first = number == 0
            emitter.outcome(
                index,
                outcome,
                raw,
                started=first and self._started,
                shown=first and self._arguments_shown,
            )
        emitter.removed()
        return session.resume()
