"""`RunView`: shows a streamed run on a terminal; plan, calls, observations, speed, answer.

Everything is printed once, as it comes, and broken between words to the right of its label. On a
terminal the model's text is printed while it is generated, and only when the run ends is it known
to be the answer: then its label is written again. Elsewhere (a file, a pipe) lines are not broken,
and a text waits until its label is known. Text of models and tools is never markup, and its control
characters are shown and not obeyed.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from .events import (
    ApprovalRequested,
    CallStarted,
    Compacted,
    Correction,
    Event,
    PlanMade,
    RunFinished,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from .messages import ToolCall, ToolMessage
from .results import Plan, RunResult, Usage

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 400
_LABEL = 10  # cells
# Text in wide characters has no spaces: it may be broken at each of them.
_WORD = re.compile(r"\n|[^\S\n]+|[\u2e80-\uffef]|[^\s\u2e80-\uffef]+")
# Control characters become their pictures: a tool's text must not move the cursor.
_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    ord("\t"): "    ",
    ord("\n"): "\n",
}


class RunView:
    """Takes events and prints them.

    Args:
        console: Where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            from rich.console import Console

            console = Console(highlight=False)
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._busy = False
        self._text: _Block | None = None
        self._cost: str | None = None

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case TextDelta(text):
                self._delta(text)
            case PlanMade(plan):
                self._made(plan)
            case StepStarted():
                self._settle()
                self._working("the model is working")
            case CallStarted(_, _, name):
                self._settle()
                self._working(f"the model is calling {name}")
            case ToolStarted(call):
                self._line("→ call", _signature(call), "bold cyan")
                self._working(f"{call.name} is running")
            case ToolProgress(_, payload):
                self._line("  …", str(payload), "dim")
            case ToolFinished(observation, _):
                self._observation(observation)
            case ApprovalRequested(call):
                self._line("? waits", f"{_signature(call)} needs approval", "bold yellow")
            case Correction() | Compacted():
                self._line("! note", _note(event), "yellow")
            case StepFinished(step, usage):
                # Printed later: below a text that may turn out to be the answer.
                self._cost = _cost(step, usage)
            case RunFinished(result):
                self._result(result)
            case _:
                pass

    def close(self) -> None:
        """End the line that an interrupted run left, so that what follows begins a new one."""
        self._settle()

    def _delta(self, text: str) -> None:
        if self._text is None:
            text = text.lstrip()
            if not text:
                return
            self._settle()
            if self._live:
                self._label("  text", "dim")
            self._text = _Block(self._console)
        self._text.add(text, show=self._live)

    def _made(self, plan: Plan) -> None:
        title = "plan" if plan.revision == 0 else f"plan {plan.revision + 1}"
        for index, step in enumerate(plan.steps, start=1):
            number = f"{index}. " if len(plan.steps) > 1 else ""
            self._line(f"◆ {title}" if index == 1 else "", number + step.text, "bold magenta")

    def _observation(self, observation: ToolMessage) -> None:
        colour = "red" if observation.is_error else "green"
        self._line("← result", beginning(observation.content), colour)

    def _result(self, result: RunResult) -> None:
        streamed = self._text.text.strip() if self._text else None
        if result.output is not None and streamed == result.output.strip():
            self._settle("Answer", "bold")
        else:
            self._settle()
            if result.output is not None:
                self._line("Answer", result.output, "bold")
        if not result.ok:
            reason = f": {result.error}" if result.error else ""
            self._line("Ended", f"{result.status}{reason}", "bold red")
        usage = result.usage
        if usage.requests == 1 and result.ok:
            return  # the step's line has it all
        self._line(
            "\n",
            f"{_count(usage.requests, 'model request')}, {_count(usage.tool_calls, 'tool call')}, "
            f"{usage.prompt_tokens:,} prompt tokens ({usage.cached_tokens or 0:,} reused), "
            f"{usage.completion_tokens:,} generated, {usage.seconds:.1f} s{_speed(usage)}",
            "dim",
        )

    # -- printing -----------------------------------------------------------------------------

    def _line(self, label: str, text: str, style: str) -> None:
        self._settle()
        self._write(label, text, style)

    def _write(self, label: str, text: str, style: str) -> None:
        self._idle()
        self._label(label, style)
        block = _Block(self._console, "" if style.startswith("bold") else style)
        block.add(text, show=True)
        block.finish()
        self._console.print()

    def _label(self, label: str, style: str) -> None:
        padding = " " * max(_LABEL - len(label.lstrip("\n")), 1)
        _print(self._console, label + padding, style)

    def _settle(self, label: str = "  text", style: str = "dim") -> None:
        """End the text that is being printed, as what it is, and print what waits below it."""
        self._idle()
        block, self._text = self._text, None
        if block is not None and not self._live:
            self._write(label, block.text.rstrip(), style)
        elif block is not None:
            block.finish()
            if label == "Answer" and block.move_to_label():
                self._label(label, style)
                block.move_back()
            self._console.print()
        cost, self._cost = self._cost, None
        if cost is not None:
            self._write("", cost, "dim")

    def _working(self, text: str) -> None:
        """A line that the next one overwrites: the cursor stays at its beginning."""
        if self._live and self._text is None:
            self._idle()
            shown = f"{'  …':<{_LABEL}}{visible(text)}"[: self._console.width - 1]
            _print(self._console, shown, "dim")
            _control(self._console, "CARRIAGE_RETURN")
            self._busy = True

    def _idle(self) -> None:
        if self._busy:
            _control(self._console, "ERASE_IN_LINE", 2)
            self._busy = False


class _Block:
    """A text to the right of its label, broken between words while it grows.

    The word at its end is held back until it is whole.
    """

    def __init__(self, console: Console, style: str = "") -> None:
        self.text = ""
        self._console, self._style, self._width = console, style, console.width
        self._room = max(console.width - _LABEL, 1) if console.is_terminal else math.inf
        self._rows = self._column = self._breaks = 0
        self._gap = self._held = ""

    def add(self, text: str, *, show: bool) -> None:
        """Append; `show` prints it too."""
        self.text += text
        if show:
            *words, self._held = ["", *_WORD.findall(self._held + visible(text))]
            self._put(words)

    def finish(self) -> None:
        """Print what is held back. The cursor stays at the end of the text."""
        self._put([self._held])
        self._held = ""

    def move_to_label(self) -> bool:
        """Move the cursor to the label; False when it cannot be told where that is by now."""
        if self._rows >= self._console.height or self._width != self._console.width:
            return False
        if self._rows:
            _control(self._console, "CURSOR_UP", self._rows)
        _control(self._console, "CARRIAGE_RETURN")
        return True

    def move_back(self) -> None:
        """Back to the last row, after `move_to_label`."""
        if self._rows:
            _control(self._console, "CURSOR_DOWN", self._rows)

    def _put(self, words: list[str]) -> None:
        _print(self._console, "".join(map(self._placed, words)), self._style)

    def _placed(self, word: str) -> str:
        from rich.cells import cell_len, chop_cells

        if word == "\n":
            self._breaks += 1  # not yet: the text may end here
            self._column, self._gap = 0, ""
            return ""
        if not word or word.isspace():
            self._gap += word
            return ""
        gap, self._gap = self._gap, ""
        if self._column + cell_len(gap) + cell_len(word) <= self._room:
            self._column += cell_len(gap) + cell_len(word)
            return self._lead() + gap + word
        first, *others = chop_cells(word, int(self._room))
        shown = self._break(first) if self._column else self._lead() + first
        shown += "".join(map(self._break, others))
        self._column = cell_len((first, *others)[-1])
        return shown

    def _break(self, word: str) -> str:
        self._breaks = 1
        return self._lead() + word

    def _lead(self) -> str:
        """The line breaks that are due, and the indent of the last of the new rows."""
        breaks, self._breaks = self._breaks, 0
        self._rows += breaks
        return "\n" * breaks + " " * _LABEL if breaks else ""


def _print(console: Console, text: str, style: str) -> None:
    # soft_wrap: the lines are broken here.
    console.print(text, end="", style=style, markup=False, highlight=False, soft_wrap=True)


def _control(console: Console, kind: str, *number: int) -> None:
    from rich.control import Control
    from rich.segment import ControlType

    code = (ControlType[kind], *number)
    console.control(Control(code))  # type: ignore[arg-type]


def beginning(text: str) -> str:
    """A text as far as people are shown it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} … ({len(text):,} characters)"


def visible(text: str) -> str:
    """A text as it is safe to print: with pictures of its control characters."""
    return text.translate(_VISIBLE)


def _signature(call: ToolCall) -> str:
    shown = ", ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items()
    )
    return f"{call.name}({shown})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _speed(usage: Usage) -> str:
    speed = usage.decode_tokens_per_second
    return f", {speed:.1f} tokens/s" if speed else ""


def _note(event: Correction | Compacted) -> str:
    if isinstance(event, Correction):
        return event.message
    return f"the prompt was shortened from {event.before:,} to about {event.after:,} tokens"


def _cost(step: int, usage: Usage) -> str:
    reused = f", {usage.cached_tokens:,} reused" if usage.cached_tokens else ""
    return (
        f"step {step}: {usage.prompt_tokens:,} prompt tokens{reused}, "
        f"{usage.completion_tokens} generated in {usage.seconds:.1f} s{_speed(usage)}"
    )
