"""Finds out what a server is and can do: `discover` asks it a handful of questions, once.

The table of the questions and the fields of the answers is in docs/servers.md.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Protocol

from ...errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    ServerMisconfigured,
)
from .facts import Kind, ServerFacts
from .jsons import Json, as_list, as_object


class Asking(Protocol):
    """What discovery needs of a transport."""

    url: str

    async def get(self, path: str) -> Any: ...

    async def post(self, path: str, body: Any) -> Any: ...


async def discover(
    server: Asking, *, declared: Kind, model: str | None, listed: bool = True
) -> ServerFacts:
    """Ask a server what it is.

    Args:
        server: A way to ask it.
        declared: What the caller says it is; believed where the server does not say.
        model: Name of the served model; None takes the only one.
        listed: Whether the server's list of models says what it serves; a hosted service's may not.

    Raises:
        BackendError: Not reachable, or no API.
        ConfigurationError: The model is not served, or several are and none was named.
    """
    entries = await _models(server) if listed or model is None else []
    names = tuple(str(item["id"]) for item in entries)
    kind = _kind(entries, declared)
    name = _choose(names, model, server.url, declared)
    entry = as_object(next((item for item in entries if item["id"] == name), None))
    facts = ServerFacts(
        kind=kind,
        version=None,
        model=name,
        models=names,
        context_window=_whole_number(entry.get("max_model_len")),
        root=str(entry.get("root") or ""),
    )
    if kind != declared and declared != "openai":
        facts = facts.with_note(f"{server.url} is a {kind} server, and is treated as one")
    ask = {"vllm": _vllm, "sglang": _sglang, "llama-server": _llama_server, "ollama": _ollama}
    if kind in ask:
        facts = await ask[kind](server, facts)
    if kind in ("openai", "ollama"):
        facts = facts.with_note(
            "calls are not held to their schema and prompts are not counted exactly: this server "
            "is not known to do either; vLLM and SGLang do"
        )
    if facts.context_window is None:
        facts = facts.with_note(
            "the server does not say how long its context window is: "
            "give context_window=… so that prompts that do not fit are found before they are sent"
        )
    return facts


async def _models(server: Asking) -> list[Json]:
    try:
        answer = await server.get("/v1/models")
    except BackendRefused as error:
        if error.status == 404:
            raise BackendUnavailable(
                f"{server.url} has no /v1/models: is it an OpenAI-compatible server, and the base "
                "URL right?"
            ) from None
        raise
    if "data" not in as_object(answer):
        raise BackendUnavailable(
            f"{server.url} lists no models: is it an OpenAI-compatible server?"
        )
    return [item for item in map(as_object, as_list(answer["data"])) if "id" in item]


def _choose(names: tuple[str, ...], model: str | None, url: str, scheme: str) -> str:
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    if model is None:
        if len(names) == 1:
            return names[0]
        if not names:
            raise ServerMisconfigured(f"{url} serves no model: load one, or name it behind #")
        raise ConfigurationError(
            f"{url} serves {len(names)} models: name one, for example {scheme}:{url}#{names[0]} "
            f"(served: {shown})"
        )
    if names and model not in names:
        tagged = f"{model}:latest"  # Ollama's own shorthand
        if tagged in names:
            return tagged
        raise ConfigurationError(f"{url} does not serve {model!r} (served: {shown})")
    return model


def _kind(entries: list[Json], declared: Kind) -> Kind:
    owners = {str(item.get("owned_by")) for item in entries}
    told: dict[str, Kind] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama-server"}
    for owner, kind in told.items():
        if owner in owners:
            return kind
    return declared


async def _vllm(server: Asking, facts: ServerFacts) -> ServerFacts:
    facts = _set(facts, version=_text(await _optional(server, "/version"), "version"))
    api = _Api(await _optional(server, "/openapi.json"))
    chat, completion = api.fields("ChatCompletionRequest"), api.fields("CompletionRequest")
    facts = _set(
        facts,
        constraint="structured_outputs" if api.has(chat, "structured_outputs") else "none",
        answer_format="structural_tag" if api.has(chat, "structured_outputs") else "json_schema",
        tokenize=api.first("/tokenize", "/v1/tokenize"),
        completions=api.serves("/v1/completions"),
        token_ids=api.has(completion, "return_token_ids"),
        running_usage=True,
        every_sampling_field=True,
    )
    return _missing(facts, "vLLM 0.11 or newer")


async def _sglang(server: Asking, facts: ServerFacts) -> ServerFacts:
    info = await _optional(server, "/server_info") or await _optional(server, "/get_server_info")
    api = _Api(await _optional(server, "/openapi.json"))
    completion = api.fields("CompletionRequest")
    facts = _set(
        facts,
        version=_text(info, "version"),
        constraint="strict",
        answer_format="structural_tag",
        tokenize=api.first("/tokenize", "/v1/tokenize"),
        completions=api.serves("/v1/completions"),
        token_ids=api.has(completion, "return_token_ids"),
        running_usage=True,
        every_sampling_field=True,
    )
    if facts.context_window is None:
        facts = _set(facts, context_window=_whole_number(info.get("context_length")))
    if "tool_call_parser" in info and not info["tool_call_parser"]:
        facts = facts.with_note(
            "the server was started without a tool parser, so calls are read by the client: "
            "start it with --tool-call-parser qwen",
            tool_parser=False,
            constraint="none",
        )
    if info.get("reasoning_parser") and "ling" in facts.model.lower():
        facts = facts.with_note(
            f"the server runs with --reasoning-parser {info['reasoning_parser']}, which swallows "
            "the calls of Ling: leave it out"
        )
    return _missing(facts, "SGLang 0.5.10 or newer")


def _missing(facts: ServerFacts, version: str) -> ServerFacts:
    """Notes on what this server should have."""
    if facts.constraint == "none" and facts.tool_parser:
        facts = facts.with_note(
            f"calls are not held to their schema: this server cannot do it; use {version}"
        )
    if facts.tokenize is None:
        facts = facts.with_note(f"tokens are estimated: no /tokenize here; use {version}")
    return facts


async def _llama_server(server: Asking, facts: ServerFacts) -> ServerFacts:
    """llama.cpp's own server: documented fields, see docs/servers.md."""
    props = await _optional(server, "/props")
    window = as_object(props.get("default_generation_settings")).get("n_ctx")
    return _set(
        facts,
        version=_text(props, "build_info"),
        context_window=_whole_number(window),
        root=_text(props, "model_path") or facts.root,
        named_choice=False,
        every_sampling_field=True,
    )


async def _ollama(server: Asking, facts: ServerFacts) -> ServerFacts:
    """Ollama: the window is what the model is loaded with, not what it could have."""
    facts = _set(
        facts, version=_text(await _optional(server, "/api/version"), "version"), forces_calls=False
    )
    try:
        shown = as_object(await server.post("/api/show", {"model": facts.model}))
    except BackendError:
        shown = as_object(None)
    window = await _loaded_window(server, facts.model)
    parameters = str(shown.get("parameters") or "")
    match = re.search(r"^num_ctx\s+(\d+)", parameters, re.MULTILINE)
    window = window or (int(match[1]) if match else None)
    if window is None:
        return facts.with_note(
            "Ollama cuts prompts silently at its own window (OLLAMA_CONTEXT_LENGTH), which it does "
            "not say before the model is loaded: set num_ctx in the Modelfile and context_window=…"
        )
    return _set(facts, context_window=window)


async def _loaded_window(server: Asking, model: str) -> int | None:
    loaded = as_list((await _optional(server, "/api/ps")).get("models"))
    for item in map(as_object, loaded):
        if model in (item.get("name"), item.get("model")):
            return _whole_number(item.get("context_length"))
    return None


class _Api:
    """A server's own OpenAPI description; an empty one says nothing."""

    def __init__(self, document: Json) -> None:
        self._paths = as_object(document.get("paths"))
        self._schemas = as_object(as_object(document.get("components")).get("schemas"))

    def serves(self, path: str) -> bool:
        """Whether there is such a path; supposed where there is no description."""
        return not self._paths or path in self._paths

    def first(self, *paths: str) -> str | None:
        """The first of these paths that there is."""
        return next(filter(self.serves, paths), None)

    def fields(self, name: str) -> Json:
        return as_object(as_object(self._schemas.get(name)).get("properties"))

    def has(self, fields: Json, name: str) -> bool:
        """Whether a request has such a field; supposed where there is no description."""
        return not fields or name in fields


async def _optional(server: Asking, path: str) -> Json:
    """What ``GET path`` answers, where it does."""
    try:
        return as_object(await server.get(path))
    except BackendError:
        return {}


def _set(facts: ServerFacts, **changes: object) -> ServerFacts:
    return dataclasses.replace(facts, **changes)  # pyright: ignore[reportArgumentType]


def _text(data: Json, key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
