"""Plans: how the model is asked for one, and how it is read from the model's own text.

A plan is a paragraph that begins with ``Plan:`` at the start of a message: one line, or a list
under that word. `PlanSplitter` takes it off the front of a stream; what follows is an ordinary
message, so that a call which stands alone below the plan is still a call that stands alone.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .results import Plan, PlanStep

Planning = Literal["off", "inline", "explicit"]

PREFILL = "Plan:"
"""With what an explicit plan begins on backends that can continue a text."""

INLINE_PREFILL = "Plan: use the tool `"
"""With what an inline plan begins on backends that can continue a text.

So begun, the plan of a small model names a tool, and the prompt holds no instruction that later
turns would repeat. What the model then means to do with the tool is its own text.
"""


HINTS: dict[Planning, str] = {
    "off": "",
    "inline": (
        "\n\nBegin with one line 'Plan: ...'. Then call a tool, or answer directly if no tool is "
        "needed."
    ),
    "explicit": (
        "\n\nFirst write only a plan: 'Plan:' and below it one numbered line for each step. Do not "
        "call a tool yet."
    ),
}
CARRY_OUT = "Carry out the plan now: call a tool, or answer if no tool is needed."
REVISE = (
    "An observation contradicts the plan. Write only the new plan: 'Plan:' and below it one "
    "numbered line for each remaining step."
)

# Bounded, so that it is soon clear whether a text begins with it.
_HEAD = re.compile(r"\s{0,16}[#*_]{0,6}\s{0,4}plan\s{0,4}[*_]{0,4}\s{0,4}:[*_]{0,4}", re.IGNORECASE)
_HEAD_PREFIX = re.compile(
    r"\s{0,16}[#*_]{0,6}\s{0,4}"
    r"(?:p(?:l(?:a(?:n\s{0,4}[*_]{0,4}\s{0,4}(?::[*_]{0,4})?)?)?)?)?\Z",
    re.IGNORECASE,
)
# Not "3.5 dollars", "12:30" or "**bold**".
_ITEM = re.compile(
    r"\s*(?:\d{1,2}[.):](?!\d)|[-*•](?=\s|\Z)|step\s+\d+\s*[.):]?)\s*", re.IGNORECASE
)
_ITEM_PREFIX = re.compile(r"\s*(?:\d{0,2}|s(?:t(?:e(?:p\s*)?)?)?)\Z", re.IGNORECASE)
_NUMBER = re.compile(r"[^\S\n]*(\d{1,2})[.):](?!\d)")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
# A tag, or a bare call: an object, listed or fenced or not, whose first key is "name".
_OPENING = re.compile(r'\s*(?:<tool_call>|(?:```\w*\s*)?\[?\s*\{\s*"name"\s*:)')
_LONGEST_OPENING = 64
_SHORT_TASK = 500
_TAG, _END_TAG = "<tool_call>", "</tool_call>"


def hint(planning: Planning, *, prefilled: bool) -> str:
    """What is added to the task so that the model plans.

    Args:
        planning: The mode.
        prefilled: Whether the backend begins the answer with the plan, so that the model need not
            be told.
    """
    return "" if planning == "inline" and prefilled else HINTS[planning]


def answer_note(task: str, *, small: bool, form: str = "") -> str:
    """What a model is told that has its results and goes on calling.

    A small model is told when its plan is carried out, since it does not notice by itself: behind
    an observation the default model opens another call with a probability of 0.6 to 0.99, and
    behind this note of 0.05 at most (21 marketplace questions). It may still call. Without a length
    it answers about the result instead of from it.

    Args:
        task: Said again when it is short: a small model takes the note for a new task.
        small: See `ModelInfo.small`.
        form: Says how the answer has to be written, where that is not in words.
    """
    again = f"{task} " if len(task) <= _SHORT_TASK else ""
    if form:
        return f"{again}Answer from the results above.\n{form}"
    if small:
        return f"{again}Answer in one sentence from the result above."
    return f"{again}Answer in words from the results above."


def begin_call(plan: str, tools: Sequence[Mapping[str, Any]], *, small: bool) -> str:
    """The plan with the beginning of the call that it announces.

    The tool is the declared one that the plan names first; when it names none, the model goes on
    freely below the plan. The text ends inside a token that the model would write itself.

    Args:
        plan: The message so far.
        tools: OpenAI tool objects.
        small: Begin the first argument, too, where there are any: a small model leaves out what has
            a default although it is asked for.
    """
    function = named_tool(plan, tools)
    if function is None:
        return f"{plan}\n\n"
    opening = ""
    if small:
        opening = ' {"' if function["parameters"].get("properties") else " {"
    return f'{plan}\n<tool_call>\n{{"name": {json.dumps(function["name"])}, "arguments":{opening}'


def named_tool(plan: str, tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The ``function`` of the declared tool that a plan names first; None when it names none."""
    found: list[tuple[int, int, Mapping[str, Any]]] = []
    for tool in tools:
        function = tool["function"]
        # Names may hold hyphens; of two that begin at one place the longer one is meant.
        match = re.search(rf"(?<![\w-]){re.escape(function['name'])}(?![\w-])", plan)
        if match:
            found.append((match.start(), -len(function["name"]), function))
    return min(found, key=lambda place: place[:2])[2] if found else None


class CallOpening:
    """Says whether a message opens with a call, for `ModelRequest.stop_when`; used once."""

    def __init__(self) -> None:
        self._head = ""

    def __call__(self, piece: str) -> bool:
        """Take a piece; whether the message has opened with a call, so far."""
        if len(self._head) < _LONGEST_OPENING:
            self._head = (self._head + piece)[:_LONGEST_OPENING]
        return bool(_OPENING.match(self._head))


class PlanEnd:
    """Says when the plan with which a message begins is over, for `ModelRequest.stop_when`.

    Args:
        prefill: What the message begins with.
    """

    def __init__(self, prefill: str) -> None:
        self._splitter = PlanSplitter()
        self(prefill)

    def __call__(self, piece: str) -> bool:
        """Take a piece; whether something else than the plan has begun with it."""
        self._splitter.feed(piece)
        return self._splitter.complete


def line_ends(piece: str) -> bool:
    """Whether a line is complete with this piece; ends the request for an inline plan."""
    return "\n" in piece


def close_call(message: str) -> str:
    """A message that was begun by `begin_call`, cut behind its call and closed with the tag."""
    start = message.find(_TAG) + len(_TAG)
    if start < len(_TAG):
        return message
    start += len(message[start:]) - len(message[start:].lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(message, start)
    except ValueError:
        return message  # unreadable, or repaired: it stays as it was written
    behind = message[end:]
    if behind.lstrip().startswith(_END_TAG):
        return message[: end + behind.index(_END_TAG) + len(_END_TAG)]
    return f"{message[:end]}\n{_END_TAG}"


def parse_plan(text: str, *, revision: int = 0) -> Plan | None:
    """A plan from its text (with or without the word ``Plan:``); None when there is none."""
    body = _HEAD.sub("", text, count=1).strip() if _HEAD.match(text) else text.strip()
    if not body:
        return None
    lines = [line for line in body.split("\n") if line.strip()]
    items = [_ITEM.sub("", line, count=1).strip() for line in lines if _ITEM.match(line)]
    steps = [item for item in items if item] or [" ".join(line.strip() for line in lines)]
    return Plan(body, tuple(PlanStep(step) for step in steps), revision)


def advance(plan: Plan) -> Plan:
    """The plan with its first pending step done."""
    steps = list(plan.steps)
    for index, step in enumerate(steps):
        if step.status == "pending":
            steps[index] = dataclasses.replace(step, status="done")
            break
    return dataclasses.replace(plan, steps=tuple(steps))


def is_done(plan: Plan) -> bool:
    """Whether no step is left."""
    return all(step.status != "pending" for step in plan.steps)


def finish(plan: Plan) -> Plan:
    """The plan at the end of a completed run: what is still pending was not needed."""
    steps = tuple(
        dataclasses.replace(step, status="dropped") if step.status == "pending" else step
        for step in plan.steps
    )
    return dataclasses.replace(plan, steps=steps)


class PlanSplitter:
    """Takes a leading plan off a streamed message.

    Feed the text in pieces of any size; what `feed` and `finish` return is the message without the
    plan, `plan` is the plan's text. A message that does not begin with ``Plan:`` passes unchanged.
    """

    def __init__(self) -> None:
        self._state: Literal["start", "plan", "rest"] = "start"
        self._held = ""
        self._lines: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether the plan is over, or it is clear that there is none."""
        return self._state == "rest"

    @property
    def plan(self) -> str:
        """The plan so far, without the word ``Plan:``."""
        return "\n".join(self._lines).strip()

    def feed(self, text: str) -> str:
        """Take a piece; return what belongs to the message after the plan."""
        return self._take(text, final=False)

    def finish(self) -> str:
        """The message has ended; return what is left of it."""
        return self._take("", final=True)

    def _take(self, text: str, *, final: bool) -> str:
        if self._state == "rest":
            return text
        self._held += text
        if self._state == "start":
            head = _HEAD.match(self._held)
            # At the very end of what is there, the head may still go on.
            undecided = head.end() == len(self._held) if head else _HEAD_PREFIX.match(self._held)
            if undecided and not final:
                return ""
            if head is None:
                return self._release()
            self._state = "plan"
            self._held = self._held[head.end() :]
        return self._take_lines(final)

    def _take_lines(self, final: bool) -> str:
        while True:
            if self._after_blank_lines(final) == "undecided":
                return ""
            ends = [end for end in map(self._held.find, ("\n", _TAG)) if end >= 0]
            end = min(ends, default=len(self._held))
            line = self._held[:end]
            if not ends and not final and self._may_become_plan_line(line):
                return ""
            if not self._is_plan_line(line):
                return self._release()
            self._lines.append(line)
            if not self._held.startswith("\n", end):
                self._held = self._held[end:]
                return self._release()
            self._held = self._held[end + 1 :]

    def _after_blank_lines(self, final: bool) -> Literal["undecided", "decided"]:
        """Take blank lines into the plan when its numbered list goes on below them."""
        last = _NUMBER.match(self._lines[-1]) if self._lines else None
        blank = _BLANK_LINES.match(self._held)
        if last is None or blank is None:
            return "decided"
        number = _NUMBER.match(self._held, blank.end())
        below = self._held[blank.end() :]
        growing = number.end() == len(self._held) if number else _ITEM_PREFIX.match(below)
        if growing and not final:
            return "undecided"
        if number and int(number[1]) == int(last[1]) + 1:
            self._lines.extend(blank[0].split("\n")[:-1])
            self._held = below
        return "decided"

    def _is_plan_line(self, line: str) -> bool:
        if self.plan:
            return bool(_ITEM.match(line))
        # "Plan:" alone on its line: the list begins below, unless a call does.
        return not line.lstrip().startswith(("{", "[", "```", "<"))

    def _may_become_plan_line(self, line: str) -> bool:
        return not self.plan or bool(_ITEM.match(line) or _ITEM_PREFIX.match(line))

    def _release(self) -> str:
        self._state = "rest"
        held, self._held = self._held, ""
        return held
