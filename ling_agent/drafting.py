"""`Drafter`: what a small model means to call, found out before it says so in a message.

A small model calls when it need not, calls once where several calls are asked for, and makes values
up. So the first message of a run is drafted aside, in questions that are not kept and whose prompts
share the live one:

1. the calls, as a list in a code block, which such models have read much of: where the list ends
   tells how many there are to be. What is not called for by the conversation is left out
   (`grounding`), and the draft ends there.
2. For one call: whether its tool does what is asked, as the odds of "yes" against "no".

The bound is measured with Qwen2.5-Coder-0.5B on 646 cases of BFCL v4 (docs/evaluation.md). That
model says no too easily, also where all values of the call were said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, cast

from .backends.base import LIST_PREFILL
from .errors import ContextOverflow
from .grounding import Call, Conversation, called_for, share_said, without_inventions
from .hermes import render_call
from .messages import Message
from .sending import Sender

QUESTION = "First answer yes or no: does `{tool}` do what I ask?"
_YES, _NO = ("yes", "Yes"), ("no", "No")
_LEAST_ODDS = -0.15  # natural logarithm, with half a point for values that were said
_FOR_SAID_VALUES = 0.5
_NEXT_CALL = re.compile(r"[\s,]*(?={)")


class Drafter:
    """Drafts the calls of one message.

    Args:
        sender: Asks the model.
        messages: The conversation so far.
        tools: OpenAI tool objects.
        most: Calls of one message.
        alone: Names of tools that are called only alone: their calls need somebody's consent.
    """

    def __init__(
        self,
        sender: Sender,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        most: int,
        alone: Container[str] = (),
    ) -> None:
        self._sender = sender
        self._tools = tools
        self._schemas = {tool["function"]["name"]: _parameters(tool) for tool in tools}
        self._conversation = Conversation(message.content for message in messages)
        self._most = most
        self._alone = alone

    async def calls(self) -> list[Call]:
        """The calls that the model would make and that are called for; none when it names none.

        Raises:
            AsideStopped: The run is to end.
            BackendError: The model cannot be asked.
        """
        try:
            turn = await self._sender.aside(
                tool_choice="listed", prefill=LIST_PREFILL, stop_when=self._end()
            )
        except ContextOverflow:
            return []
        if turn is None:
            return []
        self._sender.charge(turn.usage, aside=True)
        text = (turn.message.raw or "").removeprefix(LIST_PREFILL)
        calls = called_for(self._read(text), self._conversation, self._tools)
        return await self._meant_together(calls[: self._most])

    async def _meant_together(self, calls: list[Call]) -> list[Call]:
        """The calls up to the first of another tool that is not meant, or is called alone."""
        for place, call in enumerate(calls[1:], start=1):
            if call["name"] in self._alone or calls[0]["name"] in self._alone:
                return calls[:place]
            known = any(call["name"] == each["name"] for each in calls[:place])
            if not known and not await self.is_meant(call):
                return calls[:place]
        return calls

    async def is_meant(self, call: Call) -> bool:
        """Whether the model finds that the call's tool does what is asked; True if unknown.

        Raises:
            AsideStopped: The run is to end.
            BackendError: The model cannot be asked.
        """
        question = QUESTION.format(tool=call["name"])
        try:
            turn = await self._sender.aside(question, max_tokens=1, weigh=(*_YES, *_NO))
        except ContextOverflow:
            return True
        if turn is None:
            return True
        self._sender.charge(turn.usage, aside=True)
        if not turn.weights:
            return True
        odds = _together(turn.weights[: len(_YES)]) - _together(turn.weights[len(_YES) :])
        said = share_said(call, self._schemas[call["name"]], self._conversation)
        return odds + _FOR_SAID_VALUES * said >= _LEAST_ODDS

    def refined(self, call: Call) -> tuple[Call, tuple[str, ...]]:
        """The call without optional values that were made up, and what was left out."""
        schema = self._schemas.get(call["name"])
        if schema is None:
            return call, ()
        arguments, notes = without_inventions(call["arguments"], schema, self._conversation)
        return {"name": call["name"], "arguments": arguments}, notes

    def _end(self) -> Callable[[str], bool]:
        """Says when a draft need not go on: a call that is not called for, or enough of them."""
        text = ""

        def is_over(piece: str) -> bool:
            nonlocal text
            text += piece
            if "}" not in piece:
                return False
            complete = self._read(text)
            kept = called_for(complete, self._conversation, self._tools)
            return len(kept) < len(complete) or len(kept) >= self._most

        return is_over

    def _read(self, text: str) -> list[Call]:
        """The complete calls of a list, whatever comes behind them."""
        calls: list[Call] = []
        at = 0
        while begins := _NEXT_CALL.match(text, at):
            try:
                value, at = json.JSONDecoder().raw_decode(text, begins.end())
                # What cannot be written again is no JSON, such as half a character.
                json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            except (ValueError, RecursionError):
                break
            if not self._is_call(value):
                break
            calls.append(value)
        return calls

    def _is_call(self, value: object) -> bool:
        if not isinstance(value, Mapping):
            return False
        call = cast("Mapping[str, object]", value)
        name = call.get("name")
        known = isinstance(name, str) and name in self._schemas
        return known and isinstance(call.get("arguments"), Mapping)


def message_of(calls: Sequence[Call]) -> str:
    """A message that makes several calls, with a plan that says so."""
    names = list(dict.fromkeys(f"`{call['name']}`" for call in calls))
    if len(names) == 1:
        plan = f"Plan: use the tool {names[0]} {len(calls)} times."
    else:
        plan = f"Plan: use the tools {', '.join(names[:-1])} and {names[-1]}."
    return "\n".join([plan, *(render_call(call["name"], call["arguments"]) for call in calls)])


def _together(logprobs: Sequence[float]) -> float:
    return math.log(sum(map(math.exp, logprobs)) or 1e-300)


def _parameters(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool["function"].get("parameters") or {}
