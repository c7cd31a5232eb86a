"""What the scripted model of the run sees and answers, and the watch over its prompts.

A prompt that does not begin with the messages and the tools of the one before it has lost its
prefix cache: each is counted, with the number of the request. Requests for a record stand behind
the live prompt and are no part of it: they have to extend it, and nothing extends them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from .steps import FINAL_ANSWER, Model

RECORD_ASKED = "Write a record of the work so far"
_BYTES_A_TOKEN = 4
_MARKUP = 4  # tokens around a message
_HANDLE = re.compile(r"^\[(e\d+)\] (.*)$", re.MULTILINE)
_LISTED = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says to a request.

    Attributes:
        content: Its text.
        call: Arguments of the call, as JSON; empty when there is none.
        id: Of the call.
        prompt_tokens: Of the request.
        cached_tokens: Of the part that the newest request had, too.
        completion_tokens: Of the answer.
    """

    content: str
    call: str
    id: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(slots=True)
class Conversation:
    """One run's requests as the server sees them.

    Attributes:
        steps: Calls that it makes before it answers.
        requests: Chat requests so far without those for records.
        records: Requests for records.
        tokenized: Requests to count tokens.
        changed: Requests that did not extend the one before.
        largest: Tokens of the longest prompt.
    """

    steps: int
    requests: int = 0
    records: int = 0
    tokenized: int = 0
    changed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    largest: int = 0
    _messages: list[Any] = field(default_factory=list[Any])
    _sizes: list[int] = field(default_factory=list[int])
    _tools: Any = None
    _model: Model = field(default_factory=Model)

    def answer(self, request: dict[str, Any]) -> Answer:
        """What the model says."""
        messages, tools = request["messages"], request.get("tools")
        asked = str(messages[-1].get("content"))
        is_record = messages[-1]["role"] == "user" and RECORD_ASKED in asked
        same = self._watch(messages, tools, is_record)
        known = self._sizes[:same]
        sizes = [*known, *map(message_tokens, messages[same:])]
        prompt = sum(sizes) + tools_tokens(tools)
        self.largest = max(self.largest, prompt)
        if is_record:
            self.records += 1
            content, call, id_ = _record(asked), "", ""
        else:
            self.requests += 1
            self._messages, self._sizes, self._tools = messages, sizes, tools
            content, call, id_ = self._step()
        return Answer(content, call, id_, prompt, sum(known), _tokens(content + call) + _MARKUP)

    def _watch(self, messages: list[Any], tools: Any, is_record: bool) -> int:
        """How many messages are those of the newest request; notes when it is not extended."""
        old = self._messages
        if messages[: len(old)] == old:
            same = len(old)
        else:
            pairs = zip(old, messages, strict=False)
            same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(messages))
        other_tools = self._tools is not None and tools != self._tools
        if same < len(old) or other_tools:
            self.changed.append(
                {
                    "request": self.requests + (not is_record),
                    "record": is_record,
                    "message": same,
                    "messages": len(old),
                    "tools": other_tools,
                }
            )
        return same

    def _step(self) -> tuple[str, str, str]:
        if self.requests > self.steps:
            return FINAL_ANSWER, "", ""
        call = json.dumps(self._model.arguments(self.requests), ensure_ascii=False)
        return self._model.sentence(), call, f"chatcmpl-tool-{self.requests:032x}"

    def count(self, request: dict[str, Any]) -> int:
        """Tokens of what ``/tokenize`` is asked about: a text, or messages with tools."""
        self.tokenized += 1
        if "prompt" in request:
            return _tokens(request["prompt"])
        return sum(map(message_tokens, request["messages"])) + tools_tokens(request.get("tools"))

    def report(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "requests": self.requests,
            "records": self.records,
            "tokenized": self.tokenized,
            "changed": self.changed,
            "largest": self.largest,
            "messages": len(self._messages),
        }


def message_tokens(message: dict[str, Any]) -> int:
    """Tokens of a message: a quarter of its bytes, and something around it."""
    parts = [message.get("content") or ""]
    for call in message.get("tool_calls") or ():
        parts += [call["function"]["name"], call["function"]["arguments"]]
    return _tokens("".join(parts)) + _MARKUP


def tools_tokens(tools: Any) -> int:
    """Tokens of the tools in a prompt."""
    return _tokens(json.dumps(tools)) if tools else 0


def _tokens(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN


def _record(asked: str) -> str:
    """A record as a model writes it: the newest of the handles, with a finding each."""
    facts = [
        f"- [{handle}] {what[:60]}: {len(what)} entries, nothing urgent"
        for handle, what in _HANDLE.findall(asked)[-_LISTED:]
    ]
    return "\n".join(
        [
            "Goal: read all pages of the archive and note what is worth keeping",
            "Facts:",
            *facts,
            "Decisions:",
            "- the pages are read in their order, one in each step",
            "Open:",
            "- the pages that follow",
        ]
    )
