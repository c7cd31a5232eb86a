"""`CallText`: the calls that a server has read, written back as the model writes them.

A server's ``tool_calls`` pass through the same parser as text does: one place repairs, checks and
numbers calls, whoever found them. So a call comes out as ``<tool_call>`` text, as it streams in.

Servers disagree about how calls are streamed (seen in vLLM, SGLang and others): one index for
several calls, ids that are missing, repeated or null, the name in each piece, a whole call in one
piece, arguments as an object. What tells one call from the next, in this order: another index,
another id, a name although the call before is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from .jsons import as_object

_EMPTY = {"", "{", "{}"}


@dataclass(slots=True)
class _Call:
    index: object
    id: str
    name: str
    pieces: list[str] = field(default_factory=list[str])
    written: int = 0  # of the pieces
    begun: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def complete(self) -> bool:
        try:
            return isinstance(json.loads(self.arguments), dict)
        except ValueError:
            return False


class CallText:
    """Takes the pieces of a message's calls, returns text.

    Args:
        needs_arguments: Whether empty arguments of this tool are not to be believed.

    Attributes:
        lost: Names of the calls whose arguments did not arrive. Of a message with other calls they
            are written without arguments, which no parser takes for a call; a message's only ones
            are left out.
    """

    def __init__(self, needs_arguments: Callable[[str], bool]) -> None:
        self._needs_arguments = needs_arguments
        self._calls: list[_Call] = []
        self._open = 0  # the first call that is not closed
        self._written = False
        self.lost: list[str] = []

    def __len__(self) -> int:
        return len(self._calls)

    def take(self, deltas: Iterable[object]) -> str:
        """Take the ``tool_calls`` of a delta; the text that is certain now."""
        for delta in deltas:
            if isinstance(delta, dict):
                self._take(cast("Mapping[str, Any]", delta))
        return self._progress()

    def close(self) -> str:
        """Text follows: the end of the newest call when it is complete."""
        call = self._calls[self._open] if self._open < len(self._calls) else None
        if call is None or not (call.begun and call.complete):
            return ""
        self._open += 1
        return self._whole(call)

    @property
    def unfinished(self) -> bool:
        """Whether the text so far ends inside a call."""
        return self._open < len(self._calls) and self._calls[self._open].begun

    def finish(self, *, cut: bool) -> str:
        """The message has ended; the rest of the text.

        Args:
            cut: By the token limit: the last call then stays open, so that nobody runs it.
        """
        parts: list[str] = []
        last = len(self._calls) - 1
        for number in range(self._open, len(self._calls)):
            call = self._calls[number]
            if cut and number == last:
                parts.append(self._begin(call) + self._rest(call))
            elif self._is_lost(call):
                self.lost.append(call.name)
            else:
                parts.append(self._whole(call))
        if self.lost and (self._written or any(parts)):
            parts += [self._begin(_Call(0, "", name)) + "}\n</tool_call>" for name in self.lost]
        self._open = len(self._calls)
        return "".join(parts)

    def _take(self, delta: Mapping[str, Any]) -> None:
        function = as_object(delta.get("function"))
        name, arguments = function.get("name") or "", function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False) if arguments else ""
        call = self._call_of(delta.get("index"), delta.get("id") or "", name, arguments)
        if not call.name:
            call.name = name
        if arguments:
            call.pieces.append(arguments)

    def _call_of(self, index: object, id_: str, name: str, arguments: str) -> _Call:
        for call in reversed(self._calls):
            if index is not None and call.index != index:
                continue
            if id_ and call.id and id_ != call.id:
                continue
            repeated = bool(id_) and id_ == call.id and not arguments
            if name and call.name and call.complete and not repeated:
                break  # with the same index, and nothing is missing: the next call
            return call
        call = _Call(index, id_, name)
        self._calls.append(call)
        return call

    def _progress(self) -> str:
        parts: list[str] = []
        while self._open < len(self._calls):
            call = self._calls[self._open]
            if self._open == len(self._calls) - 1:
                # Once begun it is not looked at again: a long argument comes in many pieces.
                if call.begun or (call.name and call.arguments.strip() not in _EMPTY):
                    parts.append(self._begin(call) + self._rest(call))
                break
            if not call.complete:
                break  # pieces of it may still come between those of the next
            if self._is_lost(call):
                self.lost.append(call.name)
            else:
                parts.append(self._whole(call))
            self._open += 1
        return "".join(parts)

    def _is_lost(self, call: _Call) -> bool:
        return call.arguments.strip() in _EMPTY and (
            call.arguments.strip() == "{" or self._needs_arguments(call.name)
        )

    def _whole(self, call: _Call) -> str:
        if not call.pieces:
            call.pieces.append("{}")
        return self._begin(call) + self._rest(call) + "}\n</tool_call>"

    def _begin(self, call: _Call) -> str:
        if call.begun:
            return ""
        call.begun = True
        between = "\n" if self._written else ""
        self._written = True
        name = json.dumps(call.name, ensure_ascii=False)
        return f'{between}<tool_call>\n{{"name": {name}, "arguments": '

    def _rest(self, call: _Call) -> str:
        new = call.pieces[call.written :]
        call.written = len(call.pieces)
        return "".join(new)
