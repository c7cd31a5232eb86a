"""`RunView`: shows a streamed run; plan, calls, observations, speed, answer.

On a terminal the model's text is printed while it is generated, and only when the run ends is it
known to be the answer: then its label is written again. Elsewhere (a file, a pipe) lines are not
broken, and a text waits until its label is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..events import (
    ApprovalRequested,
    ArgumentsDelta,
    CallStarted,
    Compacted,
    Correction,
    Event,
    PlanMade,
    PlanUpdated,
    PrefillProgress,
    ReasoningDelta,
    RunFinished,
    StepFinished,
    StepStarted,
    SubagentEvent,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ..messages import ToolMessage
from ..results import Plan, RunResult, RunStatus, Usage
from . import wording
from .block import LABEL, Block, beginning, control, one_row, write

if TYPE_CHECKING:
    from rich.console import Console


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
        self._margin = ""
        self._busy = False
        self._text: Block | None = None
        self._cost: str | None = None
        # A call or reasoning that is being written: what it is, and what has come of it.
        self._doing = self._streaming = ""
        self._progress: str | None = None  # of the plan, as it was last told
        self._subagents: dict[str, SubagentView] = {}
        self._speaker: SubagentView | None = None

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case TextDelta(text):
                self._delta(text)
            case ReasoningDelta() | CallStarted() | ArgumentsDelta() | PrefillProgress():
                self._stream(event)
            case PlanMade(plan):
                self._made(plan)
            case PlanUpdated(plan):
                self._updated(plan)
            case StepStarted():
                self._settle()
                self.waiting("the model is working")
            case ToolStarted() | ToolProgress() | ToolFinished() | ApprovalRequested():
                self._tool(event)
            case Correction() | Compacted():
                self._line("! note", wording.note(event), "yellow")
            case SubagentEvent():
                self._subagent(event)
            case StepFinished(step, usage) if usage.requests:
                # Printed later: below a text that may turn out to be the answer. What an earlier
                # run has paid for costs nothing here.
                self._cost = wording.cost(step, usage)
            case RunFinished(result):
                self._result(result)
            case _:
                pass

    def waiting(self, text: str, streaming: str = "") -> None:
        """Tell what is waited for, on a terminal, in a line that the next one overwrites.

        Args:
            text: What it is.
            streaming: What has come of it, whose end is shown as far as there is room.
        """
        if self._live and self._text is None:
            self._idle()
            # The cursor stays at its beginning.
            write(self._console, one_row(f"  … {text}", streaming, self._console.width - 1), "dim")
            control(self._console, "CARRIAGE_RETURN")
            self._busy = True

    def close(self) -> None:
        """End the line that an interrupted run left, so that what follows begins a new one."""
        self._settle()

    # -- events -------------------------------------------------------------------------------

    def _delta(self, text: str) -> None:
        if self._text is None:
            text = text.lstrip()
            if not text:
                return
            self._settle()
            if self._live:
                self._label("  text", "dim")
            self._text = Block(self._console, indent=self._indent)
        self._text.add(text, show=self._live)

    def _stream(
        self, event: ReasoningDelta | CallStarted | ArgumentsDelta | PrefillProgress
    ) -> None:
        """Show the end of what is not printed, while it comes."""
        match event:
            case PrefillProgress(tokens, total):
                self.waiting(f"the model reads the prompt: {tokens:,} of {total:,} tokens")
                return
            case CallStarted(_, _, name):
                self._settle()
                self._doing = f"the model is calling {name}"
            case ArgumentsDelta(_, text):
                self._streaming += text
            case ReasoningDelta(text):
                self._doing = "the model is thinking"
                self._streaming += text
        self.waiting(self._doing, self._streaming)

    def _made(self, plan: Plan) -> None:
        title = "plan" if plan.revision == 0 else f"plan {plan.revision + 1}"
        for index, step in enumerate(plan.steps, start=1):
            number = f"{index}. " if len(plan.steps) > 1 else ""
            self._line(f"◆ {title}" if index == 1 else "", number + step.text, "bold magenta")
        self._progress = wording.progress(plan)

    def _updated(self, plan: Plan) -> None:
        told = wording.progress(plan)
        if len(plan.steps) > 1 and told != self._progress:
            self._progress = told
            self._line("◆ plan", told, "magenta")

    def _tool(self, event: ToolStarted | ToolProgress | ToolFinished | ApprovalRequested) -> None:
        match event:
            case ToolStarted(call):
                self._line("→ call", wording.signature(call), "bold cyan")
                self.waiting(f"{call.name} is running")
            case ToolProgress(_, payload):
                self._line("  …", str(payload), "dim")
            case ToolFinished(observation, _):
                self._observation(observation)
            case ApprovalRequested(call):
                text = f"{wording.signature(call)} needs approval"
                self._line("? waits", text, "bold yellow")

    def _observation(self, observation: ToolMessage) -> None:
        for run_id, view in list(self._subagents.items()):
            if view.call_id == observation.call_id:
                view.end()
                del self._subagents[run_id]
        colour = "red" if observation.is_error else "green"
        self._line("← result", beginning(observation.content), colour)

    def _subagent(self, event: SubagentEvent) -> None:
        view = self._subagents.get(event.run_id)
        if view is None:
            view = self._subagents[event.run_id] = SubagentView(self, event)
        view.show(event.event)

    def _result(self, result: RunResult[Any]) -> None:
        output = result.output
        if output is not None and self._text and wording.says(self._text.text, output):
            self._settle("Answer", "bold")
        else:
            self._settle()
            if output is not None:
                self._line("Answer", wording.answer(output), "bold")
        if not result.ok:
            wanted = result.status is RunStatus.stopped
            self._line("Ended", wording.end(result), "yellow" if wanted else "bold red")
        if result.usage.requests != 1 or not result.ok:  # else the step's line has it all
            self._line("\n", wording.total(result.usage), "dim")

    # -- printing -----------------------------------------------------------------------------

    def _line(self, label: str, text: str, style: str) -> None:
        self._settle()
        self._write(label, text, style)

    def _write(self, label: str, text: str, style: str) -> None:
        self._idle()
        self._speaker = None
        self._label(label, style)
        block = Block(self._console, "" if style.startswith("bold") else style, self._indent)
        block.add(text, show=True)
        block.finish()
        self._console.print()

    @property
    def _speaks(self) -> bool:
        """Whether the newest line is of this view or of one of its sub-agents."""
        return True

    @property
    def _indent(self) -> str:
        """What stands to the left of every text."""
        return self._margin + " " * LABEL

    def _label(self, label: str, style: str) -> None:
        if self._margin:
            write(self._console, self._margin, "dim")
        padding = " " * max(LABEL - len(label.lstrip("\n")), 1)
        write(self._console, label + padding, style)

    def _settle(self, label: str = "  text", style: str = "dim") -> None:
        """End the text that is being printed, as what it is, and print what waits below it."""
        self._idle()
        self._streaming = ""
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

    def _idle(self) -> None:
        if self._busy:
            control(self._console, "ERASE_IN_LINE", 2)
            self._busy = False


class SubagentView(RunView):
    """The run of a sub-agent, right of a margin; its texts are printed once they are whole.

    Args:
        parent: The view of the run that it works for.
        event: Its first event: its name is told whenever another one spoke before.

    Attributes:
        call_id: The call that it works for.
    """

    def __init__(self, parent: RunView, event: SubagentEvent) -> None:
        super().__init__(parent._console)
        self.call_id = event.call_id
        self._parent, self._agent = parent, event.agent
        self._margin = f"{parent._margin}│ "
        self._live = False
        self._spent = Usage()

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case StepFinished(_, usage):
                self._spent += usage  # told at the end
            case RunFinished():
                pass  # the result of the call says how
            case _:
                super().show(event)

    def end(self) -> None:
        """Tell the cost; what was said last is the result of the call, which is shown as that."""
        self._text = None
        self._line("", wording.total(self._spent), "dim")

    def waiting(self, text: str, streaming: str = "") -> None:
        """Tell what is waited for, and who waits."""
        self._parent.waiting(f"{self._agent}: {text}", streaming)

    def _write(self, label: str, text: str, style: str) -> None:
        self._parent._settle()
        if not self._speaks:
            self._parent._write("│ ▸", self._agent, "bold")
        super()._write(label, text, style)
        self._parent._speaker = self

    @property
    def _speaks(self) -> bool:
        """Whether the newest line is of this view."""
        return self._parent._speaker is self and self._parent._speaks
