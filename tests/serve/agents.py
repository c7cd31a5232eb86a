"""What the tests of the app share: scripted agents, and what must not be told."""

from __future__ import annotations

from typing import Any

import anyio

from ling_agent import (
    Agent,
    tool,
)
from ling_agent.backends import Backend, ModelInfo, ModelRequest
from ling_agent.messages import to_openai
from ling_agent.testing import ScriptedBackend

PATH = "/v1/chat/completions"
SECRET = "sk-4711-very-secret"
PRIVATE = "http://10.1.2.3:8000/v1 /home/me/model.gguf " + SECRET


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def agent_of(*script: Any, **options: Any) -> Agent[Any]:
    options = {"planning": "off", "tools": [add], **options}
    backend = script[0] if script and isinstance(script[0], Backend) else ScriptedBackend(script)
    return Agent(backend, **options)


def newest(request: ModelRequest) -> str:
    """The newest message, as the answer."""
    return to_openai(request.messages[-1])["content"]


class LateBackend(ScriptedBackend):
    """A model that says "late" when it is told to."""

    def __init__(self, told: anyio.Event) -> None:
        super().__init__(["late"])
        self._told = told

    async def describe(self) -> ModelInfo:
        await self._told.wait()
        return await super().describe()


def kept(agent: Agent[Any]) -> list[str]:
    """Names of what the agent's memory holds."""
    return [info.run_id for info in agent.memory.store.runs()]
