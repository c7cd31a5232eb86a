"""The frozen contract: names and signatures that callers rely on. Adding is fine."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

import ling_agent
from ling_agent import backends, errors, hermes, memory, testing

NAMES = {
    "Agent", "BackendError", "BackendUnavailable", "CancelToken", "ConfigurationError",
    "ContextOverflow", "Deny", "Edit", "HermesError", "Limits", "LingAgentError", "Memory",
    "RunContext", "RunResult", "RunStatus", "Sampling", "ServerMisconfigured", "StoreError",
    "Tool", "ToolError", "Trajectory", "Usage", "tool",
}  # fmt: skip

SIGNATURES: dict[str, tuple[Any, list[str], list[str]]] = {
    "Agent": (
        ling_agent.Agent,
        ["backend"],
        [
            "tools",
            "instructions",
            "output_type",
            "planning",
            "memory",
            "limits",
            "sampling",
            "profile",
            "name",
            "deps_type",
        ],
    ),
    "run": (ling_agent.Agent.run, ["task"], ["session", "deps", "limits", "cancel"]),
    "stream": (ling_agent.Agent.stream, ["task"], ["session", "deps", "limits", "cancel"]),
    "run_sync": (ling_agent.Agent.run_sync, ["task"], ["session", "deps", "limits", "cancel"]),
    "resume": (ling_agent.Agent.resume, ["run_id"], ["approvals"]),
    "as_tool": (ling_agent.Agent.as_tool, [], ["name", "description"]),
    "from_function": (ling_agent.Tool.from_function, ["f"], []),
    "parse": (
        hermes.parse,
        ["text"],
        ["tools", "starts_in_reasoning", "bare_json", "finish_reason"],
    ),
    "ScriptedBackend": (testing.ScriptedBackend, ["replies"], []),
}
FIELDS: dict[type, list[str]] = {
    ling_agent.RunResult: [
        "output",
        "status",
        "plan",
        "steps",
        "usage",
        "trajectory",
        "run_id",
        "error",
        "pending_approvals",
    ],
    ling_agent.Usage: [
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "requests",
        "tool_calls",
        "seconds",
    ],
    ling_agent.Limits: [
        "max_steps",
        "max_tool_calls",
        "max_total_tokens",
        "timeout",
        "repeat_limit",
        "max_parallel_tools",
    ],
    ling_agent.Sampling: ["temperature", "top_p", "max_tokens", "seed"],
    testing.Reply: ["text", "finish_reason", "usage", "delay"],
    hermes.CallFailed: ["index", "kind", "raw", "message"],
    hermes.CallParsed: ["index", "id", "name", "arguments", "repairs"],
    hermes.ParsedCall: ["index", "id", "name", "arguments", "repairs"],
    hermes.ParsedMessage: ["content", "reasoning", "calls", "errors"],
}


def test_the_backends_behind_the_strings_are_public() -> None:
    assert set(backends.__all__) >= {
        "LlamaCppBackend", "OpenAIBackend", "SGLangBackend", "VLLMBackend", "open_backend",
    }  # fmt: skip


def test_the_names_are_there_and_sorted() -> None:
    assert set(ling_agent.__all__) >= NAMES
    assert ling_agent.__all__ == sorted(ling_agent.__all__)
    for module in (ling_agent, backends, hermes, memory, testing):
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    function, positional, keywords = SIGNATURES[name]
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    plain = [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    assert plain == positional
    for keyword in keywords:
        assert parameters[keyword].default is not inspect.Parameter.empty


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_fields_in_their_order(kind: Any) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if name in FIELDS[kind]] == FIELDS[kind]


def test_statuses() -> None:
    assert [str(status) for status in ling_agent.RunStatus] == [
        "completed", "max_steps", "max_tool_calls", "max_tokens", "timeout", "repeating",
        "needs_approval", "stopped", "cancelled", "failed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "base"),
    [
        ("ConfigurationError", "LingAgentError"),
        ("BackendError", "LingAgentError"),
        ("BackendUnavailable", "BackendError"),
        ("BackendRefused", "BackendError"),
        ("ContextOverflow", "BackendError"),
        ("ServerMisconfigured", "BackendError"),
        ("ToolError", "LingAgentError"),
        ("HermesError", "LingAgentError"),
        ("StoreError", "LingAgentError"),
    ],
)
def test_the_error_tree(error: str, base: str) -> None:
    assert issubclass(getattr(ling_agent, error), getattr(ling_agent, base))


def test_every_error_can_be_imported_from_the_package() -> None:
    defined = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.LingAgentError)
    }
    assert defined <= set(ling_agent.__all__)


def test_what_a_tool_can_ask_of_its_run() -> None:
    for name in ("usage", "emit", "cancelled"):
        assert hasattr(ling_agent.RunContext, name)
    context = ling_agent.RunContext("mine")
    assert (context.deps, context.run_id, context.step) == ("mine", "", 0)


def test_the_version_is_a_version() -> None:
    assert [part.isdigit() for part in ling_agent.__version__.split(".")] == [True, True, True]
