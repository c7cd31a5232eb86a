"""`Window`: what the model sees of a trajectory.

A fold over the log and nothing else: the same entries give the same messages, byte for byte, in
whatever process. Each entry adds its message at the end, so each request extends the one before it.
Only a ``compaction`` entry changes what was shown already, and holds everything that it changes::

    dropped    [first, last] ids of entries that are shown no more
    cut        [id, head, tail, note]: only so many characters of a message, the note between them
    stubs      [id, text]: this text in place of an observation
    documents  [id, characters]: only so much of a document
    record     what was done in the dropped steps, in place of an earlier record

A record brings all pinned texts with it. A ``withdrawal`` shows again what was shown before, and a
``document`` with ``same`` is one that is stored already.

Everything that belongs in front of a task stands in the task's own message, in blocks: documents,
the record, pinned texts. So no template sees two messages of the user in a row, and what was done
comes before what is to be done.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from .trajectory import Entry, Trajectory, call_order, in_conversation

RECORD_HEAD = "This is a record of past work, for reference only. Nothing in it is to be done now."
"""Small models take other words for an invitation: see tests/test_real_memory.py."""


@dataclass(slots=True)
class Item:
    """A message of the window.

    Attributes:
        entry: Where it is stored, whole.
        message: As it is shown.
        size: UTF-8 bytes of its text as it is shown.
        cut: Whether it is shown in part.
        stub: Whether a line stands in its place.
    """

    entry: Entry
    message: Message
    size: int
    cut: bool = False
    stub: bool = False


@dataclass(slots=True)
class Task:
    """A task's message and what stands in front of the task.

    Attributes:
        item: The message.
        text: The task as it is shown.
        documents: With the number of characters that are shown of each.
        record: What was done before; empty when nothing was dropped.
        pins: Texts to keep in view.
    """

    item: Item
    text: str
    documents: list[tuple[Entry, int]] = field(default_factory=list[tuple[Entry, int]])
    record: str = ""
    pins: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _State:
    """What a window has made of the entries that it has read.

    Attributes:
        tasks: Those that are shown.
        documents: Those whose task is still to come, with how much is shown of them.
        pins: All pinned texts, without repetitions.
        pins_ahead: Those of them that the next task's message is to show.
        compacted: Whether anything has left the window.
        order: Sorts the observations of the newest message.
    """

    tasks: list[Task] = field(default_factory=list[Task])
    documents: list[tuple[Entry, int]] = field(default_factory=list[tuple[Entry, int]])
    pins: list[str] = field(default_factory=list[str])
    pins_ahead: list[str] = field(default_factory=list[str])
    compacted: bool = False
    order: Callable[[str], int] = field(default_factory=lambda: call_order(None))


class Window:
    """The view of one trajectory; it follows the log as that grows.

    Attributes:
        items: The messages, oldest first.
        size: UTF-8 bytes of their text.
        pinned: Ids of the entries that are to stay.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory
        self._read = 0
        self._now = _State()
        self.items: list[Item] = []
        self.size = 0
        self.pinned: set[int] = set()

    def messages(self) -> tuple[Message, ...]:
        """The conversation for the next request."""
        self.update()
        return tuple([item.message for item in self.items])

    @property
    def partial(self) -> bool:
        """Whether something is stored that is not shown: then the model is given recall."""
        self.update()
        return self._now.compacted

    @property
    def task(self) -> Task | None:
        """The newest task."""
        self.update()
        return self._now.tasks[-1] if self._now.tasks else None

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks that are shown, oldest first."""
        self.update()
        return self._now.tasks

    @property
    def pins(self) -> Sequence[str]:
        """All pinned texts, whether they are shown already or by the next record."""
        self.update()
        return self._now.pins

    def with_record(self, text: str) -> int:
        """Bytes by which another record makes the task's message longer, with all pinned texts."""
        if (task := self.task) is None:
            return 0
        now = bytes_of(_blocks(task.documents, task.record, task.pins))
        return bytes_of(_blocks(task.documents, text, self._now.pins)) - now

    def update(self) -> None:
        """Follow the log."""
        new = self._trajectory.since(self._read)
        self._read += len(new)
        for entry in new:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "document":
                stored = self._trajectory[entry.data.get("same", entry.id)]
                self._now.documents.append((stored, len(stored.text)))
            case "pin":
                self._pin(entry.data)
            case "compaction":
                self._compact(entry.data)
            case "withdrawal":
                self._withdraw(entry.id)
            case "task":
                self._begin_task(entry)
            case _:
                if entry.message is not None:
                    self._add(Item(entry, entry.message, text_size(entry.message)))

    def _begin_task(self, entry: Entry) -> None:
        text = content_of(entry)
        now = self._now
        task = Task(Item(entry, UserMessage(text), 0), text, now.documents, pins=now.pins_ahead)
        now.documents, now.pins_ahead = [], []
        _show(task)
        now.tasks.append(task)
        self._add(task.item)

    def _pin(self, data: Mapping[str, Any]) -> None:
        if "entry" in data:
            self.pinned.add(data["entry"])
        elif data["text"] not in self._now.pins:
            self._now.pins.append(data["text"])
            if not data.get("called"):  # a call says it itself, until it leaves
                self._now.pins_ahead.append(data["text"])

    def _add(self, item: Item) -> None:
        self.size += item.size
        message = item.message
        if isinstance(message, ToolMessage):
            self.items.insert(self._place(message.call_id), item)
            return
        self.items.append(item)
        if isinstance(message, AssistantMessage):
            self._now.order = call_order(message)

    def _place(self, call_id: str) -> int:
        """Where an observation belongs among those of its message."""
        order = self._now.order
        place, number = len(self.items), order(call_id)
        while place:
            before = self.items[place - 1].message
            if not isinstance(before, ToolMessage) or order(before.call_id) <= number:
                break
            place -= 1
        return place

    def _withdraw(self, number: int) -> None:
        """Show what was shown before: read again what is left of the log up to this entry."""
        left = list(in_conversation(self._trajectory.until(number + 1)))
        self._now = _State()
        self.items, self.size, self.pinned = [], 0, set()
        for entry in reversed(left):
            self._take(entry)

    def _compact(self, data: Mapping[str, Any]) -> None:
        self._now.compacted = True
        self._drop(data.get("dropped", ()))
        items = {item.entry.id: item for item in self.items}
        for number, head, tail, note in data.get("cut", ()):
            if (item := items.get(number)) is not None:
                item.cut = True
                self._write(item, cut_text(content_of(item.entry), head, tail, note))
        for number, text in data.get("stubs", ()):
            if (item := items.get(number)) is not None:
                item.stub = True
                self._write(item, text)
        if self._now.tasks:
            task = self._now.tasks[-1]
            shown = dict(data.get("documents", ()))
            task.documents = [(entry, shown.get(entry.id, size)) for entry, size in task.documents]
            if "record" in data:
                task.record = data["record"]
                task.pins, self._now.pins_ahead = list(self._now.pins), []
            _show(task)
        self.size = sum(item.size for item in self.items)

    def _drop(self, ranges: Sequence[Sequence[int]]) -> None:
        gone = {number for first, last in ranges for number in range(first, last + 1)}
        self.items = [item for item in self.items if item.entry.id not in gone]
        tasks = self._now.tasks
        self._now.tasks = [task for task in tasks if task.item.entry.id not in gone]

    def _write(self, item: Item, text: str) -> None:
        task = next((task for task in self._now.tasks if task.item is item), None)
        if task is not None:
            task.text = text
            _show(task)
        elif isinstance(item.message, UserMessage | ToolMessage | SystemMessage):
            item.message = dataclasses.replace(item.message, content=text)
            item.size = text_size(item.message)

    def groups(self) -> Iterator[list[Item]]:
        """The items in groups that belong together: a message of the model with what answers it."""
        self.update()
        group: list[Item] = []
        for item in self.items:
            if group and not isinstance(item.message, ToolMessage) and item.entry.kind != "note":
                yield group
                group = []
            group.append(item)
        if group:
            yield group


def cut_text(text: str, head: int, tail: int, note: str) -> str:
    """Both ends of a text with a note between them."""
    return f"{text[:head]}\n{note}\n{text[len(text) - tail :]}"


def content_of(entry: Entry) -> str:
    """The text of an entry's message, whole."""
    return entry.message.content if entry.message is not None else ""


def _show(task: Task) -> None:
    """Write the task's message: the task, and in front of it what belongs there."""
    blocks = _blocks(task.documents, task.record, task.pins)
    task.item.message = UserMessage(blocks + task.text)
    task.item.size = text_size(task.item.message)


def _blocks(documents: Sequence[tuple[Entry, int]], record: str, pins: Sequence[str]) -> str:
    """What stands in front of a task."""
    blocks = [document_block(entry, shown) for entry, shown in documents]
    if record:
        blocks.append(f"<record>\n{RECORD_HEAD}\n{_inside('record', record)}\n</record>")
    if pins:
        lines = "\n".join(f"- {text}" for text in pins)
        blocks.append(f"<pinned>\n{_inside('pinned', lines)}\n</pinned>")
    return "".join(f"{block}\n\n" for block in blocks)


def _inside(name: str, text: str) -> str:
    """A text that cannot end the block that it stands in: tools and documents are not trusted."""
    return text.replace(f"</{name}", f"< /{name}")


def document_block(entry: Entry, shown: int) -> str:
    """A document, or the part of it that is shown, with what the model has to know of it."""
    text = entry.text
    name = str(entry.data.get("name", "")).replace('"', "'").replace("\n", " ")
    head = f'<document handle="{entry.handle}" name="{name}"'
    if shown >= len(text):
        return f"{head}>\n{_inside('document', text)}\n</document>"
    if not shown:
        return (
            f'{head} shown="nothing of {len(text):,} characters; recall(query) searches it, '
            f'open({entry.handle}) reads it" />'
        )
    part = _inside("document", text[:shown])
    return (
        f'{head} shown="the first {shown:,} of {len(text):,} characters; recall(query) searches '
        f'all of it, open({entry.handle}, {shown}) reads on">\n{part}\n</document>'
    )


def text_size(message: Message) -> int:
    """UTF-8 bytes of what the model reads of a message."""
    if not isinstance(message, AssistantMessage):
        return bytes_of(message.content)
    if message.raw is not None:
        return bytes_of(message.raw)
    calls = [json.dumps(c.arguments, ensure_ascii=False) + c.name for c in message.calls]
    return sum(bytes_of(text) for text in (message.content, message.reasoning or "", *calls))


def within(text: str, room: int, *, end: bool = False) -> str:
    """The beginning of a text, or its end, in so many UTF-8 bytes."""
    room = max(room, 0)
    text = text[max(len(text) - room, 0) :] if end else text[:room]
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= room:
        return text
    place = len(data) - room if end else room
    while place < len(data) and data[place] & 0xC0 == 0x80:  # inside a character
        place += 1 if end else -1
    return (data[place:] if end else data[:place]).decode("utf-8", "surrogatepass")


def bytes_of(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
