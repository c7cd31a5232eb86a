"""The two sides of a simulation as the package wants them, each asked by its orchestrator's thread.

Import it after `package.load`: the base class is the package's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from anyio import from_thread

from ...backends import Backend, ModelRequest
from ...events import Event
from ...limits import Sampling
from ...messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ...results import Usage
from ...turn import TurnReader
from . import package
from .dialogue import Call, Dialogue, Observation

_LocalAgent: Any = package.part("agent.base").LocalAgent
_prompts: Any = package.part("agent.llm_agent")
_messages: Any = package.part("data_model.message")


def instructions(policy: str) -> str:
    """The system prompt that the package's own agent has, for a domain's policy."""
    return _prompts.SYSTEM_PROMPT.format(
        domain_policy=policy, agent_instruction=_prompts.AGENT_INSTRUCTION
    )


class TestedAgent(_LocalAgent):
    """Our agent in the place of the package's.

    Its state is nothing: the `Dialogue` holds the conversation.

    Args:
        tools: The environment's.
        policy: The domain's.
        dialogue: With the agent; it lives in the event loop that waits for this thread.
    """

    __test__ = False  # pytest would take its name for that of a test

    def __init__(self, tools: Sequence[Any], policy: str, dialogue: Dialogue) -> None:
        _LocalAgent.__init__(self, tools=tools, domain_policy=policy)
        self._dialogue = dialogue

    def get_init_state(self, message_history: Sequence[Any] | None = None) -> None:
        """Begin with what was said before; at least the agent's greeting, which is fixed."""
        from_thread.run(
            self._dialogue.begin, [_openai(message) for message in message_history or ()]
        )

    def generate_next_message(self, message: Any, state: None) -> tuple[Any, None]:
        """The agent's next move, for a message of the user or the result of the call before.

        A message has words or a call, never both, as the protocol wants it; several calls that the
        model made in one message come one after the other.
        """
        if message.role == "tool":
            move = from_thread.run(self._dialogue.next, Observation(message.content, message.error))
        else:
            move = from_thread.run(self._dialogue.next, message.content)
        if isinstance(move, Call):
            call = _messages.ToolCall(id=move.id, name=move.name, arguments=move.arguments)
            return _messages.AssistantMessage(role="assistant", tool_calls=[call]), state
        return _messages.AssistantMessage(role="assistant", content=move), state

    def set_seed(self, seed: int) -> None:
        """It has its seed already, in its `Sampling`."""


def _openai(message: Any) -> dict[str, Any]:
    """A message of the package as OpenAI's chat API writes it."""
    data: dict[str, Any] = {"role": message.role, "content": message.content or ""}
    if message.role == "tool":
        return data | {"tool_call_id": message.id}
    if message.tool_calls:
        data["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return data


class Completion:
    """A backend in the place of a model's name: completes a conversation of the package.

    Args:
        backend: Any of ours.
        sampling: How it samples.
        conversation: For the backend's prefix cache.

    Attributes:
        usage: What it has cost so far.
    """

    def __init__(self, backend: Backend, sampling: Sampling, conversation: str) -> None:
        self._backend = backend
        self._sampling = sampling
        self._conversation = conversation
        self._step = 0
        self.usage = Usage()

    def __call__(
        self, messages: Sequence[Any], tools: Sequence[Any] | None = None, **settings: Any
    ) -> Any:
        """Called in the orchestrator's thread.

        Raises:
            BackendError: The model cannot be asked.
        """
        seed = settings.get("seed", self._sampling.seed)
        request = ModelRequest(
            messages=_ours(messages),
            tools=tuple(tool.openai_schema for tool in tools or ()),
            sampling=dataclasses.replace(self._sampling, seed=seed),
            conversation=self._conversation,
            watched=False,
        )
        return from_thread.run(self._complete, request)

    async def _complete(self, request: ModelRequest) -> Any:
        info = await self._backend.describe()
        self._step += 1
        reader = TurnReader(
            request,
            step=self._step,
            bare_json=bool(request.tools) and info.profile.bare_json,
            keep_raw=False,
            emit=_nobody,
            on_plan=_no_plan,
            starts_in_reasoning=self._backend.renders_prompts and info.profile.starts_in_reasoning,
        )
        turn = await reader.read(self._backend)
        self.usage += turn.usage
        calls = [
            _messages.ToolCall(id=call.id, name=call.name, arguments=call.arguments)
            for call in turn.message.calls
            if request.tools
        ]
        # Who has no tools writes no calls, whatever the text looks like.
        text = turn.message.content if request.tools else turn.message.content or reader.partial
        return _messages.AssistantMessage(
            role="assistant", content=text or None, tool_calls=calls or None
        )


def _ours(messages: Sequence[Any]) -> tuple[Message, ...]:
    """Messages of the package as a backend takes them."""
    names: dict[str, str] = {}
    converted: list[Message] = []
    for message in messages:
        text: str = message.content or ""
        match message.role:
            case "system":
                converted.append(SystemMessage(text))
            case "user":
                converted.append(UserMessage(text))
            case "tool":
                name = names.get(message.id, "")
                converted.append(ToolMessage(message.id, name, text, message.error))
            case _:
                calls = tuple(
                    ToolCall(call.id, call.name, call.arguments)
                    for call in message.tool_calls or ()
                )
                names |= {call.id: call.name for call in calls}
                converted.append(AssistantMessage(text, calls=calls))
    return tuple(converted)


async def _nobody(*events: Event) -> None:
    """Nobody looks on while a simulated user writes."""


async def _no_plan(text: str) -> None:
    """A simulated user that writes a plan has said so in its own words."""
