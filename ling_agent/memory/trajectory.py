"""`Trajectory`: the append-only log of a run.

An entry is written once and never changed; its id is its place. Messages are entries, so a prompt
is a view of the log: nothing is stored twice, and a checkpoint or a fork is a number of entries.

Observations are written when they come, in whatever order that is; the view puts those of one
message into the order of its calls, because models match them by order alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError
from ..hermes import CallFailed
from ..messages import AssistantMessage, Message, ToolCall, ToolMessage

if TYPE_CHECKING:
    from .search import Hit, SearchIndex

EntryKind = Literal[
    "instructions",
    "document",
    "task",
    "plan",
    "note",
    "assistant",
    "call",
    "observation",
    "pin",
    "compaction",
    "limit",
    "approval",
    "error",
    "usage",
    "withdrawal",
]
"""What an entry is.

``assistant`` is one message of the model: its text, its reasoning and its calls, which are one
string of bytes to the model. ``call`` says that a call has begun to run; one that began while its
message was written stands in front of it, with its name and arguments. ``compaction`` changes what
later prompts show, ``pin`` keeps something in them. ``withdrawal`` takes the entries since
``data["since"]`` out of the conversation: of a task that could not even begin.
"""

_OUR_ID = re.compile(r"call_\d+_(\d+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        id: Place in the log, from 0.
        parent: Id of the entry before it; None for the first.
        step: Model request that it belongs to, from 1; 0 before the first.
        kind: What it is.
        message: What the model sees of it; None for entries that it does not see.
        data: JSON data that belongs to it, for example a plan's steps.
        tokens: Size of its message: of the model's own as it counted them, of others about, by
            the bytes a token of the conversation so far. None without a message.
        time: Seconds since the epoch. It is never part of a prompt, and nothing is ordered by it.
    """

    id: int
    parent: int | None
    step: int
    kind: EntryKind
    message: Message | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tokens: int | None = None
    time: float = 0.0

    @property
    def text(self) -> str:
        """What can be read of it: the message's text, or the data as JSON."""
        match self.message:
            case None:
                return json.dumps(self.data, ensure_ascii=False) if self.data else ""
            case AssistantMessage(content, reasoning, calls, _):
                called = [f"{c.name}({json.dumps(c.arguments, ensure_ascii=False)})" for c in calls]
                return "\n".join(part for part in (reasoning, content, *called) if part)
            case message:
                return message.content

    @property
    def handle(self) -> str:
        """What the model calls it: ``e`` and its id."""
        return f"e{self.id}"

    @property
    def is_live_usage(self) -> bool:
        """Whether it is the cost of a request with the live prompt, not of a record or aside."""
        return self.kind == "usage" and not (self.data.get("digest") or self.data.get("aside"))


class Trajectory:
    """Append-only log of entries; iterate over it to read them."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Begin with entries of another log.

        Raises:
            ConfigurationError: They are not numbered from 0 on.
        """
        self._entries: list[Entry] = []
        self._tasks: list[int] = []  # ids of the tasks that are part of the conversation
        self._usage: Entry | None = None
        self._last: Entry | None = None  # the newest with a message
        self._last_step = 0
        self._index: SearchIndex | None = None
        for entry in entries:
            self.extend(entry)

    def append(
        self,
        kind: EntryKind,
        message: Message | None = None,
        *,
        step: int = 0,
        tokens: int | None = None,
        **data: Any,
    ) -> Entry:
        """Write an entry at the end and return it; ``data`` must be JSON."""
        number = len(self._entries)
        parent = number - 1 if number else None
        entry = Entry(number, parent, step, kind, message, data, tokens, time.time())
        self.extend(entry)
        return entry

    def extend(self, entry: Entry) -> None:
        """Take over an entry of another log, which is the next of this one.

        Raises:
            ConfigurationError: It is not the next.
        """
        if entry.id != len(self._entries):
            raise ConfigurationError(f"entry {len(self._entries)} is missing")
        self._entries.append(entry)
        self._last_step = max(self._last_step, entry.step)
        if entry.message is not None:
            self._last = entry
        match entry.kind:
            case "task":
                self._tasks.append(entry.id)
            case "usage" if entry.is_live_usage:
                self._usage = entry
            case "withdrawal":
                self._withdraw(entry.data["since"])
            case _:
                pass

    def _withdraw(self, since: int) -> None:
        self._tasks = [task for task in self._tasks if task < since]
        self._last = self._usage = None
        for entry in in_conversation(self._entries):
            if self._usage is None and entry.is_live_usage:
                self._usage = entry
            if self._last is None and entry.message is not None:
                self._last = entry
            if self._usage is not None and self._last is not None:
                break

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def __reversed__(self) -> Iterator[Entry]:
        return reversed(self._entries)

    def since(self, length: int) -> list[Entry]:
        """The entries behind the first ``length``."""
        return self._entries[length:]

    def until(self, length: int) -> list[Entry]:
        """The first ``length`` entries."""
        return self._entries[:length]

    def fork(self, length: int | None = None) -> Trajectory:
        """A trajectory that begins with these entries and goes on for itself.

        Args:
            length: With how many of them; see `checkpoint`. All by default.
        """
        return Trajectory(self._entries[:length])

    def checkpoint(self, step: int) -> int:
        """Where a step ends, as a number of entries: that is all that a checkpoint is.

        Args:
            step: Number of the model request; 0 for the beginning, before the first.

        Raises:
            ConfigurationError: There is no such step.
        """
        if not 0 <= step <= self.last_step:
            raise ConfigurationError(f"there is no step {step}: the newest is {self.last_step}")
        if step == 0:
            return next((e.id for e in self._entries if e.step), len(self._entries))
        return max(e.id for e in self._entries if 0 < e.step <= step) + 1

    @property
    def last_step(self) -> int:
        """The newest model request's number; 0 before the first."""
        return self._last_step

    @property
    def last_message(self) -> Message | None:
        """The newest message of the conversation; None when there is none.

        While calls are answered at the same time it is the observation that came last.
        """
        return self._last.message if self._last is not None else None

    def messages(self) -> list[Message]:
        """The conversation, oldest first: what the model sees when everything fits."""
        return [message for _, message in conversation(self._entries)]

    @property
    def task(self) -> Entry | None:
        """The newest task; None before the first."""
        return self._entries[self._tasks[-1]] if self._tasks else None

    def newest_task(self) -> list[Entry]:
        """The entries since the newest task, which is the first of them, but for withdrawn ones."""
        first = self._tasks[-1] if self._tasks else 0
        entries = takewhile(lambda entry: entry.id >= first, in_conversation(self._entries))
        return list(entries)[::-1]

    @property
    def tokens(self) -> int:
        """Tokens of the conversation as far as they are known: the newest prompt and its answer."""
        if self._usage is None:
            return 0
        return int(self._usage.data["prompt_tokens"]) + int(self._usage.data["completion_tokens"])

    def pin(self, what: str | Entry, *, step: int | None = None) -> Entry:
        """Keep something in the prompt, whatever is compacted.

        Args:
            what: A text, or an entry whose step is to stay as it is.
            step: Where it belongs; the newest by default.
        """
        number = self.last_step if step is None else step
        if isinstance(what, Entry):
            return self.append("pin", step=number, entry=what.id)
        return self.append("pin", step=number, text=what)

    def hits(self, query: str, *, limit: int = 10) -> list[Hit]:
        """Places in the entries' texts that match the query, the best first.

        BM25, with English words by their stem and Chinese, Japanese and Korean by pairs of
        characters.
        """
        if self._index is None:
            from .search import SearchIndex

            self._index = SearchIndex()
        self._index.add("", self.since(self._index.length("")))
        return self._index.search("", query, limit=limit)

    def search(self, query: str, *, limit: int = 10) -> list[Entry]:
        """Entries that match the query, the best first; see `hits`."""
        found = dict.fromkeys(hit.entry for hit in self.hits(query, limit=4 * limit))
        return [self._entries[number] for number in found][:limit]

    def to_jsonl(self) -> str:
        """The whole log as JSON lines, a format line first; lossless, and can be encoded."""
        from .encoding import to_jsonl

        return to_jsonl(self)

    @classmethod
    def from_jsonl(cls, text: str) -> Trajectory:
        """Read what `to_jsonl` wrote.

        Raises:
            StoreError: Not a trajectory, a newer version, or a damaged line.
        """
        from .encoding import from_jsonl

        return cls(from_jsonl(text))

    def to_openai(self) -> list[dict[str, Any]]:
        """The conversation as messages of OpenAI's chat API."""
        from .exchange import to_openai_messages

        return to_openai_messages(self.messages())

    @classmethod
    def from_openai(cls, messages: Iterable[Mapping[str, Any]]) -> Trajectory:
        """A trajectory of messages of OpenAI's chat API, to go on from.

        Raises:
            ConfigurationError: A message that is none; the error says which and why.
        """
        from .exchange import from_openai_messages

        return from_openai_messages(cls(), messages)


def conversation(entries: Iterable[Entry]) -> list[tuple[Entry, Message]]:
    """The messages of entries with the entries, observations in the order of their calls."""
    shown: list[tuple[Entry, Message]] = []
    group: list[tuple[Entry, Message]] = []  # observations, behind `shown`
    order: Callable[[str], int] = call_order(None)
    every = list(entries)
    for entry in reversed(list(in_conversation(every))):
        stored: int = entry.data.get("same", entry.id)
        message = every[stored].message
        if message is None:
            continue
        if isinstance(message, ToolMessage):
            group.append((entry, message))
            continue
        shown += in_call_order(group, order)
        group = []
        shown.append((entry, message))
        if isinstance(message, AssistantMessage):
            order = call_order(message)
    return shown + in_call_order(group, order)


def in_call_order(
    group: list[tuple[Entry, Message]], order: Callable[[str], int]
) -> list[tuple[Entry, Message]]:
    """The observations of one message, sorted."""
    if len(group) < 2:
        return group
    return sorted(
        group, key=lambda pair: order(pair[1].call_id) if isinstance(pair[1], ToolMessage) else 0
    )


def call_order(message: AssistantMessage | None) -> Callable[[str], int]:
    """Sorts call ids of a message: ours by the number at their end, others by the calls' order."""
    places = {call.id: place for place, call in enumerate(message.calls if message else ())}

    def order(call_id: str) -> int:
        if match := _OUR_ID.fullmatch(call_id):
            return int(match[1])
        return places.get(call_id, len(places))

    return order


Block = ToolCall | CallFailed


def unanswered(trajectory: Trajectory) -> dict[str, Block]:
    """Calls of the newest assistant message, readable or not, that no observation has answered.

    Returns:
        The calls by id, in the order in which they were written.
    """
    answered: set[str] = set()
    for entry in in_conversation(trajectory):
        if isinstance(entry.message, ToolMessage):
            answered.add(entry.message.call_id)
        elif isinstance(entry.message, AssistantMessage):
            failures = [CallFailed(**failure) for failure in entry.data.get("failures", ())]
            blocks: dict[str, Block] = {f"call_{entry.step}_{f.index}": f for f in failures}
            blocks.update((call.id, call) for call in entry.message.calls)
            in_order = sorted(blocks, key=call_order(entry.message))
            return {id_: blocks[id_] for id_ in in_order if id_ not in answered}
    return {}


def started(trajectory: Trajectory) -> set[str]:
    """Ids of calls of the newest assistant message that have begun to run."""
    begun: dict[str, bool] = {}
    message: Entry | None = None
    for entry in in_conversation(trajectory):
        if message is not None and (entry.step != message.step or entry.message is not None):
            break
        if entry.kind == "call":
            begun.setdefault(entry.data["call_id"], entry.data.get("begun", True))
        elif isinstance(entry.message, AssistantMessage):
            message = entry  # calls begin while it is written, so some stand in front of it
    return {call_id for call_id, yes in begun.items() if yes}


def in_conversation(entries: Sequence[Entry] | Trajectory) -> Iterator[Entry]:
    """Entries, from the first on, without withdrawn ones; the newest first."""
    end = len(entries)
    for entry in reversed(entries):
        if entry.id >= end:
            continue
        if entry.kind == "withdrawal":
            end = entry.data["since"]
            continue
        yield entry
