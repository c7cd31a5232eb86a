"""The tools with which a model reaches what left its window: ``recall``, ``open`` and ``pin``.

They are offered from the first compaction on, or from the beginning when documents do not fit. What
they return is a copy of what is stored, so it is not indexed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .errors import ToolError
from .memory import Entry, Hit, Trajectory
from .memory.compaction import describe_call, excerpt
from .memory.window import within
from .tools import Tool

RECALL, OPEN, PIN = "recall", "open", "pin"
NAMES = (RECALL, OPEN, PIN)
_HITS = 5
_LEAST = 200  # characters

Search = Callable[[str, int], Awaitable[list[Hit]]]


def memory_tools(
    trajectory: Trajectory, search: Search, *, bytes_shown: Callable[[], int]
) -> list[Tool[..., Any]]:
    """The three tools of one run.

    Args:
        trajectory: What is stored.
        search: Finds places in it.
        bytes_shown: How long one result may be.
    """

    async def recall(query: str) -> str:
        hits = [hit for hit in await search(query, 10 * _HITS) if hit.entry < len(trajectory)]
        if not hits:
            return f"Nothing stored matches {query!r}. Try other words."
        return _list_hits(trajectory, _best(hits), bytes_shown())

    async def open_(handle: str, offset: int = 0) -> str:
        return read_from(_find(trajectory, handle), max(offset, 0), bytes_shown())

    async def pin(text: str) -> str:
        trajectory.append("pin", step=trajectory.last_step, text=text, called=True)
        return "Pinned."

    return [
        Tool.from_function(
            recall,
            name=RECALL,
            description="Search everything that was said and done before, and the documents. "
            "Results have handles for open.",
            idempotent=True,
        ),
        Tool.from_function(
            open_,
            name=OPEN,
            description="Read a stored text by its handle, from an offset in characters on.",
            idempotent=True,
        ),
        Tool.from_function(
            pin,
            name=PIN,
            description="Keep a short text always in view.",
            idempotent=True,
        ),
    ]


def _best(hits: list[Hit]) -> list[Hit]:
    """The best place of each entry."""
    best: dict[int, Hit] = {}
    for hit in hits:
        best.setdefault(hit.entry, hit)
    return list(best.values())[:_HITS]


def _list_hits(trajectory: Trajectory, hits: list[Hit], room: int) -> str:
    each = max(room // len(hits) - 120, _LEAST)
    return "\n\n".join(
        f"[{trajectory[hit.entry].handle}, offset {hit.offset}] {_title(trajectory[hit.entry])}\n"
        f"{within(hit.text, each)}"
        for hit in hits
    )


def _title(entry: Entry) -> str:
    what = entry.data.get("name") or describe_call(entry)
    return f"{excerpt(str(what), 100)}, step {entry.step}" if entry.step else str(what)


def read_from(entry: Entry, offset: int, room: int) -> str:
    """So many bytes of a stored text, with where they are and how to read on."""
    text = str(entry.data["text"]) if entry.kind == "pin" else entry.text
    if offset and offset >= len(text):
        raise ToolError(f"{entry.handle} ends at {len(text):,}: open it at a smaller offset")
    shown = within(text[offset : offset + room], max(room - 160, _LEAST))
    end = offset + len(shown)
    head = f"{entry.handle}, characters {offset:,} to {end:,} of {len(text):,}:"
    more = f"\n[open({entry.handle!r}, {end}) reads on]" if end < len(text) else ""
    return f"{head}\n{shown}{more}"


def _find(trajectory: Trajectory, handle: str) -> Entry:
    digits = handle.strip().strip("[]").removeprefix("e")
    if digits.isdecimal() and int(digits) < len(trajectory):
        entry = trajectory[int(digits)]
        if entry.message is not None or (entry.kind == "pin" and "text" in entry.data):
            return entry
    raise ToolError(f"there is no {handle!r}: handles look like e12 and are what recall shows")
