"""What a server is and can do.

The servers here are stand-ins: they replay what vLLM 0.32, SGLang 0.5.23, the server of llama.cpp
and Ollama document, or were seen to answer. A real llama-server and Ollama were not tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ling_agent import BackendError, BackendUnavailable, ConfigurationError
from ling_agent.backends.remote.discovery import discover
from ling_agent.backends.remote.facts import Kind, ServerFacts
from ling_agent.errors import BackendRefused, ServerMisconfigured

pytestmark = pytest.mark.anyio


class StandIn:
    """Answers by path; anything else is a 404."""

    url = "http://stand-in:8000"

    def __init__(self, answers: Mapping[str, object]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    async def get(self, path: str) -> Any:
        self.asked.append(path)
        found = self.answers.get(path, BackendRefused("Not Found", status=404))
        if isinstance(found, Exception):
            raise found
        return found

    async def post(self, path: str, body: Any) -> Any:
        self.bodies.append(body)
        return await self.get(path)


def models(*names: str, owner: str = "vllm", **fields: object) -> dict[str, object]:
    return {"/v1/models": {"data": [{"id": name, "owned_by": owner} | fields for name in names]}}


def api(*paths: str, chat: tuple[str, ...] = (), completion: tuple[str, ...] = ()) -> object:
    """An OpenAPI description."""

    def schema(fields: tuple[str, ...]) -> dict[str, object]:
        return {"properties": dict.fromkeys((*fields, "model"), "…")}

    schemas = {"ChatCompletionRequest": schema(chat), "CompletionRequest": schema(completion)}
    described = dict.fromkeys((*paths, "/v1/chat/completions"), "…")
    return {"paths": described, "components": {"schemas": schemas}}


async def found(
    answers: Mapping[str, object], declared: Kind, model: str | None = None, *, listed: bool = True
) -> ServerFacts:
    return await discover(StandIn(answers), declared=declared, model=model, listed=listed)


VLLM: dict[str, object] = {
    **models("ling-2.6-flash", max_model_len=8192, root="/models/Qwen2.5-0.5B"),
    "/version": {"version": "0.32.0"},
    "/openapi.json": api(
        "/tokenize",
        "/v1/completions",
        chat=("structured_outputs",),
        completion=("return_token_ids",),
    ),
}
SGLANG: dict[str, object] = {
    **models("ling-2.6-flash", owner="sglang", max_model_len=4096),
    "/server_info": {"version": "0.5.23", "tool_call_parser": "qwen25", "context_length": 4096},
    "/openapi.json": api("/tokenize", "/v1/completions"),
}
LLAMA_SERVER: dict[str, object] = {
    **models("/models/qwen.gguf", owner="llamacpp"),
    "/props": {
        "default_generation_settings": {"n_ctx": 4096, "params": {"temperature": 0.8}},
        "total_slots": 1,
        "model_path": "/models/Qwen2.5-Coder-0.5B-Q8_0.gguf",
        "build_info": "b6123-abcdef",
    },
}
OLLAMA: dict[str, object] = {
    **models("qwen2.5:0.5b", "llama3.2:latest", owner="library"),
    "/api/version": {"version": "0.12.3"},
    "/api/show": {
        "parameters": 'stop                "<|im_end|>"\nnum_ctx             8192',
        "model_info": {"qwen2.context_length": 32768},
        "capabilities": ["completion", "tools"],
    },
    "/api/ps": {"models": []},
}


async def test_vllm() -> None:
    facts = await found(VLLM, "vllm")
    assert facts == ServerFacts(
        "vllm",
        "0.32.0",
        "ling-2.6-flash",
        ("ling-2.6-flash",),
        8192,
        root="/models/Qwen2.5-0.5B",
        constraint="structured_outputs",
        answer_format="structural_tag",
        tokenize="/tokenize",
        token_ids=True,
        running_usage=True,
        every_sampling_field=True,
    )


async def test_a_vllm_that_does_not_describe_itself_is_taken_for_a_newer_one() -> None:
    facts = await found({**VLLM, "/openapi.json": BackendRefused("no", status=404)}, "vllm")
    assert facts.constraint == "structured_outputs"
    assert (facts.tokenize, facts.token_ids, facts.notes) == ("/tokenize", True, ())


async def test_an_older_vllm_is_told_to_be_one() -> None:
    facts = await found({**VLLM, "/openapi.json": api("/v1/completions")}, "vllm")
    assert (facts.constraint, facts.tokenize, facts.token_ids) == ("none", None, False)
    assert len(facts.notes) == 2
    assert all(note.endswith("use vLLM 0.11 or newer") for note in facts.notes)


async def test_sglang() -> None:
    facts = await found(SGLANG, "sglang")
    assert (facts.kind, facts.version, facts.context_window) == ("sglang", "0.5.23", 4096)
    assert facts.constraint == "strict"
    assert facts.tool_parser
    assert facts.token_ids is False, "its description does not name return_token_ids"
    assert facts.notes == ()


async def test_an_older_sglang_names_its_path_and_its_window_otherwise() -> None:
    answers = {
        **models("m", owner="sglang"),
        "/get_server_info": {"version": "0.4.9", "context_length": 2048},
    }
    facts = await found(answers, "sglang")
    assert (facts.version, facts.context_window, facts.tool_parser) == ("0.4.9", 2048, True)


async def test_an_sglang_without_a_tool_parser() -> None:
    facts = await found({**SGLANG, "/server_info": {"tool_call_parser": None}}, "sglang")
    assert (facts.tool_parser, facts.constraint) == (False, "none")
    assert "start it with --tool-call-parser qwen" in facts.notes[0]


async def test_an_sglang_whose_reasoning_parser_swallows_calls_of_ling() -> None:
    info = {"tool_call_parser": "qwen", "reasoning_parser": "qwen3"}
    facts = await found({**SGLANG, "/server_info": info}, "sglang")
    assert "--reasoning-parser qwen3" in facts.notes[0]


@pytest.mark.parametrize("declared", ["llama-server", "openai"])
async def test_llama_server(declared: Kind) -> None:
    facts = await found(LLAMA_SERVER, declared)
    assert (facts.kind, facts.version) == ("llama-server", "b6123-abcdef")
    assert facts.context_window == 4096
    assert facts.root == "/models/Qwen2.5-Coder-0.5B-Q8_0.gguf"
    assert facts.named_choice is False
    assert facts.forces_calls
    assert facts.notes == ()


async def test_ollamas_window_is_what_the_model_is_loaded_with() -> None:
    loaded = {"models": [{"name": "qwen2.5:0.5b", "context_length": 2048}]}
    facts = await found({**OLLAMA, "/api/ps": loaded}, "ollama", "qwen2.5:0.5b")
    assert (facts.kind, facts.version, facts.context_window) == ("ollama", "0.12.3", 2048)
    assert facts.forces_calls is False
    facts = await found(OLLAMA, "ollama", "qwen2.5:0.5b")
    assert facts.context_window == 8192, "what its Modelfile says, not what the model could have"


async def test_an_ollama_that_says_nothing_of_its_window_is_noted() -> None:
    server = StandIn({**OLLAMA, "/api/show": {"parameters": ""}})
    facts = await discover(server, declared="ollama", model="llama3.2")
    assert server.bodies == [{"model": "llama3.2:latest"}]
    assert facts.model == "llama3.2:latest", "Ollama's own shorthand"
    assert facts.context_window is None
    assert "OLLAMA_CONTEXT_LENGTH" in facts.notes[0]
    gone = {**OLLAMA, "/api/show": BackendUnavailable("gone"), "/api/ps": BackendUnavailable("x")}
    assert (await found(gone, "ollama", "llama3.2")).context_window is None


async def test_any_other_server() -> None:
    facts = await found(models("a", "b", owner="me"), "openai", "b")
    assert (facts.kind, facts.model, facts.models) == ("openai", "b", ("a", "b"))
    assert facts.constraint == "none"
    assert any("give context_window=…" in note for note in facts.notes)
    assert any("calls are not held to their schema" in note for note in facts.notes)


@pytest.mark.parametrize(("answers", "kind"), [(VLLM, "vllm"), (SGLANG, "sglang")])
async def test_a_server_says_itself_what_it_is(answers: dict[str, object], kind: Kind) -> None:
    facts = await found(answers, "openai")
    assert facts.kind == kind
    assert facts.notes == ()
    other: Kind = "sglang" if kind == "vllm" else "vllm"
    facts = await found(answers, other)
    assert facts.kind == kind
    assert f"is a {kind} server, and is treated as one" in facts.notes[0]


async def test_a_list_that_does_not_count_is_not_asked_for() -> None:
    server = StandIn({})
    facts = await discover(server, declared="openai", model="deployment", listed=False)
    assert facts.model == "deployment"
    assert "/v1/models" not in server.asked


BAD: list[tuple[Mapping[str, object], str | None, type[Exception], str]] = [
    ({}, None, BackendUnavailable, "has no /v1/models"),
    ({"/v1/models": []}, None, BackendUnavailable, "lists no models"),
    ({"/v1/models": {"data": []}}, None, ServerMisconfigured, "serves no model"),
    ({"/v1/models": {"data": None}}, None, ServerMisconfigured, "serves no model"),
    ({"/v1/models": {"data": [1, {}]}}, None, ServerMisconfigured, "serves no model"),
    (models("a", "b"), None, ConfigurationError, r"vllm:http://stand-in:8000#a \(served: a, b\)"),
    (models("a", "b"), "c", ConfigurationError, r"does not serve 'c' \(served: a, b\)"),
    ({"/v1/models": BackendRefused("no key", status=401)}, None, BackendRefused, "no key"),
]


@pytest.mark.parametrize(("answers", "model", "error", "says"), BAD)
async def test_what_cannot_be_used_is_one_clear_error(
    answers: Mapping[str, object], model: str | None, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await found(answers, "vllm", model)


@pytest.mark.parametrize("odd", [None, [], "x", 1, {"version": 3}, {"paths": [], "x": None}])
@pytest.mark.parametrize("answers", [VLLM, SGLANG, LLAMA_SERVER, OLLAMA])
async def test_odd_answers_to_what_is_optional_do_not_matter(
    answers: dict[str, object], odd: object
) -> None:
    broken = {path: answers[path] if path == "/v1/models" else odd for path in answers}
    kinds: dict[int, Kind] = {id(LLAMA_SERVER): "llama-server", id(OLLAMA): "ollama"}
    try:
        facts = await found(broken, kinds.get(id(answers), "vllm"), None)
    except ConfigurationError:
        facts = await found(broken, "ollama", "qwen2.5:0.5b")
    except BackendError as error:
        pytest.fail(str(error))
    assert facts.model
