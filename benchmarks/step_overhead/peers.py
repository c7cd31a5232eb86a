"""The contenders that are agent libraries by others.

Each is set up as its documentation shows for an OpenAI-compatible server, without tracing and
telemetry, with the cheapest of its ways where there are several. None is a dependency of this
project, so they are imported by name: see ``benchmarks/requirements-peers.txt``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from . import script
from .task import search_marketplace

_MAX_STEPS = 2 * script.STEPS + 5
"""For libraries that bound a run; some count a call and its result apart."""


class OpenaiAgents:
    """openai-agents with its model class for chat completions."""

    def __init__(self, url: str) -> None:
        agents: Any = import_module("agents")
        openai: Any = import_module("openai")
        agents.set_tracing_disabled(True)
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
        self._runner = agents.Runner
        self._options = {
            "max_turns": _MAX_STEPS,
            "run_config": agents.RunConfig(tracing_disabled=True),
        }
        self._agent = agents.Agent(
            name="searcher",
            model=agents.OpenAIChatCompletionsModel(model=script.MODEL, openai_client=client),
            tools=[agents.function_tool(search_marketplace)],
        )

    async def plain(self) -> str:
        result = await self._runner.run(self._agent, script.TASK, **self._options)
        return result.final_output

    async def streamed(self) -> str:
        result = self._runner.run_streamed(self._agent, script.TASK, **self._options)
        async for _ in result.stream_events():
            pass
        return result.final_output


class PydanticAi:
    """pydantic-ai with its model class for chat completions."""

    def __init__(self, url: str) -> None:
        pydantic_ai: Any = import_module("pydantic_ai")
        models: Any = import_module("pydantic_ai.models.openai")
        providers: Any = import_module("pydantic_ai.providers.openai")
        provider = providers.OpenAIProvider(base_url=f"{url}/v1", api_key="none")
        model = models.OpenAIChatModel(script.MODEL, provider=provider)
        self._agent = pydantic_ai.Agent(model, tools=[search_marketplace])

    async def plain(self) -> str:
        return (await self._agent.run(script.TASK)).output

    async def streamed(self) -> str:
        output = ""
        async with self._agent.run_stream_events(script.TASK) as events:
            async for event in events:
                if event.event_kind == "agent_run_result":
                    output = event.result.output
        return output


class Langgraph:
    """A graph of two nodes, model and tools: cheaper than `create_agent`, which adds middleware."""

    def __init__(self, url: str) -> None:
        os.environ["LANGSMITH_TRACING"] = "false"
        graph: Any = import_module("langgraph.graph")
        prebuilt: Any = import_module("langgraph.prebuilt")
        langchain_openai: Any = import_module("langchain_openai")
        tools: Any = import_module("langchain_core.tools")
        tool = tools.tool(search_marketplace)
        model = langchain_openai.ChatOpenAI(
            model=script.MODEL, base_url=f"{url}/v1", api_key="none", stream_usage=True
        ).bind_tools([tool])

        async def ask(state: dict[str, Any]) -> dict[str, Any]:
            return {"messages": [await model.ainvoke(state["messages"])]}

        # The graph reads the annotations of a node, and those here are text it cannot resolve.
        ask.__annotations__.clear()
        builder = graph.StateGraph(graph.MessagesState)
        builder.add_node("model", ask)
        builder.add_node("tools", prebuilt.ToolNode([tool]))
        builder.add_edge(graph.START, "model")
        builder.add_conditional_edges("model", prebuilt.tools_condition)
        builder.add_edge("tools", "model")
        self._graph = builder.compile()
        self._config = {"recursion_limit": _MAX_STEPS}
        self._input = {"messages": [{"role": "user", "content": script.TASK}]}

    async def plain(self) -> str:
        state = await self._graph.ainvoke(self._input, self._config)
        return state["messages"][-1].content

    async def streamed(self) -> str:
        output, message = "", None
        events = self._graph.astream(self._input, self._config, stream_mode="messages")
        async for chunk, _ in events:
            if chunk.id != message:
                output, message = "", chunk.id
            output += chunk.content
        return output


class Agno:
    """agno with its model class for OpenAI-compatible servers."""

    def __init__(self, url: str) -> None:
        os.environ["AGNO_TELEMETRY"] = "false"
        agent: Any = import_module("agno.agent")
        models: Any = import_module("agno.models.openai")
        self._agent = agent.Agent(
            model=models.OpenAILike(id=script.MODEL, base_url=f"{url}/v1", api_key="none"),
            tools=[search_marketplace],
            telemetry=False,
        )

    async def plain(self) -> str:
        return (await self._agent.arun(script.TASK)).content

    async def streamed(self) -> str:
        output = None
        async for event in self._agent.arun(script.TASK, stream=True, yield_run_output=True):
            output = event
        return output.content if output is not None else ""
