"""The `openai` client and an agent behind OpenAI's chat API. ``python examples/api_client.py``.

It serves the agent itself, in a thread. With ``--url`` it asks a server that runs already, such as
``ling-agent serve examples.api_client:agent``; nothing else changes.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
from collections.abc import Generator
from typing import Any

import openai
import uvicorn

from ling_agent import Agent, tool
from ling_agent.backends import Backend

QUESTION = "Which rivers flow through Lyon?"


@tool
def rivers(city: str) -> list[str]:
    """The rivers that flow through a city."""
    return {"Lyon": ["Rhône", "Saône"], "Turin": ["Po", "Dora"]}[city]


def build_agent(backend: Backend | str | None = None) -> Agent:
    """The agent that is served; its name is the model's name of a request."""
    return Agent(backend, tools=[rivers], planning="off", name="rivers")


def ask(url: str) -> str:
    """Print an answer as it comes, with what the agent does in between; returns the answer."""
    said: list[str] = []
    with openai.OpenAI(base_url=url, api_key="none") as client:
        chunks = client.chat.completions.create(
            model="rivers", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        for chunk in chunks:
            text = chunk.choices[0].delta.content or ""
            said.append(text)
            print(text, end="", flush=True)
            # What plain clients ignore: the event of the run that the chunk is made of.
            extension: Any = chunk.model_extra
            match extension["ling_agent"]["event"]:
                case {"type": "tool_started", "call": call}:
                    print(f"→ {call['name']}({call['arguments']})")
                case {"type": "tool_finished", "observation": observation}:
                    print(f"← {observation['content']}")
                case _:
                    pass
    print()
    return "".join(said)


@contextlib.contextmanager
def served(backend: Backend | str | None) -> Generator[str, None, None]:
    """The agent on a free port; gives the base URL."""
    app = build_agent(backend).asgi()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


def main(backend: Backend | str | None = None, url: str | None = None) -> str:
    """Ask a server, or one of our own."""
    with contextlib.nullcontext(url) if url else served(backend) as base_url:
        return ask(base_url)


agent = build_agent()
"""For ``ling-agent serve``; nothing is loaded before the first run."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", help="for example vllm:http://localhost:8000")
    parser.add_argument("--url", help="of a server that runs, for example http://127.0.0.1:8000/v1")
    options = parser.parse_args()
    main(options.backend, options.url)
