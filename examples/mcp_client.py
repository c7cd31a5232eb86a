"""Tools from an MCP server, which is started as a process. ``python examples/mcp_client.py``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from ling_agent import Agent
from ling_agent.backends import Backend
from ling_agent.mcp import MCPServer

SERVER = Path(__file__).with_name("mcp_notes_server.py")
QUESTIONS = ("When do I have to be at the dentist?", "Note that the milk is in the fridge.")


def notes_server() -> MCPServer:
    """The server's tools but the one that deletes; writing needs approval."""
    return MCPServer.stdio(
        sys.executable,
        str(SERVER),
        exclude=["delete_notes"],
        requires_approval=["add_note"],
    )


async def main(backend: Backend | str | None) -> list[str | None]:
    """Ask each question; returns the answers."""
    answers: list[str | None] = []
    async with notes_server() as server:  # one connection for all runs
        agent = Agent(
            backend,
            tools=[server],
            instructions="You look after the user's notes.",
            approve=lambda request: request.call.name == "add_note",  # ask somebody here
        )
        for question in QUESTIONS:
            result = await agent.run(question)
            calls = [call for step in result.steps for call in step.message.calls]
            print(question, *(f"  → {call.name}({call.arguments})" for call in calls), sep="\n")
            print(f"  {result.output}\n")
            answers.append(result.output)
    return answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", help="for example vllm:http://localhost:8000")
    asyncio.run(main(parser.parse_args().backend))
