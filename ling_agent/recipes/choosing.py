"""From names to a recipe: what the server can run, in which format, and whether that fits."""

from __future__ import annotations

import dataclasses
import difflib
from typing import NoReturn

from .. import facts
from ..errors import ConfigurationError
from ..facts import FormatFacts, GpuFacts, ModelFacts
from . import room
from .alternatives import either, other_ways
from .launch import SERVERS, Launch, ServerName
from .recipe import Recipe, default_port, title_of
from .wish import Wish

ENGINES: dict[ServerName, tuple[str, ...]] = {
    "vllm": ("vllm",),
    "sglang": ("sglang",),
    "llama.cpp": ("llama.cpp",),
    "ollama": ("ollama",),
    "systemd": ("vllm", "llama.cpp"),
    "embedded": ("llama.cpp",),
}
"""Servers of the facts that stand behind a server of the recipes, the preferred one first."""


_TOLD: tuple[ServerName, ...] = ("vllm", "sglang", "llama.cpp", "ollama", "embedded")
"""Servers that are proposed in place of another one; a unit only wraps one of them."""


def make(wish: Wish) -> Recipe:
    """The recipe for it.

    Raises:
        ConfigurationError: An unknown name, a server that does not run the model, or a combination
            that does not fit; the message says what would work.
    """
    found = _find(wish) or _refuse(wish)
    found.command  # noqa: B018 - here, what the server cannot be told is refused
    return found


def _find(wish: Wish) -> Recipe | None:
    """The recipe in the first format that fits; None when none does.

    Raises:
        ConfigurationError: An unknown name, or a server that does not run the model.
    """
    server, model = server_named(wish.server), facts.model(wish.model)
    _require_support(server, model)
    formats = _formats(server, model, wish.quant)
    launches = [_launch(wish, server, model, each) for each in formats]
    if wish.gpu is None:
        return Recipe(server, launches[0])
    card = facts.gpu(wish.gpu)
    # A format that fits the cards as a whole is better than a larger one that does not.
    found = (
        _fitting(wish, server, launch, card, experts=experts)
        for experts in (False, True)
        for launch in launches
        if not experts or _offloads(server, launch)
    )
    return next(filter(None, found), None)


def _fitting(
    wish: Wish, server: ServerName, launch: Launch, card: GpuFacts, *, experts: bool
) -> Recipe | None:
    """The recipe, if it fits; a window that nobody asked for is made shorter for it."""
    found = room.planned(launch, card, wish.ram)
    window = room.shorter(found)
    if not room.fits(found, experts=experts) and wish.context is None and window is not None:
        launch = dataclasses.replace(launch, context=min(window, launch.context))
        found = room.planned(launch, card, wish.ram)
    if not room.fits(found, experts=experts):
        return None
    launch = dataclasses.replace(launch, cpu_experts=found.cpu_experts)
    return Recipe(server, launch, card, room.told(found), wish.ram)


def _launch(wish: Wish, server: ServerName, model: ModelFacts, format_: FormatFacts) -> Launch:
    context = model.native_context if wish.context is None else wish.context
    launch = Launch(model, format_.id, wish.gpus, context, 0, wish.concurrency)
    port = default_port(server, launch)
    if wish.port is not None:
        if port == 0 or not wish.port:
            raise ConfigurationError(f"--port {wish.port}: give a port, to a server that has one")
        port = wish.port
    return launch.on_port(port)


def _offloads(server: ServerName, launch: Launch) -> bool:
    """Whether experts can stay in system memory: with llama.cpp they can."""
    return launch.model.formats[launch.format].is_gguf and server != "ollama"


def server_named(name: str) -> ServerName:
    """The server of that name, in any spelling.

    Raises:
        ConfigurationError: There is none.
    """
    spelt: dict[str, ServerName] = {server.replace(".", ""): server for server in SERVERS}
    spelt["llama-server"] = "llama.cpp"
    wanted = name.lower().replace(".", "")
    if wanted in spelt:
        return spelt[wanted]
    near = difflib.get_close_matches(wanted, spelt, n=1)
    hint = f" Did you mean {spelt[near[0]]}?" if near else ""
    raise ConfigurationError(f"unknown server {name!r}.{hint} Known: {', '.join(SERVERS)}")


def _runs(server: ServerName, model: ModelFacts) -> bool:
    return any(_loads(server, model, each) for each in model.formats.values())


def _loads(server: ServerName, model: ModelFacts, format_: FormatFacts) -> bool:
    """Whether one of the servers behind it runs the model and can get this format of it.

    A GGUF file can be one of the user's own; the others get theirs from a repository.
    """
    return any(
        engine in format_.servers
        and model.servers[engine].supported
        and (engine == "llama.cpp" or bool(format_.repository))
        for engine in ENGINES[server]
    )


def require(server: ServerName, model: ModelFacts, format_: str) -> None:
    """Refuse what the server does not run, and a format of it that it does not load.

    Raises:
        ConfigurationError: With what would work.
    """
    _require_support(server, model)
    _formats(server, model, format_)


def _require_support(server: ServerName, model: ModelFacts) -> None:
    """Refuse what the server does not run.

    Raises:
        ConfigurationError: With the servers that do, and the models that this one does.
    """
    if _runs(server, model):
        return
    engines = [model.servers[engine] for engine in ENGINES[server]]
    why = "no repository of its weights is known here"
    if not any(engine.supported for engine in engines):
        why = engines[0].note
    others = [f"--server {other}" for other in _TOLD if _runs(other, model)]
    lings = [each.id for each in facts.models().values() if _is_ling(each) and _runs(server, each)]
    instead = [f"--model {each}" for each in lings[:3]] or ["--model qwen3-8b"]
    raise ConfigurationError(
        f"{title_of(server)} does not run {model.title}"
        f"{f' ({why})' if why else ''}: {either(others)}; or {either(instead)}"
    )


def _is_ling(model: ModelFacts) -> bool:
    return model.id.startswith(("ling-", "ring-"))


def _formats(server: ServerName, model: ModelFacts, quant: str | None) -> list[FormatFacts]:
    """The formats to try, the largest first.

    Raises:
        ConfigurationError: The format is not known, or the server does not load it.
    """
    loaded = [each for each in model.formats.values() if _loads(server, model, each)]
    if quant is None:
        # A known repository comes first: the other files would have to be made.
        return sorted(loaded, key=lambda each: not each.repository)
    wanted = quant.lower().replace("-", "_")
    if any(each.id == wanted for each in loaded):
        return [model.formats[wanted]]
    ids = [each.id for each in loaded]
    if wanted in model.formats:
        others = [
            f"--server {other}" for other in _TOLD if _loads(other, model, model.formats[wanted])
        ]
        repository = model.formats[wanted].repository
        why = "does not load" if repository else "knows of no published weights in"
        raise ConfigurationError(
            f"{title_of(server)} {why} {wanted} of {model.title}: "
            f"{either([*(f'--quant {each}' for each in ids), *others])}"
        )
    near = difflib.get_close_matches(wanted, model.formats, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigurationError(
        f"no {quant} of {model.title} is known.{hint} Known for this server: {', '.join(ids)}"
    )


def _refuse(wish: Wish) -> NoReturn:
    """Say why it does not fit, and what would do instead.

    Raises:
        ConfigurationError: Always.
    """
    server, model, card = (
        server_named(wish.server),
        facts.model(wish.model),
        facts.gpu(wish.gpu or ""),
    )
    smallest = min(_formats(server, model, wish.quant), key=lambda each: each.weight_bytes)
    launch = _launch(wish, server, model, smallest)
    found = room.planned(launch, card, wish.ram)
    instead = other_ways(wish, _find)
    raise ConfigurationError(
        f"{model.title} in {smallest.id} with a window of {launch.context:,} tokens does not fit "
        f"{wish.gpus} × {card.title}: {room.why_not(found)}; "
        f"{f'what would: {either(instead)}' if instead else 'nothing that would is known here'}"
    )
