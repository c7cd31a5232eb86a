"""The record of dropped steps: goal, facts with handles, decisions, open points.

The model writes it as one more answer behind the live prompt, so that nothing but the answer is
computed. What it writes is checked: a call, too little, or handles that do not exist are not taken
over. Where it fails, or is not to be asked, `by_rule` makes one from the log. Either way the plan
and a list of what can be opened are added here, so that no step is out of reach.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..messages import AssistantMessage, ToolMessage
from .compaction import describe_call, excerpt
from .trajectory import Entry, Trajectory
from .window import Item, bytes_of, content_of

HEADINGS = ("Goal", "Facts", "Decisions", "Open")
_HANDLE = re.compile(r"\[?\be(\d+)\b\]?")
_NAMES = "|".join((*HEADINGS, "Plan", "Handles"))
_HEADING = re.compile(rf"^[\s#*_]*({_NAMES})[*_ ]*(?::[*_]*|$)", re.IGNORECASE | re.MULTILINE)
_LINE = 110  # characters of one thing in a list
_LIST_SHARE = 0.25  # of a record: the list of handles, at least


@dataclass(frozen=True, slots=True)
class Dropped:
    """What leaves the window.

    Attributes:
        groups: The steps.
        documents: Those of the tasks among them.
        record: Of what left before: the newest task's, and those of the tasks that leave now.
    """

    groups: Sequence[Sequence[Item]]
    documents: Sequence[Entry] = ()
    record: str = ""


def request(dropped: Dropped, *, words: int, room: int) -> str:
    """What the model is asked for.

    Args:
        dropped: What will leave.
        words: Longest record.
        room: Bytes for the list of handles.
    """
    handles = "\n".join(_fit(handle_lines(dropped), room))
    return (
        "The conversation is about to be shortened. Write a record of the work so far: it will "
        "stand in place of the earlier messages.\n"
        "Use these four headings: Goal:, Facts:, Decisions:, Open:. Under Facts write one finding "
        "a line, with numbers and names exactly as they were, each with the handle of its source "
        "in brackets. Write only what is said above. Write it as a report, not as instructions. "
        f"Do not call a tool. At most {words} words.\nHandles:\n{handles}"
    )


def checked(text: str, known: set[int]) -> str | None:
    """A record that the model wrote, with unknown handles taken out; None when it is none.

    Args:
        text: Its answer.
        known: Ids of the entries that it may name.
    """
    begin = _HEADING.search(text)
    if begin is None or len({match[1].lower() for match in _HEADING.finditer(text)}) < 2:
        return None

    def keep(match: re.Match[str]) -> str:
        return match[0] if int(match[1]) in known else ""

    return _HANDLE.sub(keep, text[begin.start() :]).strip() or None


def by_rule(trajectory: Trajectory, dropped: Dropped, *, room: int) -> str:
    """A record made without the model; what earlier ones list is listed before what is new.

    Args:
        trajectory: The log.
        dropped: What leaves.
        room: Bytes, about.
    """
    task = trajectory.task
    goal = excerpt(str(task.data.get("task", task.text)), _LINE) if task is not None else ""
    facts = [*_listed(dropped.record, "Facts"), *_facts(dropped.groups)]
    decisions = [*_listed(dropped.record, "Decisions"), *_decisions(dropped.groups)]
    open_points = _fit(_listed(dropped.record, "Open"), room // 5)
    room = max(room - bytes_of("\n".join((goal, *open_points))), 0)
    blocks = [
        f"Goal: {goal}",
        _block("Facts", _fit(facts, int(room * 0.7))),
        _block("Decisions", _fit(decisions, int(room * 0.3))),
        _block("Open", open_points),
    ]
    return "\n".join(block for block in blocks if block)


def complete(text: str, trajectory: Trajectory, dropped: Dropped, *, room: int) -> str:
    """The record with the plan before it and the handles behind it.

    Args:
        text: As the model or the rule wrote it.
        trajectory: The log.
        dropped: What leaves; the handles that its earlier records list are listed again.
        room: Bytes without the plan, about.
    """
    parts: list[str] = []
    if plan := newest_plan(trajectory):
        parts.append(f"Plan: {plan}")
    parts.append(text)
    cited = _numbers(text)
    lines = [*_listed(dropped.record, "Handles"), *handle_lines(dropped)]
    lines = [line for line in lines if not cited & _numbers(line[:16])]
    left = max(int(room * _LIST_SHARE), room - bytes_of(text))
    if lines:
        parts.append(_block("Handles", _fit(lines, left)))
    return "\n".join(parts)


def newest_plan(trajectory: Trajectory) -> str:
    """The text of the newest task's plan; empty when there is none."""
    plan = next((e for e in reversed(trajectory.newest_task()) if e.kind == "plan"), None)
    return str(plan.data["text"]) if plan is not None else ""


def handle_lines(dropped: Dropped) -> list[str]:
    """One line for each document and observation that leaves: its handle and what it is of."""
    documents = [
        f"[{entry.handle}] document {excerpt(str(entry.data.get('name', '')), _LINE)}"
        for entry in dropped.documents
    ]
    observations = [
        f"[{entry.handle}] {excerpt(describe_call(entry), _LINE)}"
        for entry in _entries(dropped.groups)
        if isinstance(entry.message, ToolMessage) and not entry.data.get("memory")
    ]
    return [*documents, *observations]


def _facts(groups: Sequence[Sequence[Item]]) -> list[str]:
    lines: list[str] = []
    for entry in _entries(groups):
        match entry.message:
            case ToolMessage(content=content) if not entry.data.get("memory"):
                call = excerpt(describe_call(entry), _LINE // 2)
                lines.append(f"[{entry.handle}] {call}: {excerpt(content, _LINE)}")
            case _ if entry.kind == "task":
                lines.append(f"[{entry.handle}] earlier task: {excerpt(content_of(entry), _LINE)}")
            case _:
                pass
    return lines


def _decisions(groups: Sequence[Sequence[Item]]) -> list[str]:
    return [
        f"step {entry.step}: {excerpt(entry.message.content, _LINE)}"
        for entry in _entries(groups)
        if isinstance(entry.message, AssistantMessage) and entry.message.content.strip()
    ]


def _entries(groups: Sequence[Sequence[Item]]) -> list[Entry]:
    return [item.entry for group in groups for item in group]


def _listed(record: str, heading: str) -> list[str]:
    """The lines that a record has under a heading."""
    lines: list[str] = []
    inside = False
    for line in record.split("\n"):
        if match := _HEADING.match(line):
            inside = match[1].lower() == heading.lower()
            line = line[match.end() :]
        if inside and (text := line.strip().removeprefix("- ").removeprefix("* ")):
            lines.append(text)
    return [line for line in lines if not line.startswith("(")]


def _block(heading: str, lines: Sequence[str]) -> str:
    return f"{heading}:\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _fit(lines: Sequence[str], room: int) -> list[str]:
    """The newest lines that fit into so many bytes, with one about how many were before them."""
    kept: list[str] = []
    for line in reversed(lines):
        room -= bytes_of(line) + 3
        if room < 0:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    return [*([f"({left:,} earlier ones: use recall)"] if left else []), *reversed(kept)]


def _numbers(text: str) -> set[int]:
    return {int(match[1]) for match in _HANDLE.finditer(text)}
