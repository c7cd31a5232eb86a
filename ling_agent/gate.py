"""`Gate`: what a call has to pass before it runs, and its result before anybody reads it.

Hooks come first, so that whoever approves a call sees the arguments that it would run with; what a
person edits passes them again.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json

import anyio

from .approvals import Approval, ApprovalRequest, Deny, Edit, keep
from .context import Context
from .hooks import AfterTool, BeforeTool, Veto
from .memory.journal import Journal
from .messages import ToolCall, ToolMessage
from .setup import RunSetup
from .tools import ToolOutcome


class Gate:
    """The hooks and approvals of one run's calls.

    Args:
        setup: Hooks, and the function that approves.
        journal: Decisions are written into its log.
        context: For the tools that the model has now.
        decisions: Those that there are, by call id.
    """

    def __init__(
        self,
        setup: RunSetup,
        journal: Journal,
        context: Context,
        decisions: dict[str, Approval],
    ) -> None:
        self._setup = setup
        self._journal = journal
        self._context = context
        self._decisions = decisions
        self._asking = anyio.Lock()

    async def passed(self, call: ToolCall, step: int) -> ToolCall | ToolMessage:
        """The call as it is to run, or the answer that says that it does not."""
        decision = self._decisions.get(call.id)
        if isinstance(decision, Deny):
            return self._denied(call, decision)
        if isinstance(decision, Edit):
            call = dataclasses.replace(call, arguments=dict(decision.arguments))
        return await self._hooked(call, step)

    def waits(self, call: ToolCall) -> bool:
        """Whether a person has to decide first."""
        tools = self._context.tools
        if call.name not in tools or call.id in self._decisions:
            return False
        return tools[call.name].needs_approval(call.arguments)

    async def ask(self, call: ToolCall, step: int) -> ToolCall | ToolMessage | None:
        """Have a call decided; None when that is left to a later time."""
        tool = self._context.tools[call.name]
        decision = await self.decide(
            ApprovalRequest(copy.deepcopy(call), tool, self._journal.run_id)
        )
        if decision is None:
            return None
        keep(self._journal.trajectory, call.id, decision, self._setup.redact_value)
        self._decisions[call.id] = Deny() if decision is False else decision
        # What was approved runs as it was shown: it has passed the hooks.
        return call if decision is True else await self.passed(call, step)

    async def decide(self, request: ApprovalRequest) -> Approval | None:
        """What the agent's function says, which sub-agents may ask, too: one question at a time."""
        assert self._setup.approve is not None
        async with self._asking:
            answer = self._setup.approve(request)
            return await answer if inspect.isawaitable(answer) else answer

    async def _hooked(self, call: ToolCall, step: int) -> ToolCall | ToolMessage:
        if BeforeTool not in self._setup.hooks:
            return call
        before = BeforeTool(
            run_id=self._journal.run_id,
            step=step,
            deps=self._setup.deps,
            call_id=call.id,
            name=call.name,
            arguments=copy.deepcopy(call.arguments),  # the message stays as the model wrote it
        )
        after = await self._setup.hooks.call(before)
        if isinstance(after, Veto):
            text = self._setup.redact(f"Error: {after.reason}")
            return ToolMessage(call.id, call.name, text, True)
        return dataclasses.replace(call, arguments=dict(after.arguments))

    async def after(self, call: ToolCall, outcome: ToolOutcome, step: int) -> ToolOutcome:
        """The outcome as everybody reads it: as hooks have left it, without secrets."""
        outcome = self._redacted(outcome)
        ran = outcome.attempts > 0 and outcome.ended
        if AfterTool not in self._setup.hooks or not ran:
            return outcome
        before = AfterTool(
            run_id=self._journal.run_id,
            step=step,
            deps=self._setup.deps,
            call=copy.deepcopy(call),
            text=outcome.text,
            is_error=outcome.is_error,
            value=outcome.value,
            seconds=outcome.seconds,
        )
        after = await self._setup.hooks.call(before)
        if isinstance(after, Veto):
            changed = dataclasses.replace(outcome, text=f"Error: {after.reason}", is_error=True)
        else:
            changed = dataclasses.replace(outcome, text=after.text, is_error=after.is_error)
        return self._redacted(changed)

    def changed(self, call: ToolCall) -> str:
        """What the model is told of arguments that are not those that it wrote."""
        who = "user" if isinstance(self._decisions.get(call.id), Edit) else "application"
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        return self._setup.redact(f"(The {who} changed the arguments to {arguments}.)")

    def shown(self, call: ToolCall) -> ToolCall:
        """The call without secrets, which a hook may have put into its arguments."""
        return self._setup.redact_value(call)

    def _redacted(self, outcome: ToolOutcome) -> ToolOutcome:
        text, notes = self._setup.redact(outcome.text), self._setup.redact_value(outcome.notes)
        if text is outcome.text and notes is outcome.notes:
            return outcome
        return dataclasses.replace(outcome, text=text, notes=notes)

    def _denied(self, call: ToolCall, decision: Deny) -> ToolMessage:
        text = self._setup.redact(f"Error: this call was not approved: {decision.reason}")
        return ToolMessage(call.id, call.name, text, True)
