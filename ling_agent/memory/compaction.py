"""What a compaction takes out of the window: `choose` decides, in whole groups and in this order.

1. Old large observations become a line each, with the handle under which they can be read.
2. Old steps go, oldest first; a record of them takes their place.
3. Documents are shown shorter.
4. The newest observations are cut shorter.
5. A task that was too long to be shown whole is cut shorter.

It stops as soon as the prompt is down to the low watermark; 3 to 5 are only for a prompt that is
still above the high one. Nothing is changed that would not make the prompt smaller. Never touched:
the instructions, any other task, pinned entries, and of the newest steps up to four, at least one
of the newest task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..messages import ToolMessage, UserMessage
from .budget import Budget, Meter
from .trajectory import Entry
from .window import Item, Task, Window, bytes_of, content_of, cut_text, document_block, within

_KEEP = 4  # newest steps, as far as they take no more than half of what is to be left
_LARGE = 144  # tokens of an observation in whose place a line is worth it
_LEAST_GAIN = 64  # tokens, of what costs a line or a record
_LEAST_CUT = 8  # tokens
_NEAR = 0.8  # share of a text in whose rest it is cut at the end of a line
_EXCERPT = 80  # characters
_HEAD = 2 / 3  # share of the head in a cut text
_LEAST_SHOWN = 200  # bytes, of both ends together


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


def choose(
    window: Window, meter: Meter, budget: Budget, total: int, *, plan: str = ""
) -> Compaction:
    """What to take out so that a prompt gets down to the low watermark, or as near as it can.

    Args:
        window: What is shown now.
        meter: Sizes of its parts.
        budget: The watermarks.
        total: Tokens of the prompt.
        plan: That a record would hold.
    """
    result = Compaction()
    steps = _steps(window)
    keep = _newest(window, steps, meter, budget.low // 2)
    old, newest = steps[: len(steps) - keep], steps[len(steps) - keep :]
    left = total - _make_stubs(result, old, meter, total - budget.low)
    if left > budget.low:
        record = meter.tokens(window.with_record(f"{plan}\n"), 0) + budget.record
        left -= _drop(result, old, meter, left - budget.low, max(record, 0))
    # From here on it is enough that there is room to work.
    enough = max(budget.high - budget.window // 8, budget.low)
    if left > budget.high:
        left -= _shorten_documents(result, window, meter, left - enough)
    if left > budget.high:
        left -= _cut_newest(result, newest, meter, left - enough)
    if left > budget.high and window.task is not None and window.task.item.cut:
        left -= _cut_task(result, window.task, meter, left - enough)
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
        size = bytes_of(content_of(item.entry)) if is_task else item.size
        if meter.tokens(size) > longest:
            _cut(result, item, meter, meter.bytes(longest), now=size)
    return result


def _steps(window: Window) -> list[list[Item]]:
    """The groups that may go: all but the instructions, the newest task and what is pinned.

    An earlier task goes behind its steps, and with the last of them: no conversation begins with
    one of those, and no two tasks follow each other.
    """
    task = window.task
    groups = [
        group
        for group in window.groups()
        if group[0].entry.kind != "instructions"
        and (task is None or group[0] is not task.item)
        and not any(item.entry.id in window.pinned for item in group)
    ]
    return _tasks_last(groups, task.item.entry.id if task is not None else 0)


def _tasks_last(groups: list[list[Item]], newest: int) -> list[list[Item]]:
    ordered: list[list[Item]] = []
    begun: list[list[Item]] = []  # the task whose steps come now
    for group in groups:
        entry = group[0].entry
        if entry.kind == "task" or entry.id > newest:
            ordered += begun
            begun = [group] if entry.kind == "task" else []
        if entry.kind != "task":
            ordered.append(group)
    return ordered + begun


def _tokens(group: Sequence[Item], meter: Meter) -> int:
    return sum(meter.tokens(item.size) for item in group)


def _newest(window: Window, steps: list[list[Item]], meter: Meter, room: int) -> int:
    """How many of the newest steps stay; an earlier task stays with a step of it."""
    task = window.task.item.entry.id if window.task is not None else -1
    keep = tasks = 0
    for group in reversed(steps[-_KEEP:]):
        room -= _tokens(group, meter)
        if room < 0 and (keep or group[0].entry.id < task):
            break
        if group[0].entry.kind == "task":
            tasks += 1
        else:
            keep, tasks = keep + tasks + 1, 0
    return keep


def _make_stubs(result: Compaction, old: list[list[Item]], meter: Meter, excess: int) -> int:
    saved = 0
    for item in (item for group in old for item in group):
        if saved >= excess:
            break
        if isinstance(item.message, ToolMessage) and not item.stub:
            tokens = meter.tokens(item.size)
            line = stub(item.entry) if tokens > _LARGE else ""
            gain = tokens - meter.tokens(bytes_of(line))
            if line and gain >= _LEAST_GAIN:
                result.stubs[item.entry.id] = line
                saved += gain
    return saved


def _drop(result: Compaction, old: list[list[Item]], meter: Meter, excess: int, record: int) -> int:
    """Drop old steps for a record, which takes so many tokens more than the one that there is."""
    dropped: list[list[Item]] = []
    saved = -record
    for group in old:
        if saved >= excess and group[0].entry.kind != "task":
            break
        dropped.append(group)
        for item in group:
            line = result.stubs.get(item.entry.id)
            saved += meter.tokens(item.size if line is None else bytes_of(line))
    if saved < min(_LEAST_GAIN, excess):  # it would not be worth a record
        return 0
    result.dropped = dropped
    for item in (item for group in dropped for item in group):
        result.stubs.pop(item.entry.id, None)
    return saved


def _shorten_documents(result: Compaction, window: Window, meter: Meter, excess: int) -> int:
    """Show less of the newest task's documents, of the last one first."""
    saved = 0
    for entry, shown in reversed(window.task.documents if window.task is not None else []):
        if saved >= excess:
            break
        if not shown:
            continue
        tokens = meter.tokens(bytes_of(document_block(entry, shown)))
        size = bytes_of(entry.text[:shown])
        characters = _whole_lines(entry.text, size - meter.bytes(excess - saved))
        gain = tokens - meter.tokens(bytes_of(document_block(entry, characters)))
        if gain >= _LEAST_GAIN:
            result.documents[entry.id] = characters
            saved += gain
    return saved


def _whole_lines(text: str, room: int) -> int:
    """Characters of a text in so many bytes, up to the end of a line where one is near."""
    if room < _LEAST_SHOWN:
        return 0
    characters = len(within(text, room))
    line = text.rfind("\n", 0, characters) + 1
    return line if line >= characters * _NEAR else characters


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
        limit = meter.bytes(share)
        saved += _cut(result, item, meter, limit, now=item.size, least=_LEAST_SHOWN // 4)
    return saved


def _cut_task(result: Compaction, task: Task, meter: Meter, excess: int) -> int:
    size = bytes_of(task.text)
    return _cut(result, task.item, meter, size - meter.bytes(excess), now=size)


def _cut(
    result: Compaction,
    item: Item,
    meter: Meter,
    limit: int,
    *,
    now: int,
    least: int = _LEAST_SHOWN,
) -> int:
    """Show so many bytes of a message and not as many as now; return the tokens that it saves."""
    entry, text = item.entry, content_of(item.entry)
    room = max(limit - len(_note(entry, len(text), len(text))) - 2, least)
    head = len(within(text, int(room * _HEAD)))
    tail = len(within(text[head:], room - int(room * _HEAD), end=True))
    note = _note(entry, len(text) - head - tail, head)
    gain = meter.tokens(now) - meter.tokens(bytes_of(cut_text(text, head, tail, note)))
    if gain < _LEAST_CUT:
        return 0
    result.cut[entry.id] = (head, tail, note)
    result.saved += gain
    return gain


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


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Ids as ranges, each with its first and its last one."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
