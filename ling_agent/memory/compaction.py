"""What a compaction takes out of the window: `choose` decides, in whole groups and in this order.

1. Old large observations become a line each, with the handle under which they can be read.
2. Old steps go, oldest first; a record of them takes their place.
3. Documents are shown shorter.
4. The newest observations are cut shorter.

It stops as soon as the prompt is down to the low watermark; 3 and 4 are only for a prompt that is
still above the high one. Never touched: the instructions, the
task, pinned entries, and of the newest steps up to four, at least one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..messages import ToolMessage, UserMessage
from .budget import Budget, Meter
from .trajectory import Entry
from .window import Item, Window, content_of

_KEEP = 4  # newest steps, as far as they take no more than half of what is to be left
_STUB_TOKENS = 48
_LARGE = 3 * _STUB_TOKENS
_EXCERPT = 80  # characters
_HEAD = 2 / 3  # share of the head in a cut text
_LEAST_SHOWN = 200  # bytes


@dataclass(slots=True)
class Compaction:
    """What is to change in the window.

    Attributes:
        dropped: Groups that are shown no more.
        stubs: Lines in place of observations, by entry.
        cut: Characters at both ends that are shown of a message, and the note between, by entry.
        documents: Characters that are shown of documents, by entry.
        saved: Tokens that it frees, about.
    """

    dropped: list[list[Item]] = field(default_factory=list[list[Item]])
    stubs: dict[int, str] = field(default_factory=dict[int, str])
    cut: dict[int, tuple[int, int, str]] = field(default_factory=dict[int, tuple[int, int, str]])
    documents: dict[int, int] = field(default_factory=dict[int, int])
    saved: int = 0

    def data(self) -> dict[str, Any]:
        """As it is written into the log; see `Window`."""
        data: dict[str, Any] = {}
        if self.dropped:
            data["dropped"] = _ranges([i.entry.id for group in self.dropped for i in group])
        if self.cut:
            data["cut"] = [[number, *cut] for number, cut in self.cut.items()]
        if self.stubs:
            data["stubs"] = [[number, text] for number, text in self.stubs.items()]
        if self.documents:
            data["documents"] = [[number, shown] for number, shown in self.documents.items()]
        return data


def choose(window: Window, meter: Meter, budget: Budget, total: int) -> Compaction:
    """What to take out so that a prompt gets down to the low watermark, or as near as it can.

    Args:
        window: What is shown now.
        meter: Sizes of its parts.
        budget: The watermarks.
        total: Tokens of the prompt.
    """
    result = Compaction()
    steps = _steps(window)
    keep = _newest(steps, meter, budget.low // 2)
    old, newest = steps[: len(steps) - keep], steps[len(steps) - keep :]
    left = total - _make_stubs(result, old, meter, total - budget.low)
    if left > budget.low and old:
        left += budget.record
        left -= _drop(result, old, meter, left - budget.low)
    # From here on it is enough that there is room to work.
    enough = max(budget.high - budget.window // 8, budget.low)
    if left > budget.high:
        left -= _shorten_documents(result, window, meter, left - enough)
    if left > budget.high:
        left -= _cut_newest(result, newest, meter, left - enough)
    result.saved = total - left
    return result


def cut_large(items: Sequence[Item], meter: Meter, budget: Budget) -> Compaction:
    """Cut at both ends what is too long: an observation, or a task that takes half the window."""
    result = Compaction()
    for item in items:
        if item.cut or item.stub or not isinstance(item.message, UserMessage | ToolMessage):
            continue
        is_task = isinstance(item.message, UserMessage)
        longest = budget.low if is_task else budget.observation
        size = _size(item.entry) if is_task else item.size
        if meter.tokens(size) > longest:
            _cut(result, item, meter, size, meter.bytes(longest))
    return result


def _steps(window: Window) -> list[list[Item]]:
    """The groups that may go: all but the instructions, the newest task and what is pinned."""
    task = window.task
    return [
        group
        for group in window.groups()
        if group[0].entry.kind != "instructions"
        and (task is None or group[0] is not task.item)
        and not any(item.entry.id in window.pinned for item in group)
    ]


def _tokens(group: Sequence[Item], meter: Meter) -> int:
    return sum(meter.tokens(item.size) for item in group)


def _newest(steps: list[list[Item]], meter: Meter, room: int) -> int:
    """How many of the newest steps stay."""
    keep = 0
    for group in reversed(steps[-_KEEP:]):
        room -= _tokens(group, meter)
        if keep and room < 0:
            break
        keep += 1
    return keep


def _make_stubs(result: Compaction, old: list[list[Item]], meter: Meter, excess: int) -> int:
    saved = 0
    for item in (item for group in old for item in group):
        if saved >= excess:
            break
        if isinstance(item.message, ToolMessage) and not item.stub:
            gain = meter.tokens(item.size) - _STUB_TOKENS
            if gain > _LARGE - _STUB_TOKENS:
                result.stubs[item.entry.id] = stub(item.entry)
                saved += gain
    return saved


def _drop(result: Compaction, old: list[list[Item]], meter: Meter, excess: int) -> int:
    saved = 0
    for group in old:
        if saved >= excess:
            break
        result.dropped.append(group)
        for item in group:
            shown = result.stubs.pop(item.entry.id, None)
            saved += meter.tokens(item.size) if shown is None else _STUB_TOKENS
    return saved


def _shorten_documents(result: Compaction, window: Window, meter: Meter, excess: int) -> int:
    """Show less of the newest task's documents, of the last one first."""
    saved = 0
    for entry, shown in reversed(window.task.documents if window.task is not None else []):
        if saved >= excess:
            break
        if not shown:
            continue
        text = entry.text
        size = len(text[:shown].encode("utf-8", "surrogatepass"))
        left = max(meter.tokens(size) - (excess - saved), 0)
        characters = min(int(shown * left / max(meter.tokens(size), 1)), shown - 1)
        characters = max(text.rfind("\n", 0, characters) + 1, 0) or characters
        result.documents[entry.id] = characters
        saved += int(meter.tokens(size) * (1 - characters / shown))
    return saved


def _cut_newest(result: Compaction, newest: list[list[Item]], meter: Meter, excess: int) -> int:
    """Cut the largest of the newest observations, each down to an equal share."""
    items = [i for group in newest for i in group if isinstance(i.message, ToolMessage)]
    items.sort(key=lambda item: -item.size)
    saved = 0
    for place, item in enumerate(items):
        if saved >= excess:
            break
        rest = sum(meter.tokens(other.size) for other in items[place:])
        share = max(rest - (excess - saved), 0) // (len(items) - place)
        limit = max(meter.bytes(share), _LEAST_SHOWN)
        if item.size > limit and _size(item.entry) > limit:
            _cut(result, item, meter, _size(item.entry), limit)
            saved += meter.tokens(item.size) - meter.tokens(limit)
    return saved


def _cut(result: Compaction, item: Item, meter: Meter, size: int, limit: int) -> None:
    """Show so many bytes of a message, the note included."""
    entry, text = item.entry, content_of(item.entry)
    note = _note(entry, len(text), len(text))
    characters = int(len(text) * max(limit - len(note), _LEAST_SHOWN) / size)
    head = int(characters * _HEAD)
    tail = characters - head
    result.cut[entry.id] = (head, tail, _note(entry, len(text) - head - tail, head))
    result.saved += meter.tokens(item.size) - meter.tokens(limit)


def _note(entry: Entry, left: int, head: int) -> str:
    return (
        f"[{left:,} characters left out here: open({entry.handle!r}, {head}) reads on, "
        "recall(query) searches them]"
    )


def stub(entry: Entry) -> str:
    """One line that says what an observation was and how to read it."""
    text = content_of(entry)
    what = describe_call(entry)
    return (
        f"[{len(text):,} characters of {what} left out: open({entry.handle!r}) reads them. "
        f"They begin: {excerpt(text)}]"
    )


def describe_call(entry: Entry) -> str:
    """The call that an observation answers, as text."""
    name = entry.message.name if isinstance(entry.message, ToolMessage) else entry.kind
    return str(entry.data.get("call") or name)


def excerpt(text: str, length: int = _EXCERPT) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _size(entry: Entry) -> int:
    return len(content_of(entry).encode("utf-8", "surrogatepass"))


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Ids as ranges; entries without a message between two dropped ones make no gap."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
