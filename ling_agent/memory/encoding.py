"""Entries as JSON, and a trajectory as JSON lines: lossless and versioned.

Version 2 added the kinds ``document``, ``call``, ``pin``, ``compaction`` and ``withdrawal``; a log
of version 1 is one of version 2 without them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any, get_args

from ..errors import StoreError
from ..messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from .trajectory import Entry, EntryKind

_FORMAT, VERSION = "ling_agent.trajectory", 2
_MESSAGE_TYPES = {
    "system": SystemMessage,
    "user": UserMessage,
    "assistant": AssistantMessage,
    "tool": ToolMessage,
}
_ROLES = {kind: role for role, kind in _MESSAGE_TYPES.items()}
_KINDS = frozenset(get_args(EntryKind))


def to_jsonl(entries: Iterable[Entry]) -> str:
    """Entries as JSON lines, a format line first; the text can be encoded."""
    head = json.dumps({"format": _FORMAT, "version": VERSION})
    lines = [_to_line(entry) for entry in entries]
    return "\n".join([head, *lines]) + "\n"


def from_jsonl(text: str) -> list[Entry]:
    """Read what `to_jsonl` wrote.

    Raises:
        StoreError: Not a trajectory, a newer version, or a damaged line.
    """
    # Not splitlines: JSON strings may hold U+2028 and other characters that it splits at.
    lines = text.rstrip("\n").split("\n")
    _check_head(lines[0])
    entries: list[Entry] = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            entry = entry_from_json(json.loads(line))
            if entry.id != number - 2:
                raise ValueError(f"entry {number - 2} is missing")
            entries.append(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"trajectory line {number} is damaged: {error}") from None
    return entries


def _check_head(line: str) -> None:
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:  # pyright: ignore[reportUnknownMemberType]
        raise StoreError("not a trajectory: the first line does not name the format")
    if head.get("version") not in range(1, VERSION + 1):  # pyright: ignore[reportUnknownMemberType]
        raise StoreError("this trajectory is of a newer version: upgrade ling-agent to read it")


def _to_line(entry: Entry) -> str:
    data = entry_to_json(entry)
    line = json.dumps(data, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no file takes: escaped
        return json.dumps(data)
    return line


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON."""
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
        data["message"] = message_to_json(entry.message)
    return data


def message_to_json(message: Message) -> dict[str, Any]:
    """A message as JSON, with its role."""
    fields = {name.name: getattr(message, name.name) for name in dataclasses.fields(message)}
    if isinstance(message, AssistantMessage):
        fields["calls"] = [
            {"id": c.id, "name": c.name, "arguments": c.arguments, "repairs": c.repairs}
            for c in message.calls
        ]
    return {"role": _ROLES[type(message)], **fields}


def entry_from_json(data: dict[str, Any]) -> Entry:
    """Read what `entry_to_json` made.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It did not.
    """
    message: Message | None = None
    if (fields := data.pop("message", None)) is not None:
        message = message_from_json(fields)
    entry = Entry(message=message, **data)
    if entry.kind not in _KINDS:
        raise ValueError(f"no kind of entry: {entry.kind!r}")
    return entry


def message_from_json(fields: dict[str, Any]) -> Message:
    """Read what `message_to_json` made; errors as for `entry_from_json`."""
    kind = _MESSAGE_TYPES[fields.pop("role")]
    if kind is AssistantMessage:
        fields["calls"] = tuple(
            ToolCall(c["id"], c["name"], c["arguments"], tuple(c["repairs"]))
            for c in fields["calls"]
        )
    return kind(**fields)
