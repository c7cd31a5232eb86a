"""A conversation as a file: Markdown for people, JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from pathlib import Path

from ...errors import ConfigurationError
from ...memory import Entry, Trajectory
from ...memory.trajectory import conversation
from ...messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage


def save(trajectory: Trajectory, name: str, *, overwrite: bool) -> Path:
    """Write a conversation to a file, whole or not at all. Returns its path.

    Args:
        trajectory: The conversation.
        name: The file, whose suffix says the format: ``.md`` or ``.jsonl``.
        overwrite: Whether it may replace a file.

    Raises:
        ConfigurationError: Another suffix, the file is there, or it cannot be written.
    """
    if not name or "\0" in name:
        raise ConfigurationError("say where to save it: /save FILE.md or /save FILE.jsonl")
    file = Path(name).expanduser()
    match file.suffix.lower():
        case ".md" | ".markdown":
            text = to_markdown(trajectory)
        case ".jsonl":
            text = trajectory.to_jsonl()
        case _:
            raise ConfigurationError(f"{name}: name a file that ends with .md or .jsonl")
    try:
        _write(file, text, overwrite=overwrite)
    except FileExistsError:
        raise ConfigurationError(
            f"{name} is there already; to overwrite it: /save! {name}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from None
    return file


def _write(file: Path, text: str, *, overwrite: bool) -> None:
    """Write beside the file, and put it into its place in one step."""
    if file.exists() and not overwrite:
        raise FileExistsError
    beside = file.with_name(f".{uuid.uuid4().hex}{file.suffix}")
    try:
        with beside.open("x", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(text)
        if overwrite:
            beside.replace(file)
        else:
            _link(beside, file)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _link(beside: Path, file: Path) -> None:
    """Give it its name unless somebody has that by now, where the file system can tell."""
    try:
        os.link(beside, file)
    except FileExistsError:
        raise
    except OSError:
        beside.replace(file)  # no hard links here


def to_markdown(trajectory: Trajectory) -> str:
    """A conversation to read: what was said as it is, calls and results in fences."""
    parts = [_part(entry, message) for entry, message in conversation(trajectory)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _part(entry: Entry, message: Message) -> str:
    match message:
        case SystemMessage(content):
            return f"## System\n\n{content}"
        case UserMessage(content):
            if entry.kind == "task":  # without the hint on planning that the model reads behind it
                return f"## User\n\n{entry.data.get('task', content)}"
            title = f"Document {entry.data.get('name', '')}" if entry.kind == "document" else "Note"
            return f"### {title.strip()}\n\n{_fenced(content)}"
        case AssistantMessage(content, _, calls, _):
            called = [
                _fenced(
                    json.dumps(
                        {"name": c.name, "arguments": c.arguments}, indent=2, ensure_ascii=False
                    ),
                    "json",
                )
                for c in calls
            ]
            return "\n\n".join(["## Assistant", *filter(None, [content.strip()]), *called])
        case ToolMessage(_, name, content, is_error):
            return f"### {'Error' if is_error else 'Result'} of {name}\n\n{_fenced(content)}"


def _fenced(text: str, language: str = "") -> str:
    """A block that the text cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
