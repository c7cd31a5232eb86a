"""`Window`: what the model sees of a trajectory.

A fold over the log and nothing else: the same entries give the same messages, byte for byte, in
whatever process. Each entry adds its message at the end, so each request extends the one before it.
Only a ``compaction`` entry changes what was shown already, and holds everything that it changes::

    dropped    [first, last] ids of entries that are shown no more
    cut        [id, head, tail, note]: only so many characters of a message, the note between them
    stubs      [id, text]: this text in place of an observation
    documents  [id, characters]: only so much of a document
    record     what was done in the dropped steps, in place of an earlier record

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
from .trajectory import Entry, Trajectory, call_order

RECORD_HEAD = "What was done so far, for reference. It describes the past and asks for nothing."


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
        self._order: Callable[[str], int] = call_order(None)
        self._tasks: list[Task] = []
        self._ahead: list[tuple[Entry, int]] = []  # documents whose task is still to come
        self._pins: list[str] = []
        self._pins_ahead: list[str] = []
        self._compacted = False
        self.items: list[Item] = []
        self.size = 0
        self.pinned: set[int] = set()

    def messages(self) -> tuple[Message, ...]:
        """The conversation for the next request."""
        self.update()
        return tuple(item.message for item in self.items)

    @property
    def partial(self) -> bool:
        """Whether something is stored that is not shown: then the model is given recall."""
        self.update()
        return self._compacted or any(
            shown < len(entry.text) for task in self._tasks for entry, shown in task.documents
        )

    @property
    def task(self) -> Task | None:
        """The newest task."""
        self.update()
        return self._tasks[-1] if self._tasks else None

    def update(self) -> None:
        """Follow the log."""
        new = self._trajectory.since(self._read)
        self._read += len(new)
        for entry in new:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "document":
                self._ahead.append((entry, entry.data.get("shown", len(entry.text))))
            case "pin":
                if "text" in entry.data:
                    self._pins.append(entry.data["text"])
                    self._pins_ahead.append(entry.data["text"])
                else:
                    self.pinned.add(entry.data["entry"])
            case "compaction":
                self._compact(entry.data)
            case "withdrawal":
                self._withdraw(entry.data["since"])
            case "task":
                self._begin_task(entry)
            case _:
                if entry.message is not None:
                    self._add(Item(entry, entry.message, text_size(entry.message)))

    def _begin_task(self, entry: Entry) -> None:
        text = content_of(entry)
        task = Task(Item(entry, UserMessage(text), 0), text, self._ahead, pins=self._pins_ahead)
        self._ahead, self._pins_ahead = [], []
        _show(task)
        self._tasks.append(task)
        self._add(task.item)

    def _add(self, item: Item) -> None:
        self.size += item.size
        message = item.message
        if isinstance(message, ToolMessage):
            self.items.insert(self._place(message.call_id), item)
            return
        self.items.append(item)
        if isinstance(message, AssistantMessage):
            self._order = call_order(message)
            self._pins_ahead = []  # told by a call, or to be told by the next record

    def _place(self, call_id: str) -> int:
        """Where an observation belongs among those of its message."""
        place, number = len(self.items), self._order(call_id)
        while place:
            before = self.items[place - 1].message
            if not isinstance(before, ToolMessage) or self._order(before.call_id) <= number:
                break
            place -= 1
        return place

    def _withdraw(self, since: int) -> None:
        self.items = [item for item in self.items if item.entry.id < since]
        self._tasks = [task for task in self._tasks if task.item.entry.id < since]
        self._ahead, self._pins_ahead = [], []
        self.size = sum(item.size for item in self.items)

    def _compact(self, data: Mapping[str, Any]) -> None:
        self._compacted = True
        self._drop(data.get("dropped", ()))
        for number, head, tail, note in data.get("cut", ()):
            if (item := self._find(number)) is not None:
                item.cut = True
                self._write(item, cut_text(content_of(item.entry), head, tail, note))
        for number, text in data.get("stubs", ()):
            if (item := self._find(number)) is not None:
                item.stub = True
                self._write(item, text)
        if self._tasks:
            task = self._tasks[-1]
            shown = dict(data.get("documents", ()))
            task.documents = [(entry, shown.get(entry.id, size)) for entry, size in task.documents]
            task.record = data.get("record", task.record)
            task.pins = list(self._pins)
            _show(task)
        self.size = sum(item.size for item in self.items)

    def _drop(self, ranges: Sequence[Sequence[int]]) -> None:
        def dropped(item: Item) -> bool:
            return any(first <= item.entry.id <= last for first, last in ranges)

        self.items = [item for item in self.items if not dropped(item)]
        self._tasks = [task for task in self._tasks if not dropped(task.item)]

    def _find(self, number: int) -> Item | None:
        return next((item for item in self.items if item.entry.id == number), None)

    def _write(self, item: Item, text: str) -> None:
        task = next((task for task in self._tasks if task.item is item), None)
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
    blocks = [document_block(entry, shown) for entry, shown in task.documents]
    if task.record:
        blocks.append(f"<record>\n{RECORD_HEAD}\n{task.record}\n</record>")
    if task.pins:
        pins = "\n".join(f"- {text}" for text in task.pins)
        blocks.append(f"<pinned>\n{pins}\n</pinned>")
    task.item.message = UserMessage("\n\n".join([*blocks, task.text]))
    task.item.size = text_size(task.item.message)


def document_block(entry: Entry, shown: int) -> str:
    """A document, or the part of it that is shown, with what the model has to know of it."""
    text, name = entry.text, entry.data.get("name", "")
    head = f'<document handle="{entry.handle}" name="{name}"'
    if shown >= len(text):
        return f"{head}>\n{text}\n</document>"
    if not shown:
        return (
            f'{head} shown="nothing of {len(text):,} characters; recall(query) searches it, '
            f'open({entry.handle}) reads it" />'
        )
    return (
        f'{head} shown="the first {shown:,} of {len(text):,} characters; recall(query) searches '
        f'all of it, open({entry.handle}, {shown}) reads on">\n{text[:shown]}\n</document>'
    )


def text_size(message: Message) -> int:
    """UTF-8 bytes of what the model reads of a message."""
    if not isinstance(message, AssistantMessage):
        return _bytes(message.content)
    if message.raw is not None:
        return _bytes(message.raw)
    calls = [json.dumps(c.arguments, ensure_ascii=False) + c.name for c in message.calls]
    return sum(_bytes(text) for text in (message.content, message.reasoning or "", *calls))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
