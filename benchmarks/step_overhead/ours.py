"""The contender that this project is: an `Agent` over `VLLMBackend`."""

from __future__ import annotations

from ling_agent import Agent, RunResult
from ling_agent.backends import VLLMBackend

from . import script
from .task import search_marketplace


class LingAgent:
    """One agent for each way, as an application has it: shared by all runs."""

    def __init__(self, url: str) -> None:
        self._plain, self._streamed = (
            Agent(
                VLLMBackend(url, stream=stream),
                tools=[search_marketplace],
                planning="off",
            )
            for stream in (False, True)
        )

    async def plain(self) -> str:
        return await _run(self._plain)

    async def streamed(self) -> str:
        async with self._streamed.stream(script.TASK) as run:
            async for _ in run:
                pass
        return _output(run.result)


async def _run(agent: Agent) -> str:
    return _output(await agent.run(script.TASK))


def _output(result: RunResult) -> str:
    if not result.ok:
        raise RuntimeError(f"the run ended as {result.status}: {result.error}")
    return result.output or ""
