"""`ConversationView`: shows a run that is kept, as `RunView` shows one that works."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import ToolFinished, ToolStarted
from ..memory import Entry, Trajectory
from ..memory.trajectory import conversation, in_conversation
from ..messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from ..view import RunView, beginning


class ConversationView(RunView):
    """Prints who said what, one message after the other."""

    def run(self, trajectory: Trajectory) -> None:
        """Print a whole conversation, and the error that ended it."""
        for entry, message in conversation(trajectory):
            self._message(entry, message)
        self._error(in_conversation(trajectory))
        self.close()

    def _message(self, entry: Entry, message: Message) -> None:
        match message:
            case SystemMessage(content):
                self._line("system", content, "dim")
            case UserMessage(content):
                self._user(entry, content)
            case AssistantMessage(content, reasoning, calls):
                if reasoning:
                    self._line("  thought", reasoning.strip(), "dim")
                if content.strip():
                    self._line("assistant", content.strip(), "bold")
                for call in calls:
                    self.show(ToolStarted(call))
            case ToolMessage():
                self.show(ToolFinished(message, 0.0))

    def _user(self, entry: Entry, content: str) -> None:
        match entry.kind:
            case "task":
                # Without the hint on planning that the model reads behind it.
                self._line("user", str(entry.data.get("task", content)), "bold cyan")
            case "document":
                name = entry.data.get("name", "")
                self._line("document", f"{name}: {beginning(content)}", "dim")
            case _:
                self._line("! note", content, "yellow")

    def _error(self, newest_first: Iterable[Entry]) -> None:
        """The error behind the last message, if any."""
        for entry in newest_first:
            if entry.message is not None:
                return
            if entry.kind == "error":
                self._line("! error", str(entry.data.get("text", "")), "bold red")
                return
