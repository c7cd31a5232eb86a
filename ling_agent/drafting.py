"""`Drafter`: what a small model means to call, found out before it says so in a message.

A small model calls when it need not, calls once where several calls are asked for, picks another
tool when it is asked in another way, and makes values up. So the first message of a run is drafted
aside, in questions that are not kept and whose prompts share the live one:

1. all calls, twice: as lines of Python behind six demonstrations, and as a list in JSON behind
   none; a third time, as lines with comments, where the two differ and several calls may be meant.
   What is not called for by the conversation is left out (`grounding`), and a draft ends there.
2. Where one call is meant: a plan that names a tool, and the call behind it, as the model was
   taught to write it. Python is right about arguments more often, the plan about the tool.
3. Of drafts that differ, the one is made that takes up most of the request (`coverage`).
4. For one call: whether its tool does what is asked and is needed for it, as the odds of "yes"
   against "no".

So several of a model's guesses are weighed against each other and against what was said; a large
model needs none of that. What each part brings is measured in docs/evaluation.md.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from . import planning
from .backends.base import DRAFTS, DraftForm
from .coverage import taken_up
from .demonstrations import COMMENTED, IN_PYTHON
from .errors import ContextOverflow
from .grounding import Call, Conversation, called_for, share_said, without_inventions
from .hermes import render_call
from .hermes.python_calls import json_value, read_calls
from .messages import Message, UserMessage
from .sending import Sender
from .turn import FirstCall, Turn

QUESTIONS = (
    "First answer yes or no: does `{tool}` do what I ask?",
    "First answer yes or no: do you need `{tool}` for this?",
)
_YES, _NO = ("yes", "Yes"), ("no", "No")
_FOR_SAID_VALUES = 0.5  # natural logarithm; the model says no too easily where all was said
_FOR_ANOTHER_TOOL = 1  # than the planned one: that is right more often
_SHOWN: Mapping[DraftForm, Sequence[Message]] = {
    "listed": (),
    "python": IN_PYTHON,
    "commented": COMMENTED,
}
_NEXT_CALL = re.compile(r"[\s,]*(?={)")


@dataclass(frozen=True, slots=True)
class Draft:
    """Calls as they may be made.

    Attributes:
        calls: Without values that were made up.
        notes: What was repaired in each, and left out of it.
        plan: The line that the model has written before them; empty when it has not.
        text: Plan and calls as the model has written them; empty where they are to be written anew.
    """

    calls: tuple[Call, ...] = ()
    notes: tuple[tuple[str, ...], ...] = dataclasses.field(default=(), compare=False)
    plan: str = dataclasses.field(default="", compare=False)
    text: str = dataclasses.field(default="", compare=False)

    def first(self, most: int) -> Draft:
        """The first calls of it."""
        return dataclasses.replace(self, calls=self.calls[:most], notes=self.notes[:most])


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
        said = [message.content for message in messages if isinstance(message, UserMessage)]
        self._request = said[-1] if said else ""
        self._most = most
        self._alone = alone

    async def draft(self) -> Draft:
        """The calls that the model would make and that are called for; none when it names none.

        Raises:
            AsideStopped: The run is to end.
            BackendError: The model cannot be asked.
        """
        python, listed = await self._drafted("python"), await self._drafted("listed")
        drafts = [python, listed]
        if python != listed and (len(python.calls) > 1 or len(listed.calls) > 1):
            drafts.append(await self._drafted("commented"))
        several = [draft for draft in drafts if len(draft.calls) > 1]
        if len(python.calls) > 1 or 2 * len(several) > len(drafts):
            return self._together(self._best(several))
        return self._fuller(await self._planned(), python.first(1))

    async def is_meant(self, call: Call) -> bool:
        """Whether the model finds that the call's tool does what is asked; True if unknown.

        Raises:
            AsideStopped: The run is to end.
            BackendError: The model cannot be asked.
        """
        odds: list[float] = []
        for question in QUESTIONS:
            told = await self._odds(question.format(tool=call["name"]))
            if told is None:
                return True
            odds.append(told)
        said = share_said(call, self._schemas[call["name"]], self._conversation)
        return sum(odds) / len(odds) + _FOR_SAID_VALUES * said >= 0

    def refined(self, call: Call) -> tuple[Call, tuple[str, ...]]:
        """The call without optional values that were made up, and what was left out."""
        schema = self._schemas.get(call["name"])
        if schema is None:
            return call, ()
        arguments, notes = without_inventions(call["arguments"], schema, self._conversation)
        return {"name": call["name"], "arguments": arguments}, notes

    def _best(self, drafts: Sequence[Draft]) -> Draft:
        """The draft that takes up most of the request, of equals the first."""
        return max(drafts, key=self._held)

    def _fuller(self, planned: Draft, python: Draft) -> Draft:
        """Of two drafts of one call the one that takes up more of the request."""
        if not planned.calls or not python.calls:
            return planned if planned.calls else python
        same_tool = planned.calls[0]["name"] == python.calls[0]["name"]
        more = self._held(python) - self._held(planned)
        if more <= (0 if same_tool else _FOR_ANOTHER_TOOL):
            return planned
        return dataclasses.replace(python, plan=planned.plan) if same_tool else python

    def _held(self, draft: Draft) -> int:
        return taken_up(draft.calls, self._request, self._conversation)

    def _together(self, draft: Draft) -> Draft:
        """As many of the calls as may be made at once."""
        alone = (at for at, call in enumerate(draft.calls) if call["name"] in self._alone)
        end = next(alone, None)
        return draft.first(self._most if end is None else min(self._most, max(end, 1)))

    async def _drafted(self, form: DraftForm) -> Draft:
        written = DRAFTS[form]
        turn = await self._ask(
            shown=_SHOWN[form],
            tool_choice=form,
            prefill=written.prefill,
            stop_when=self._end(form),
        )
        text = "" if turn is None else (turn.message.raw or "")
        calls = self._read(text.removeprefix(written.prefill), form)
        return self._draft_of(called_for(calls, self._conversation, self._tools))

    async def _planned(self) -> Draft:
        """The one call that the model makes behind a plan, which says with which tool."""
        turn = await self._ask(prefill=planning.INLINE_PREFILL, stop_when=planning.line_ends)
        plan = "" if turn is None else (turn.message.raw or "").strip().partition("\n")[0].rstrip()
        if planning.named_tool(plan, self._tools) is None:
            return Draft()
        begun = planning.begin_call(plan, self._tools, small=True)
        end = FirstCall(begun, self._tools, bare_json=self._sender.bare_json)
        turn = await self._ask(prefill=begun, stop_when=end)
        if turn is None or not turn.message.calls:
            return Draft()
        first, raw = turn.message.calls[0], turn.message.raw or ""
        cut = planning.close_call(raw)
        # Where it was cut and closed it had to be repaired no further.
        repairs = first.repairs if cut == raw else ()
        made = {"name": first.name, "arguments": first.arguments}
        draft = self._draft_of([made], [repairs], plan)
        more = cut == raw and (turn.failures or len(turn.message.calls) > 1)
        return draft if more or draft.notes != (repairs,) else dataclasses.replace(draft, text=cut)

    def _draft_of(
        self, calls: Sequence[Call], repairs: Sequence[tuple[str, ...]] = (), plan: str = ""
    ) -> Draft:
        refined = [self.refined(call) for call in calls]
        repaired = [*repairs, *[()] * (len(calls) - len(repairs))]
        notes = ((*each, *left) for each, (_, left) in zip(repaired, refined, strict=True))
        return Draft(tuple(call for call, _ in refined), tuple(notes), plan)

    async def _odds(self, question: str) -> float | None:
        turn = await self._ask(question, max_tokens=1, weigh=(*_YES, *_NO))
        if turn is None or not turn.weights:
            return None
        yes, no = turn.weights[: len(_YES)], turn.weights[len(_YES) :]
        return _sum_of(yes) - _sum_of(no)

    async def _ask(self, question: str = "", **wish: Any) -> Turn | None:
        """The model's answer, charged; None where it cannot be had."""
        try:
            turn = await self._sender.aside(question, **wish)
        except ContextOverflow:
            return None
        if turn is not None:
            self._sender.charge(turn.usage, aside=True)
        return turn

    def _end(self, form: DraftForm) -> Callable[[str], bool]:
        """Says when a draft need not go on: a call that is not called for, or enough of them."""
        text = ""
        closing = "}" if form == "listed" else ")"

        def is_over(piece: str) -> bool:
            nonlocal text
            text += piece
            if closing not in piece:
                return False
            complete = self._read(text, form)
            kept = called_for(complete, self._conversation, self._tools)
            return len(kept) < len(complete) or len(kept) >= self._most

        return is_over

    def _read(self, text: str, form: DraftForm) -> list[Call]:
        """The complete calls of a draft, whatever comes behind them."""
        if form != "listed":
            return list(read_calls(text, self._schemas))
        return list(self._read_list(text))

    def _read_list(self, text: str) -> Iterator[Call]:
        at = 0
        while begins := _NEXT_CALL.match(text, at):
            read = json_value(text, begins.end())
            if read is None or not self._is_call(read[0]):
                return
            value, at = read
            yield value

    def _is_call(self, value: object) -> bool:
        if not isinstance(value, Mapping):
            return False
        call = cast("Mapping[str, object]", value)
        name = call.get("name")
        known = isinstance(name, str) and name in self._schemas
        return known and isinstance(call.get("arguments"), Mapping)


def message_of(draft: Draft) -> str:
    """A message that makes the calls, with a plan that says so."""
    if draft.text:
        return draft.text
    calls = draft.calls
    names = list(dict.fromkeys(f"`{call['name']}`" for call in calls))
    if draft.plan:
        plan = draft.plan
    elif len(calls) == 1:
        plan = f"Plan: use the tool {names[0]}."
    elif len(names) == 1:
        plan = f"Plan: use the tool {names[0]} {len(calls)} times."
    else:
        plan = f"Plan: use the tools {', '.join(names[:-1])} and {names[-1]}."
    return "\n".join([plan, *(render_call(call["name"], call["arguments"]) for call in calls)])


def _sum_of(logprobs: Sequence[float]) -> float:
    return math.log(sum(map(math.exp, logprobs)) or 1e-300)


def _parameters(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool["function"].get("parameters") or {}
