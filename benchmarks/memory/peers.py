"""Other libraries' memory on the same steps: ``python -m …memory.peers NAME TEXTS STEPS``.

Their memory alone, without a server and without their agents' own work: what is kept of each step,
and what is read before it. None is a dependency of this project, so they are imported by name; see
``benchmarks/requirements-peers.txt``.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .steps import TASK, TOOL, Model, Steps


@dataclass(frozen=True, slots=True)
class Peer:
    """A library.

    Attributes:
        title: What the table calls it.
        distributions: What has to be installed.
        most: Steps that it is given at most.
        work: Keeps so many steps in a file; returns CPU seconds up to each of them.
    """

    title: str
    distributions: tuple[str, ...]
    most: int
    work: Callable[[Script, Path], Coroutine[Any, Any, list[float]]]

    def versions(self) -> dict[str, str] | None:
        """Installed versions; None when one is missing."""
        try:
            return {name: importlib.metadata.version(name) for name in self.distributions}
        except importlib.metadata.PackageNotFoundError:
            return None


class Script:
    """What the model and the tool say in each step; counts the text of it."""

    def __init__(self, steps: Steps, count: int) -> None:
        self._steps, self._model = steps, Model()
        self.count = count
        self.raw = len(TASK)

    def step(self, number: int) -> tuple[str, str, str]:
        """The model's sentence, its call's arguments and the observation."""
        arguments = json.dumps(self._model.arguments(number), ensure_ascii=False)
        sentence, observation = self._model.sentence(), self._steps.observation(number)
        called = f"{sentence}\n{TOOL}({arguments})"
        self.raw += len(called.encode()) + len(observation.encode())
        return sentence, arguments, observation


async def _openai_agents(script: Script, path: Path) -> list[float]:
    """A session: it is read before each turn, and what is new is appended."""
    agents: Any = import_module("agents")
    session = agents.SQLiteSession("long", path)
    await session.add_items([{"role": "user", "content": TASK}])
    cpu: list[float] = []
    for number in range(1, script.count + 1):
        said, arguments, observation = script.step(number)
        cpu.append(time.process_time())
        await session.get_items()
        id_ = f"call_{number}"
        call = {"type": "function_call", "call_id": id_, "name": TOOL, "arguments": arguments}
        output = {"type": "function_call_output", "call_id": id_, "output": observation}
        await session.add_items([{"role": "assistant", "content": said}, call, output])
    session.close()
    return cpu


async def _langgraph(script: Script, path: Path) -> list[float]:
    """A graph of two nodes, model and tool, with a checkpoint behind each."""
    graphs: Any = import_module("langgraph.graph")
    sqlite: Any = import_module("langgraph.checkpoint.sqlite.aio")
    messages: Any = import_module("langchain_core.messages")
    cpu: list[float] = []
    observed: list[str] = []

    async def model(_: dict[str, Any]) -> dict[str, Any]:
        cpu.append(time.process_time())
        if len(cpu) > script.count:
            return {"messages": [messages.AIMessage("done")]}
        said, arguments, observation = script.step(len(cpu))
        observed[:] = [observation]
        call = {"name": TOOL, "args": json.loads(arguments), "id": f"call_{len(cpu)}"}
        return {"messages": [messages.AIMessage(said, tool_calls=[call])]}

    async def tool(_: dict[str, Any]) -> dict[str, Any]:
        id_ = f"call_{len(cpu)}"
        return {"messages": [messages.ToolMessage(observed[0], tool_call_id=id_, name=TOOL)]}

    def go_on(_: dict[str, Any]) -> str:
        return "tool" if len(cpu) <= script.count else graphs.END

    for node in (model, tool, go_on):
        node.__annotations__.clear()  # the graph would resolve them, and cannot
    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("model", model)
    builder.add_node("tool", tool)
    builder.add_edge(graphs.START, "model")
    builder.add_conditional_edges("model", go_on, ["tool", graphs.END])
    builder.add_edge("tool", "model")
    config = {"configurable": {"thread_id": "long"}, "recursion_limit": 2 * script.count + 5}
    async with sqlite.AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.ainvoke({"messages": [messages.HumanMessage(TASK)]}, config)
    return cpu


PEERS: Mapping[str, Peer] = {
    "openai-agents": Peer(
        "openai-agents `SQLiteSession`", ("openai-agents",), 3000, _openai_agents
    ),
    "langgraph": Peer(
        "langgraph `AsyncSqliteSaver`",
        ("langgraph", "langgraph-checkpoint-sqlite"),
        600,
        _langgraph,
    ),
}


def _main(name: str, texts: Path, count: int) -> None:
    os.environ["LANGSMITH_TRACING"] = "false"
    steps = Steps(texts)
    script = Script(steps, count)
    with tempfile.TemporaryDirectory(dir=texts.parent) as folder:
        cpu = asyncio.run(PEERS[name].work(script, Path(folder) / "peer.db"))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    steps.close()
    print(json.dumps({"cpu": cpu, "raw": script.raw, "file": size}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
