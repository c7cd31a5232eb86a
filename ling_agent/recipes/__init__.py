"""Recipes: how a model is served on some cards, as a command line and as a file.

>>> from ling_agent import recipes
>>> recipes.command("ling-2.6-flash", server="vllm", format="fp8", gpus=2)
'vllm serve inclusionAI/Ling-2.6-flash-fp8 --served-model-name ling-2.6-flash …'

Everything in them is from `ling_agent.facts`, and what fits is the planner's answer
(`ling_agent.fit`). ``ling-agent recipe`` writes them; the folder ``deploy`` of the repository holds
those of the usual hardware.
"""

from __future__ import annotations

from .. import facts
from ..facts import ModelFacts
from .choosing import make, require, server_named
from .launch import KEY, SERVERS, Launch, ServerName, one_line
from .recipe import Recipe, default_port
from .wish import RAM, Wish
from .writing import write

__all__ = [
    "KEY",
    "RAM",
    "SERVERS",
    "Recipe",
    "ServerName",
    "Wish",
    "command",
    "make",
    "write",
]


def command(
    model: str | ModelFacts,
    *,
    server: str,
    format: str,  # noqa: A002 - the field's own word
    gpus: int = 1,
    context: int | None = None,
    concurrency: int | None = None,
    port: int | None = None,
    cpu_experts: int = 0,
) -> str:
    """The command line that starts a server, as one line of shell. It holds no key.

    Nothing is checked for its size: the caller has done that.

    Args:
        model: Its name, or its facts.
        server: ``vllm``, ``sglang``, ``llama.cpp``, ``ollama``, ``systemd`` or ``embedded``.
        format: A key of `ModelFacts.formats`.
        gpus: Cards that share the model.
        context: Window of a sequence in tokens; the model's own by default.
        concurrency: Sequences at the same time; the server decides by default.
        port: TCP port; the server's own by default.
        cpu_experts: Layers whose experts stay in system memory (llama.cpp).

    Raises:
        ConfigurationError: An unknown name, a server that does not run the model in that format, or
            something that it cannot be told.
    """
    kind = server_named(server)
    known = facts.model(model) if isinstance(model, str) else model
    require(kind, known, format)
    window = known.native_context if context is None else context
    launch = Launch(known, format, gpus, window, port or 0, concurrency, cpu_experts)
    if port is None:
        launch = launch.on_port(default_port(kind, launch))
    return one_line(Recipe(kind, launch).command)
