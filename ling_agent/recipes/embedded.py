"""The embedded engine: a Python file with an agent, no server at all."""

from __future__ import annotations

from ..catalog import CATALOG
from . import llama_cpp, yarn
from .launch import Launch


def target(launch: Launch) -> str:
    """What stands behind ``llamacpp:``: the catalogue's alias, or the name of a file of yours."""
    entry = CATALOG.get(launch.model.id)
    if entry is not None and launch.format.replace("_", "") in entry.description.lower().replace(
        "_", ""
    ):
        return entry.alias
    return f"./{llama_cpp.file_name(launch)}"


def command(launch: Launch) -> list[str]:
    """The command that asks the agent of the file something.

    Raises:
        ConfigurationError: A window that is longer than the model's own.
    """
    yarn.refuse(launch, "the embedded engine")
    return ["ling-agent", "run", "What is the capital of France?", "--agent", "agent:agent"]


def program(launch: Launch, header: str) -> str:
    """The Python file, below comments."""
    options = [f"n_ctx={launch.context:_}", f"n_parallel={launch.parallel or 1}"]
    if launch.cpu_experts:
        options.append(f"n_cpu_moe={launch.cpu_experts}")
    return f"""{header}
from ling_agent import Agent
from ling_agent.backends import LlamaCppBackend

backend = LlamaCppBackend("{target(launch)}", {", ".join(options)})
agent = Agent(backend)

if __name__ == "__main__":
    print(agent.run_sync("What is the capital of France?").output)
"""
