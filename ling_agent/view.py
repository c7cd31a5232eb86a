"""`RunView`: shows a streamed run on a terminal; plan, calls, observations, speed, answer.

It prints as the run goes and never redraws, so that the output reads the same in a file, in a pager
and in a terminal. Text of models and tools is printed as it is, never as markup.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .events import (
    ApprovalRequested,
    Correction,
    Event,
    PlanMade,
    RunFinished,
    StepFinished,
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
        self._in_text = False

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case TextDelta(text):
                self._text(text)
            case PlanMade(plan):
                self._plan(plan)
            case ToolStarted(call):
                self._line("→ call  ", _signature(call), "bold cyan")
            case ToolProgress(_, payload):
                self._line("  …     ", str(payload), "dim")
            case ToolFinished(observation, seconds):
                self._observation(observation, seconds)
            case ApprovalRequested(call):
                self._line("? waits ", f"{_signature(call)} needs approval", "bold yellow")
            case Correction(message):
                self._line("! note  ", message, "yellow")
            case StepFinished(step, usage):
                self._line("        ", _cost(step, usage), "dim")
            case RunFinished(result):
                self._result(result)
            case _:
                pass

    def _text(self, text: str) -> None:
        if not self._in_text:
            text = text.lstrip()
            if not text:
                return
            self._console.print("  text  ", end="", style="dim", markup=False)
        self._in_text = True
        self._console.print(text, end="", markup=False, soft_wrap=True)

    def _plan(self, plan: Plan) -> None:
        title = "plan" if plan.revision == 0 else f"plan {plan.revision + 1}"
        for index, step in enumerate(plan.steps, start=1):
            label = f"◆ {title:<6}" if index == 1 else "        "
            number = f"{index}. " if len(plan.steps) > 1 else ""
            self._line(label, number + step.text, "bold magenta")

    def _observation(self, observation: ToolMessage, seconds: float) -> None:
        text = observation.content
        if len(text) > _SHOWN:
            text = f"{text[:_SHOWN]} … ({len(text):,} characters)"
        style = "red" if observation.is_error else "green"
        self._line("← result", f" {text}", style)

    def _result(self, result: RunResult) -> None:
        self._end_text()
        if result.output is not None:
            self._line("\nAnswer  ", result.output, "bold")
        if not result.ok:
            reason = f": {result.error}" if result.error else ""
            self._line("\nEnded   ", f"{result.status}{reason}", "bold red")
        usage = result.usage
        self._line(
            "\n        ",
            f"{usage.requests} model requests, {usage.tool_calls} tool calls, "
            f"{usage.prompt_tokens:,} prompt tokens ({usage.cached_tokens or 0:,} reused), "
            f"{usage.completion_tokens:,} generated, {usage.seconds:.1f} s" + _speed(usage),
            "dim",
        )

    def _line(self, label: str, text: str, style: str) -> None:
        self._end_text()
        self._console.print(label, end="", style=style, markup=False)
        self._console.print(text, style="" if style.startswith("bold") else style, markup=False)

    def _end_text(self) -> None:
        if self._in_text:
            self._console.print()
        self._in_text = False


def _signature(call: ToolCall) -> str:
    shown = ", ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items()
    )
    return f"{call.name}({shown})"


def _speed(usage: Usage) -> str:
    speed = usage.decode_tokens_per_second
    return f", {speed:.1f} tokens/s" if speed else ""


def _cost(step: int, usage: Usage) -> str:
    reused = f", {usage.cached_tokens:,} reused" if usage.cached_tokens else ""
    return (
        f"step {step}: {usage.prompt_tokens:,} prompt tokens{reused}, "
        f"{usage.completion_tokens} generated in {usage.seconds:.1f} s{_speed(usage)}"
    )
