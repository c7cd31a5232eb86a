"""`Asker`: the model requests of one run, each within its limits and counted.

A request is the trajectory's conversation as it is when it is sent, so each request extends the one
before it. A step is one message of the model; with ``planning="inline"`` the first one takes up to
three requests (small models: nine) on backends that render prompts themselves, which share their
prompt:

1. a free beginning: a message that does not open with a call is the whole message, and is kept;
2. for one that does, the plan, with which the message then begins;
3. the call that the plan names, behind the plan.

So the model decides whether it acts, and an acting one says first what it means to do. What a small
model means to call is drafted aside in place of 2 and 3 (`drafting`): its message is the draft that
fits the request best, or an answer in words after all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from . import planning
from .answers import AnswerError
from .backends.base import Finished, ModelInfo, ToolChoice
from .context import Context
from .drafting import Drafter, message_of
from .errors import Vetoed
from .events import Emit, StepStarted
from .hermes import render_call
from .hooks import BeforeModel, Veto
from .intent import announced_tool, shows_call
from .ledger import Ledger
from .limits import Sampling
from .memory.journal import Journal
from .memory.window import bytes_of
from .messages import UserMessage
from .results import Plan, RunStatus, Usage
from .sending import AsideStopped, Sender
from .setup import RunSetup
from .turn import FirstCall, Turn

_UNKNOWN_WINDOW = (
    "the context window is unknown, so nothing is compacted: pass Memory(context_window=…)"
)


class Asker:
    """Asks the model for one run; used by one task at a time.

    Args:
        setup: Limits and hooks.
        sender: Sends the requests.
        context: Is brought to fit the model's window before each message.
        journal: The log.
        ledger: Counts the steps.
        emit: Takes the events.
    """

    def __init__(
        self,
        setup: RunSetup,
        sender: Sender,
        context: Context,
        journal: Journal,
        ledger: Ledger,
        emit: Emit,
    ) -> None:
        self._setup = setup
        self._sender = sender
        self._trajectory = journal.trajectory
        self._context = context
        self._run_id = journal.run_id
        self._ledger = ledger
        self._emit = emit
        self._steps_taken = 0

    @property
    def step(self) -> int:
        """Number of the newest message of the model, over all runs of the conversation."""
        return self._ledger.step

    @property
    def info(self) -> ModelInfo | None:
        """What the backend serves; None before `describe`."""
        return self._sender.info

    async def describe(self) -> None:
        """Load or reach the model."""
        self._sender.info = info = await self._setup.backend.describe()
        self._context.describe(info)
        for note in (*info.notes, *self._setup.notes):
            self._sender.note(note)
        if self._context.budget is None:
            self._sender.note(_UNKNOWN_WINDOW)

    async def ask(
        self,
        *,
        prefill: str = "",
        stop_when: Callable[[str], bool] | None = None,
        tool_choice: ToolChoice = "auto",
    ) -> Turn | RunStatus:
        """Ask for one message; a second time where a call was lost or only talked about.

        Args:
            prefill: With what it begins, on backends that can.
            stop_when: Ends it early, on backends that can.
            tool_choice: See `ModelRequest`.

        Returns:
            The message, or the limit that forbids to ask for it.
        """
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        turn = await self._sender.request(
            sampling, prefill=prefill, stop_when=stop_when, tool_choice=tool_choice
        )
        return await self._recover(turn, tool_choice)

    async def ask_for_plan(self) -> Turn | RunStatus:
        """Ask for a message that is a plan, and nothing behind it where the backend can stop."""
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        prefill = f"{planning.PREFILL}\n1."
        return await self._sender.request(
            sampling, prefill=prefill, stop_when=planning.PlanEnd(prefill), only_plan=True
        )

    async def ask_with_plan(self, plan: Plan | None) -> Turn | RunStatus:
        """Ask for one message that says what it means to do before it does it.

        Args:
            plan: The message's plan when an earlier run has made it and was ended there.
        """
        sampling = await self._begin()
        if isinstance(sampling, RunStatus):
            return sampling
        if plan is not None:
            return await self._act(sampling, f"{planning.PREFILL} {plan.text}")
        turn = await self._sender.request(
            sampling, stop_when=planning.CallOpening(), unless_call=True
        )
        if not turn.opened_call:
            return await self._recover(turn, "auto")
        if not turn.whole:
            return turn
        self._sender.charge(turn.usage)
        if self._small_and_json:
            drafter = self._drafter()
            drafted = await self._drafted(drafter)
            if drafted is not None:
                return drafted
        sampling = await self._sender.affordable()
        if sampling is None:
            return RunStatus.max_tokens
        turn = await self._sender.request(
            sampling,
            prefill=planning.INLINE_PREFILL,
            stop_when=planning.line_ends,
            only_plan=True,
        )
        if not turn.whole:
            return turn
        self._sender.charge(turn.usage)
        sampling = await self._sender.affordable()
        if sampling is None:
            return RunStatus.max_tokens
        return await self._act(sampling, (turn.message.raw or "").rstrip())

    @property
    def _small_and_json(self) -> bool:
        """Whether drafts and begun calls, which are JSON, are for this model."""
        info = self.info
        return info is not None and info.small and info.profile.dialect == "json"

    def _drafter(self) -> Drafter:
        limits = self._setup.limits
        return Drafter(
            self._sender,
            self._context.messages(),
            self._context.tools.schemas,
            most=max(1, int(min(limits.max_parallel_tools, self._ledger.left.tool_calls))),
            alone={tool.name for tool in self._setup.tools if tool.requires_approval},
        )

    async def _drafted(self, drafter: Drafter) -> Turn | RunStatus | None:
        """The message that the drafted calls make, or the words in place of one that is not meant;
        None where nothing was drafted.
        """
        try:
            draft = await drafter.draft()
            if not draft.calls:
                return None
            first, *others = draft.calls
            meant = bool(others) or await drafter.is_meant(first)
        except AsideStopped:
            return RunStatus.stopped
        told = None if meant else await self._in_words()
        if told is not None:
            return told
        if self._setup.cancel.stopped:
            return RunStatus.stopped  # before its calls begin
        repairs = {index: notes for index, notes in enumerate(draft.notes) if notes}
        return await self._sender.written(
            message_of(draft), Finished("stop", Usage()), repairs=repairs, plan_known=False
        )

    async def _in_words(self) -> Turn | RunStatus | None:
        """The answer in words of a model that means no call; None where they are about one."""
        sampling = await self._sender.affordable()
        if sampling is None:
            return RunStatus.max_tokens
        turn = await self._sender.request(sampling, tool_choice="none", quiet=True)
        if turn.whole and shows_call(turn.answer, self._context.tools.names):
            self._sender.charge(turn.usage, aside=True)
            return None
        finished = Finished(turn.finish_reason, turn.usage, notes=turn.notes)
        told = await self._sender.written(
            turn.message.raw or "", finished, repairs={}, plan_known=True
        )
        return dataclasses.replace(told, whole=turn.whole)

    async def _act(self, sampling: Sampling, plan: str) -> Turn:
        """The rest of a message that begins with a plan; a small model's ends with its call."""
        if self.info is not None and self.info.profile.dialect != "json":
            # Begun here its call would be JSON, in which it was not taught to write.
            return await self._sender.request(sampling, prefill=f"{plan}\n\n", plan_known=True)
        schemas = self._context.tools.schemas
        small = self._small_and_json
        text = planning.begin_call(plan, schemas, small=small)
        complete = None
        if small:
            complete = FirstCall(text, schemas, bare_json=self._sender.bare_json)
        # A call that is begun here is told when it is known what of it stays; other text at once.
        begun = small and planning.named_tool(plan, schemas) is not None
        turn = await self._sender.request(
            sampling,
            prefill=text,
            stop_when=complete,
            plan_known=True,
            only_first_call=small,
            quiet=begun,
        )
        if begun:
            return await self._told(turn, plan)
        if not small or not turn.message.calls:
            return turn
        raw = planning.close_call(turn.message.raw or "")
        message = dataclasses.replace(turn.message, calls=turn.message.calls[:1], raw=raw)
        # What the model began behind the call is cut off with it.
        return dataclasses.replace(turn, message=message, failures={})

    async def _told(self, turn: Turn, plan: str) -> Turn:
        """A message whose one call nobody was told of yet, without values that were made up."""
        if not turn.whole:
            # Stopped before anybody was told of its call: that is none.
            message = dataclasses.replace(turn.message, calls=(), raw=None)
            return dataclasses.replace(turn, message=message)
        raw = turn.message.raw or ""
        finished = Finished(turn.finish_reason, turn.usage, notes=turn.notes)
        if not turn.message.calls:
            return await self._sender.written(raw, finished, repairs={}, plan_known=True)
        first, cut = turn.message.calls[0], planning.close_call(raw)
        call = {"name": first.name, "arguments": first.arguments}
        refined, notes = self._drafter().refined(call)
        if notes or (cut == raw and (turn.failures or len(turn.message.calls) > 1)):
            # Written anew; where it was cut and closed above, it had to be repaired no further.
            notes = (*(first.repairs if cut == raw else ()), *notes)
            cut = f"{plan}\n{render_call(refined['name'], refined['arguments'])}"
        repairs = {0: notes} if notes else {}
        return await self._sender.written(cut, finished, repairs=repairs, plan_known=True)

    async def _recover(self, turn: Turn, choice: ToolChoice) -> Turn:
        """The message, or in its place the answer to a second request.

        The second one has the same conversation, so it costs little more than its answer. It is
        made once, and only for a message without calls: those of another one must not be lost.
        """
        tool = None if turn.lost else self._talked_about(turn, choice)
        if (not turn.lost and tool is None) or not turn.whole:
            return turn
        if self.info is not None and self.info.forces_calls and not turn.arguments_lost:
            choice = "required" if choice == "auto" else choice
        elif tool is not None:
            return turn
        sampling = await self._sender.affordable(turn.usage.prompt_tokens)
        if sampling is None:
            return turn
        self._sender.charge(turn.usage)
        self._sender.note(
            turn.lost or f"the model only talked about a call of {tool}", "asked again"
        )
        again = await self._sender.request(sampling, tool_choice=choice, whole=bool(turn.lost))
        if again.message.calls or not turn.answer:
            return again
        if not again.whole:  # stopped: what was said first is kept, but is not what was asked for
            return dataclasses.replace(turn, whole=False)
        # The first one is charged already: with its message goes what the second one has cost.
        return dataclasses.replace(turn, usage=again.usage)

    def _talked_about(self, turn: Turn, choice: ToolChoice) -> str | None:
        if choice != "auto" or turn.message.calls or turn.failures or turn.finish_reason != "stop":
            return None
        tool = announced_tool(turn.answer, self._context.tools.names)
        return None if tool is None or self._is_answer(turn.answer) else tool

    def _is_answer(self, text: str) -> bool:
        """Whether a text is of the type that is asked for; of text in words nobody can tell."""
        if self._setup.answer.is_text:
            return False
        try:
            self._setup.answer.read(text)
        except AnswerError:
            return False
        return True

    async def _begin(self) -> Sampling | RunStatus:
        """Begin a step, unless a limit forbids it; its prompt fits then."""
        if self._steps_taken >= self._setup.limits.max_steps:
            return RunStatus.max_steps
        await self._before_model()
        try:
            await self._context.fit(self.step, self._sender.digest)
        except AsideStopped:
            return RunStatus.stopped
        sampling = await self._sender.affordable()
        if self._setup.cancel.stopped:
            return RunStatus.stopped
        if sampling is None:
            return RunStatus.max_tokens
        self._ledger.step += 1
        self._steps_taken += 1
        await self._emit(StepStarted(self.step))
        return sampling

    async def _before_model(self) -> None:
        """Let hooks look at what is asked.

        Raises:
            Vetoed: One of them does not want it to be.
        """
        if BeforeModel not in self._setup.hooks:
            return
        before = BeforeModel(
            run_id=self._run_id,
            step=self.step + 1,
            deps=self._setup.deps,
            messages=self._context.messages(),
            sampling=self._setup.sampling,
        )
        after = await self._setup.hooks.call(before)
        if isinstance(after, Veto):
            raise Vetoed(f"a hook stopped the run before the model was asked: {after.reason}")
        self._sender.sampling = after.sampling
        if after.note:
            note = self._setup.redact(after.note)
            tokens = self._context.tokens(bytes_of(note))
            message = UserMessage(note)
            self._trajectory.append("note", message, step=self.step, tokens=tokens)
