"""The record of dropped steps: goal, facts with handles, decisions, open points.

The model writes it as one more answer behind the live prompt, so that nothing but the answer is
computed. What it writes is checked: a call, too little, or handles that do not exist are not taken
over. Where it fails, or is not to be asked, `by_rule` makes one from the log. Either way the plan
and a list of what can be opened are added here, so that no step is out of reach.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..messages import AssistantMessage, ToolMessage
from .compaction import describe_call, excerpt
from .trajectory import Entry, Trajectory
from .window import Item, content_of

HEADINGS = ("Goal", "Facts", "Decisions", "Open")
_HANDLE = re.compile(r"\[?\be(\d+)\b\]?")
_HEADING = re.compile(rf"^\W*(?:{'|'.join(HEADINGS)})\b\W*", re.IGNORECASE | re.MULTILINE)
_LINE = 110  # characters of one thing in a list
_LIST_SHARE = 0.4  # of a record: the list of handles


def request(groups: Sequence[Sequence[Item]], *, words: int, characters: int) -> str:
    """What the model is asked for.

    Args:
        groups: The steps that will be dropped.
        words: Longest record.
        characters: Room for the list of handles.
    """
    handles = "\n".join(_fit(handle_lines(groups), characters))
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
    if begin is None or len({m[0].strip(" \n:*#").lower() for m in _HEADING.finditer(text)}) < 2:
        return None

    def keep(match: re.Match[str]) -> str:
        return match[0] if int(match[1]) in known else ""

    return _HANDLE.sub(keep, text[begin.start() :]).strip() or None


def by_rule(
    trajectory: Trajectory, groups: Sequence[Sequence[Item]], *, earlier: str, characters: int
) -> str:
    """A record made without the model.

    Args:
        trajectory: The log.
        groups: The steps that are dropped.
        earlier: The record that there is; what it lists is listed before what is new.
        characters: Longest record, about.
    """
    task = trajectory.task
    goal = excerpt(str(task.data.get("task", task.text)), _LINE) if task is not None else ""
    facts = [*_listed(earlier, "Facts"), *_facts(groups)]
    decisions = [*_listed(earlier, "Decisions"), *_decisions(groups)]
    room = max(characters - len(goal), 0)
    blocks = [
        f"Goal: {goal}",
        _block("Facts", _fit(facts, int(room * 0.7))),
        _block("Decisions", _fit(decisions, int(room * 0.3))),
    ]
    return "\n".join(block for block in blocks if block)


def complete(
    text: str,
    trajectory: Trajectory,
    groups: Sequence[Sequence[Item]],
    *,
    earlier: str,
    characters: int,
) -> str:
    """The record with the plan before it and the handles behind it.

    Args:
        text: As the model or the rule wrote it.
        trajectory: The log.
        groups: The steps that are dropped.
        earlier: The record that there is; its handles are listed again.
        characters: Longest record, about.
    """
    parts: list[str] = []
    plan = next((e for e in reversed(trajectory.newest_task()) if e.kind == "plan"), None)
    if plan is not None:
        parts.append(f"Plan: {plan.data['text']}")
    parts.append(text)
    lines = [*_listed(earlier, "Handles"), *handle_lines(groups)]
    cited = {int(match[1]) for match in _HANDLE.finditer(text)}
    lines = [line for line in lines if not cited & _numbers(line[:16])]
    room = max(int(characters * _LIST_SHARE), characters - len(text))
    if lines:
        parts.append(_block("Handles", _fit(lines, room)))
    return "\n".join(parts)


def handle_lines(groups: Sequence[Sequence[Item]]) -> list[str]:
    """One line for each observation and document that leaves: its handle and what it is of."""
    return [
        f"[{entry.handle}] {excerpt(describe_call(entry), _LINE)}"
        for entry in _entries(groups)
        if isinstance(entry.message, ToolMessage) and not entry.data.get("memory")
    ]


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
        if line.startswith("- ") and inside:
            lines.append(line[2:])
        else:
            inside = line.startswith(f"{heading}:")
    return [line for line in lines if not line.startswith("(")]


def _block(heading: str, lines: Sequence[str]) -> str:
    return f"{heading}:\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _fit(lines: Sequence[str], characters: int) -> list[str]:
    """The newest lines that fit, with a line about how many there were before them."""
    kept: list[str] = []
    for line in reversed(lines):
        characters -= len(line) + 3
        if characters < 0:
            break
        kept.insert(0, line)
    left = len(lines) - len(kept)
    return [f"({left:,} earlier ones: use recall)", *kept] if left else kept


def _numbers(text: str) -> set[int]:
    return {int(match[1]) for match in _HANDLE.finditer(text)}
