"""`Context`: keeps one run's prompt within its model's window.

Before each request the prompt is measured. What is known exactly is the newest request: its usage.
For what came after it the bytes are an upper bound, by which most requests are known to fit without
asking anybody; only near the high watermark the model's tokenizer is asked. Above it the window is
compacted: `choose` says what leaves, the model writes a record of it behind the live prompt, and
one ``compaction`` entry in the log holds the result. It is the only thing that changes the prompt's
beginning, and from the first one on the model has the tools to reach what left.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Any

from .backends.base import ModelInfo
from .errors import ContextOverflow
from .events import Compacted, Emit
from .memory import Memory, Trajectory
from .memory import record as records
from .memory.budget import Budget, Meter, TokenSource, divide
from .memory.compaction import Compaction, choose, cut_large
from .memory.journal import Journal
from .memory.trajectory import in_conversation
from .memory.window import Item, Window, bytes_of
from .messages import Message
from .recall import NAMES, check_room, memory_tools
from .results import ContextUse, Usage
from .tools import Toolset

Count = Callable[[str], Awaitable[int | None]]
Digest = Callable[[str, int], Awaitable[str | None]]
"""Asks the model for an answer behind the live prompt: what, and in how many tokens at most."""

_PATIENCE = 16  # share of the window that must be new before a vain compaction is repeated
_ROUNDS = 3  # a compaction by estimates may have to be done again
_PINS = 8  # share of the window that the model may pin
_WORDS_PER_TOKEN = 0.6
_SLACK = 64  # share of the window by which an estimate may be wrong
_BYTES_AT_A_TIME = 2_000_000  # that a tokenizer is given


class Context:
    """The window of one run, with its budget.

    Args:
        memory: Watermarks and sizes.
        journal: The log, to which compactions are written, and its store, which recall searches.
        tools: The agent's own.
        answer: Longest answer in tokens.
        count: The model's tokenizer.
        emit: Takes the events.

    Attributes:
        window: What the model sees.
        budget: How the context window is divided; None while that is unknown.
    """

    def __init__(
        self,
        memory: Memory,
        journal: Journal,
        tools: Toolset,
        *,
        answer: int,
        count: Count,
        emit: Emit,
    ) -> None:
        self._memory = memory
        self._trajectory = trajectory = journal.trajectory
        self._journal = journal
        self._own_tools = tools
        self._all_tools: Toolset | None = None
        self._measured: tuple[Toolset, int] | None = None
        self._answer = answer
        self._count = count
        self._emit = emit
        self._meter = Meter()
        self._exact = False  # whether the newest total was counted by a tokenizer
        self._checked = self._newest_sent() + 1  # up to where messages were looked at
        self._least = 0  # what the newest compaction has left, where it could not leave less
        self.window = Window(trajectory)
        self.budget: Budget | None = None
        self._known = self._known_from_log()

    def messages(self) -> tuple[Message, ...]:
        """The conversation for the next request."""
        return self.window.messages()

    @property
    def tools(self) -> Toolset:
        """The tools that the model has now: the agent's, and recall once something left."""
        return self._tools_of(self.window)

    def _tools_of(self, window: Window) -> Toolset:
        if not window.partial:
            return self._own_tools
        if self._all_tools is None:
            own = set(self._own_tools.names)
            more = memory_tools(
                self._trajectory,
                self._journal.search,
                bytes_shown=self._bytes_shown,
                room_for_pins=self._room_for_pins,
            )
            self._all_tools = Toolset([*self._own_tools, *(t for t in more if t.name not in own)])
        return self._all_tools

    def is_memory_tool(self, name: str) -> bool:
        """Whether a call is of one of the tools that were added here."""
        return name in NAMES and name not in self._own_tools and name in self.tools

    def _bytes_shown(self) -> int:
        longest = self.budget.observation if self.budget is not None else 4096
        return max(self._meter.bytes(longest // 2), 400)

    def pin(self, text: str) -> None:
        """Keep a text in the prompt, for a tool.

        Raises:
            ToolError: Nothing takes it out again, and there is no room for it.
        """
        check_room(text, self._room_for_pins())
        self._trajectory.pin(text)

    def _room_for_pins(self) -> int:
        """Bytes that may still be pinned: a prompt full of pins would have no way out."""
        window = self.budget.window if self.budget is not None else 4096
        return self._meter.bytes(window // _PINS) - sum(map(bytes_of, self.window.pins))

    def describe(self, info: ModelInfo) -> None:
        """Take the window from what the model is, unless the memory names one."""
        self.set_window(self._memory.context_window or info.context_window)

    def set_window(self, tokens: int | None) -> None:
        """Divide a window of so many tokens."""
        if tokens is not None:
            self.budget = divide(
                tokens,
                answer=self._answer,
                high_watermark=self._memory.high_watermark,
                low_watermark=self._memory.low_watermark,
                max_observation_tokens=self._memory.max_observation_tokens,
            )

    # -- sizes --------------------------------------------------------------------------------

    def learn(self, usage: Usage) -> None:
        """Take what the newest request has cost; its answer is the newest message."""
        self.window.update()
        if usage.prompt_tokens and usage.requests <= 1:
            tokens = usage.prompt_tokens + usage.completion_tokens
            self._known = (tokens, self.window.size, len(self.window.items))
            self._exact = False
            self._meter.learn(tokens, self.window.size + self._tools_size())

    def tokens(self, size: int) -> int:
        """Tokens of so many bytes, by what is known of this conversation."""
        return self._meter.tokens(size, 0)

    def use(self) -> ContextUse:
        """What the next prompt takes, for the result."""
        self.window.update()
        total, exact = self._estimate(), self._exact and not self._new()[2]
        source: TokenSource = "usage" if self._meter.calibrated else "estimate"
        if exact:
            source = "tokenizer"
        return ContextUse(total, self.budget.window if self.budget else None, source)

    def _known_from_log(self) -> tuple[int, int, int] | None:
        """The newest usage, unless the window was changed behind it; the meter learns it anyway."""
        entries = in_conversation(self._trajectory)
        changed = False
        for entry in entries:
            changed = changed or entry.kind == "compaction"
            if entry.is_live_usage:
                break
        else:
            return None
        tokens = int(entry.data["prompt_tokens"]) + int(entry.data["completion_tokens"])
        if not tokens or entry.data.get("requests", 1) > 1:
            return None
        window = Window(Trajectory(self._trajectory.until(entry.id)))
        messages, tools = len(window.messages()), self._tools_of(window)
        self._meter.learn(tokens, window.size + _size_of(tools))
        return None if changed else (tokens, window.size, messages)

    def _tools_size(self) -> int:
        tools = self.tools
        if self._measured is None or self._measured[0] is not tools:
            self._measured = (tools, _size_of(tools))
        return self._measured[1]

    def _new(self) -> tuple[int, int, int]:
        """Tokens that are known, and the bytes and messages that came after them."""
        if self._known is None:
            return 0, self.window.size + self._tools_size(), len(self.window.items)
        tokens, size, messages = self._known
        return tokens, self.window.size - size, len(self.window.items) - messages

    def _estimate(self) -> int:
        known, size, messages = self._new()
        return known + self._meter.tokens(size, messages)

    async def total(self, *, exact_above: int) -> int:
        """Tokens of the next prompt: counted where they might be more than ``exact_above``."""
        self.window.update()
        known, size, messages = self._new()
        if not messages or known + self._meter.at_most(size, messages) <= exact_above:
            return known + self._meter.tokens(size, messages)
        counted = await self._count_new(messages)
        if counted is None:
            return known + self._meter.tokens(size, messages)
        total = known + counted + self._meter.tokens(0, messages)
        # So that nothing is counted twice, whether or not a usage follows.
        self._known, self._exact = (total, self.window.size, len(self.window.items)), True
        return total

    async def _count_new(self, messages: int) -> int | None:
        """What the tokenizer says of the newest messages, or of all with the tools."""
        texts = [_text(item) for item in self.window.items[len(self.window.items) - messages :]]
        if self._known is None:
            texts.append(_schemas(self.tools))
        text = "\n".join(texts)
        counted = await self._count(text[:_BYTES_AT_A_TIME])
        if counted is None or len(text) <= _BYTES_AT_A_TIME:
            return counted
        return counted * len(text) // _BYTES_AT_A_TIME

    # -- keeping within -----------------------------------------------------------------------

    async def fit(self, step: int, digest: Digest) -> None:
        """Make room for the next request, where that is needed.

        Args:
            step: The model request that is about to be made.
            digest: Asks the model for a record; it may fail.
        """
        if self.budget is None:
            return
        await self._cut_large(step, self.budget)
        total = await self.total(exact_above=self.budget.high)
        if total > max(self.budget.high, self._least):
            mark = f"high watermark: {total:,} of {self.budget.window:,} tokens"
            await self._compact(step, total, mark, digest)

    async def overflowed(self, step: int, error: ContextOverflow) -> bool:
        """Make room after a request was refused; False when there is none to be made."""
        if error.context_window and (
            self.budget is None or error.context_window < self.budget.window
        ):
            self.set_window(error.context_window)
        if self.budget is None:
            return False
        self._known, self._exact = None, False
        tokens = max(error.prompt_tokens, self.budget.high + 1)
        self._meter.learn(tokens, self.window.size + self._tools_size())
        before = len(self._trajectory)
        self._checked = self._newest_sent() + 1  # what is new is larger than it was taken for
        await self._cut_large(step, self.budget)
        if len(self._trajectory) > before:
            tokens = self._estimate()
        if tokens > self.budget.high:
            await self._compact(step, tokens, f"refused: {error}", _no_digest)
        return len(self._trajectory) > before

    async def _cut_large(self, step: int, budget: Budget) -> None:
        """Show messages that are too long at their ends only, before they are ever sent."""
        self.window.update()
        since = self._checked
        new = list(takewhile(lambda item: item.entry.id >= since, reversed(self.window.items)))
        self._checked = len(self._trajectory)
        cut = cut_large(new, self._meter, budget)
        if cut.cut:
            reason = "a message is longer than its share of the window"
            await self._write(step, cut, reason, self._estimate())

    async def _compact(self, step: int, total: int, reason: str, digest: Digest) -> None:
        assert self.budget is not None
        plan = records.newest_plan(self._trajectory)
        for _ in range(_ROUNDS):
            change = choose(self.window, self._meter, self.budget, total, plan=plan)
            if not change.data():
                break
            record, by = None, ""
            if change.dropped:
                record, by = await self._record(change, total, digest)
            await self._write(step, change, reason, total, record=record, by=by)
            total = self._estimate()
            if total <= self.budget.high:
                self._least = 0
                return
            reason, digest = f"still {total:,} tokens", _no_digest
        # What cannot be helped is not tried again at each step, which would change each prompt.
        self._least = total + self.budget.window // _PATIENCE

    async def _write(
        self,
        step: int,
        change: Compaction,
        reason: str,
        total: int,
        *,
        record: str | None = None,
        by: str = "",
    ) -> None:
        """Put a change into the log, from which the window takes it."""
        sent = self._newest_sent()
        changed_sent = any(item.entry.id <= sent for item in self._touched(change))
        data: dict[str, Any] = change.data()
        if record is not None:
            data |= {"record": record, "by": by}
        new_tools = not self.window.partial
        self._trajectory.append("compaction", step=step, reason=reason, before=total, **data)
        self.window.update()
        if changed_sent or new_tools or change.dropped or change.documents:
            self._known, self._exact = None, False  # the prompt has another beginning now
        await self._emit(Compacted(reason, total, self._estimate()))

    def _newest_sent(self) -> int:
        newest = next((e for e in in_conversation(self._trajectory) if e.kind == "usage"), None)
        return newest.id if newest is not None else -1

    def _touched(self, change: Compaction) -> list[Item]:
        numbers = {*change.cut, *change.stubs}
        return [item for item in self.window.items if item.entry.id in numbers]

    async def _record(self, change: Compaction, total: int, digest: Digest) -> tuple[str, str]:
        """What stands in place of the dropped steps, and who wrote it."""
        assert self.budget is not None
        dropped = self._dropped(change)
        room = self._meter.bytes(self.budget.record)
        text = None
        if self._memory.summarize and digest is not _no_digest:
            text = await self._ask_for_record(dropped, room, total, digest)
        by = "model" if text is not None else "rule"
        if text is None:
            text = records.by_rule(self._trajectory, dropped, room=room // 2)
        return records.complete(text, self._trajectory, dropped, room=room), by

    async def _ask_for_record(
        self, dropped: records.Dropped, room: int, total: int, digest: Digest
    ) -> str | None:
        """The record as the model writes it; None where there is no room for it, or it fails."""
        assert self.budget is not None
        longest = self.budget.record * 3 // 4  # with the handles it is no longer than a record
        note = records.request(dropped, words=int(longest * _WORDS_PER_TOKEN / 2), room=room // 4)
        left = self.budget.window - total - self._meter.tokens(bytes_of(note), 2)
        left -= self.budget.window // _SLACK
        if left < longest // 2:
            return None
        answer = await digest(note, min(longest, left))
        known = {entry.id for entry in self._trajectory if entry.message is not None}
        return records.checked(answer, known) if answer else None

    def _dropped(self, change: Compaction) -> records.Dropped:
        gone = {item.entry.id for group in change.dropped for item in group}
        tasks = [task for task in self.window.tasks if task.item.entry.id in gone]
        documents = [entry for task in tasks for entry, _ in task.documents]
        if self.window.task is not None:
            tasks.append(self.window.task)
        record = "\n".join(task.record for task in tasks if task.record)
        return records.Dropped(change.dropped, documents, record)


def _text(item: Item) -> str:
    return item.entry.text if item.message is item.entry.message else item.message.content


def _size_of(tools: Toolset) -> int:
    return bytes_of(_schemas(tools)) if len(tools) else 0


def _schemas(tools: Toolset) -> str:
    return json.dumps(tools.schemas, ensure_ascii=False)


async def _no_digest(_: str, __: int) -> str | None:
    return None
