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
from .memory.passages import passage
from .memory.searchable import searchable
from .memory.window import bytes_of, within
from .tools import Tool

RECALL, OPEN, PIN = "recall", "open", "pin"
NAMES = (RECALL, OPEN, PIN)
_DESCRIPTIONS = {
    RECALL: "Search everything that was said and done before, and the documents. Results have "
    "handles for open.",
    OPEN: "Read a stored text by its handle, from an offset in characters on.",
    PIN: "Keep a short text always in view.",
}
_HITS = 5
_LEAST = 200  # characters
_AROUND = 120  # characters about a hit
_AS_GOOD = 0.6  # share of the best score from which on a further place of an entry is shown

Search = Callable[[str, int], Awaitable[list[Hit]]]


def memory_tools(
    trajectory: Trajectory,
    search: Search,
    *,
    bytes_shown: Callable[[], int],
    room_for_pins: Callable[[], int],
) -> list[Tool[..., Any]]:
    """The three tools of one run.

    Args:
        trajectory: What is stored.
        search: Finds places in it.
        bytes_shown: How long one result may be.
        room_for_pins: How long a further pinned text may be: nothing takes it out of the prompt.
    """

    async def recall(query: str) -> str:
        hits = [hit for hit in await search(query, 10 * _HITS) if hit.entry < len(trajectory)]
        if not hits:
            return f"Nothing stored matches {query!r}. Try other words."
        return _list_hits(trajectory, query, hits, bytes_shown())

    async def open_(handle: str, offset: int = 0) -> str:
        return read_from(_find(trajectory, handle), max(offset, 0), bytes_shown())

    async def pin(text: str) -> str:
        check_room(text, room_for_pins())
        trajectory.append("pin", step=trajectory.last_step, text=text, called=True)
        return "Pinned."

    return [_tool(recall, RECALL), _tool(open_, OPEN), _tool(pin, PIN)]


def _tool(work: Callable[..., Awaitable[str]], name: str) -> Tool[..., Any]:
    return Tool.from_function(work, name=name, description=_DESCRIPTIONS[name], idempotent=True)


def check_room(text: str, room: int) -> None:
    """Refuse to pin what is longer than there is room for.

    Raises:
        ToolError: It is.
    """
    if bytes_of(text) > room:
        raise ToolError(
            f"there is room for {max(room, 0):,} bytes of pinned text: pin something shorter, "
            "recall finds the rest"
        )


def _best(hits: list[Hit], most: int) -> list[Hit]:
    """The best place of each entry, and if there are few, further ones that are nearly as good."""
    best: dict[int, Hit] = {}
    for hit in hits:
        best.setdefault(hit.entry, hit)
    firsts = list(best.values())
    further = [hit for hit in hits if hit not in firsts and hit.score >= _AS_GOOD * hits[0].score]
    return (firsts + further)[:most]


def _list_hits(trajectory: Trajectory, query: str, hits: list[Hit], room: int) -> str:
    shown = _best(hits, min(max(room // (_LEAST + _AROUND), 3), _HITS))
    each = max(room // len(shown) - _AROUND, _LEAST)
    return "\n\n".join(_show_hit(trajectory[hit.entry], hit, query, each) for hit in shown)


def _show_hit(entry: Entry, hit: Hit, query: str, room: int) -> str:
    begin, text = passage(hit.text, query, room)
    # The first part of an observation begins with its call, which offsets do not count.
    lead = searchable(entry).lead if not hit.offset else 0
    offset = hit.offset + max(begin - lead, 0)
    return f"[{entry.handle}, offset {offset}] {_title(entry)}\n{text}"


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
    if digits.isdecimal() and len(digits) < 12 and int(digits) < len(trajectory):
        entry = trajectory[int(digits)]
        if entry.message is not None or (entry.kind == "pin" and "text" in entry.data):
            return entry
    raise ToolError(f"there is no {handle!r}: handles look like e12 and are what recall shows")
