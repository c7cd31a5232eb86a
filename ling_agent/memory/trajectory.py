"""`Trajectory`: the append-only log of a run.

An entry is written once and never changed; its id is its place. Messages are entries, so a prompt
is a view of the log: `Trajectory.messages` reads it, nothing is stored twice.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import StoreError
from ..hermes import CallFailed
from ..messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage

EntryKind = Literal[
    "instructions",
    "task",
    "plan",
    "note",
    "assistant",
    "observation",
    "limit",
    "approval",
    "error",
    "usage",
]

_FORMAT, _VERSION = "ling_agent.trajectory", 1
_MESSAGE_TYPES = {
    "system": SystemMessage,
    "user": UserMessage,
    "assistant": AssistantMessage,
    "tool": ToolMessage,
}


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
        tokens: Size in tokens, where it is known.
        time: Seconds since the epoch. It is never part of a prompt.
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
        """What can be searched: the message's text, or the data as JSON."""
        match self.message:
            case None:
                return json.dumps(self.data, ensure_ascii=False) if self.data else ""
            case AssistantMessage(content, reasoning, calls, _):
                called = [f"{c.name}({json.dumps(c.arguments, ensure_ascii=False)})" for c in calls]
                return "\n".join(part for part in (reasoning, content, *called) if part)
            case message:
                return message.content


class Trajectory:
    """Append-only log of entries; iterate over it to read them."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

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
        self._entries.append(entry)
        return entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def fork(self) -> Trajectory:
        """A trajectory that begins with these entries and goes on for itself."""
        fork = Trajectory()
        fork._entries = self._entries.copy()
        return fork

    @property
    def last_step(self) -> int:
        """The newest model request's number; 0 before the first."""
        return max((entry.step for entry in self._entries), default=0)

    def messages(self) -> list[Message]:
        """The conversation, oldest first: what the model sees when everything fits."""
        return [entry.message for entry in self._entries if entry.message is not None]

    def newest_task(self) -> list[Entry]:
        """The entries since the newest task, which is the first of them."""
        for index in range(len(self._entries) - 1, -1, -1):
            if self._entries[index].kind == "task":
                return self._entries[index:]
        return list(self._entries)

    @property
    def tokens(self) -> int:
        """Tokens of the conversation as far as they are known: the newest prompt and its answer."""
        usage = self._newest_usage()
        if usage is None:
            return 0
        return int(usage.data["prompt_tokens"]) + int(usage.data["completion_tokens"])

    def since_usage(self) -> list[Entry]:
        """The entries that `tokens` does not count: those after the newest answer."""
        usage = self._newest_usage()
        return self._entries[0 if usage is None else usage.id + 1 :]

    def _newest_usage(self) -> Entry | None:
        return next((e for e in reversed(self._entries) if e.kind == "usage"), None)

    def search(self, query: str, *, limit: int = 10) -> list[Entry]:
        """Entries that hold words of the query, those with the most of them first."""
        words = set(re.findall(r"\w+", query.lower()))
        scored = [
            (len(words & set(re.findall(r"\w+", entry.text.lower()))), entry)
            for entry in self._entries
        ]
        hits = sorted((s for s in scored if s[0]), key=lambda s: (-s[0], s[1].id))
        return [entry for _, entry in hits[:limit]]

    def to_jsonl(self) -> str:
        """The whole log as JSON lines, a format line first; lossless, and can be encoded."""
        head = json.dumps({"format": _FORMAT, "version": _VERSION})
        lines = [_to_line(e) for e in self._entries]
        return "\n".join([head, *lines]) + "\n"

    @classmethod
    def from_jsonl(cls, text: str) -> Trajectory:
        """Read what `to_jsonl` wrote.

        Raises:
            StoreError: Not a trajectory, a newer version, or a damaged line.
        """
        # Not splitlines: JSON strings may hold U+2028 and other characters that it splits at.
        lines = text.rstrip("\n").split("\n")
        _check_head(lines[0])
        trajectory = cls()
        for number, line in enumerate(lines[1:], start=2):
            try:
                entry = _entry_from_json(json.loads(line))
                if entry.id != number - 2:
                    raise ValueError(f"entry {number - 2} is missing")
                trajectory._entries.append(entry)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise StoreError(f"trajectory line {number} is damaged: {error}") from None
        return trajectory


def _check_head(line: str) -> None:
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:  # pyright: ignore[reportUnknownMemberType]
        raise StoreError("not a trajectory: the first line does not name the format")
    if head.get("version") != _VERSION:  # pyright: ignore[reportUnknownMemberType]
        raise StoreError("this trajectory is of a newer version: upgrade ling-agent to read it")


def _to_line(entry: Entry) -> str:
    data = _entry_to_json(entry)
    line = json.dumps(data, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no file takes: escaped
        return json.dumps(data)
    return line


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": entry.id,
        "parent": entry.parent,
        "step": entry.step,
        "kind": entry.kind,
        "data": entry.data,
        "tokens": entry.tokens,
        "time": entry.time,
    }
    if entry.message is not None:
        role = next(r for r, kind in _MESSAGE_TYPES.items() if type(entry.message) is kind)
        data["message"] = {"role": role, **dataclasses.asdict(entry.message)}
    return data


def _entry_from_json(data: dict[str, Any]) -> Entry:
    message: Message | None = None
    if (fields := data.pop("message", None)) is not None:
        kind = _MESSAGE_TYPES[fields.pop("role")]
        if kind is AssistantMessage:
            fields["calls"] = tuple(
                ToolCall(c["id"], c["name"], c["arguments"], tuple(c["repairs"]))
                for c in fields["calls"]
            )
        message = kind(**fields)
    entry = Entry(message=message, **data)
    if entry.kind not in get_args(EntryKind):
        raise ValueError(f"no kind of entry: {entry.kind!r}")
    return entry


Block = ToolCall | CallFailed


def unanswered(trajectory: Trajectory) -> dict[str, Block]:
    """Calls of the newest assistant message, readable or not, that no observation has answered.

    Returns:
        The calls by id, in the order in which they were written.
    """
    answered: set[str] = set()
    for entry in reversed(list(trajectory)):
        if isinstance(entry.message, ToolMessage):
            answered.add(entry.message.call_id)
        elif isinstance(entry.message, AssistantMessage):
            failures = [CallFailed(**failure) for failure in entry.data.get("failures", ())]
            blocks: dict[str, Block] = {f"call_{entry.step}_{f.index}": f for f in failures}
            blocks.update((call.id, call) for call in entry.message.calls)
            in_order = sorted(blocks, key=lambda id_: int(id_.rpartition("_")[2]))
            return {id_: blocks[id_] for id_ in in_order if id_ not in answered}
    return {}
