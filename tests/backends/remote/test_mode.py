"""Who renders the prompts where nobody has said so: we do for small models, else the server."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent import Agent, RunResult
from ling_agent.backends import OpenAIBackend, SGLangBackend, VLLMBackend
from ling_agent.backends.remote.backend import RemoteBackend
from ling_agent.errors import BackendUnavailable, ConfigurationError

from .hostile import Exchange, answer
from .small import HINT, SmallModel, models
from .test_completions import add, described, serving

pytestmark = pytest.mark.anyio

NO_IDS: dict[str, object] = {
    "/openapi.json": {
        "paths": dict.fromkeys(("/v1/completions", "/tokenize"), 1),
        "components": {"schemas": {"CompletionRequest": {"properties": {"prompt": {}}}}},
    }
}
NOT_FOUND = answer({"detail": "Not Found"}, status=404)


async def renders(
    model: SmallModel,
    routes: dict[str, object],
    make: type[RemoteBackend] = VLLMBackend,
    **options: Any,
) -> bool:
    """Whether a backend on this server renders its prompts itself."""
    async with serving(model, routes=routes) as server:
        backend = make(server.url, **options)
        assert not backend.renders_prompts or options.get("mode") == "raw"
        await backend.prepare()
        await backend.describe()
        found = backend.renders_prompts
        await backend.aclose()
    return found


async def run(model: SmallModel, routes: dict[str, object], **options: Any) -> RunResult:
    async with serving(model, routes=routes) as server:
        backend = VLLMBackend(server.url, **options)
        result = await Agent(backend, tools=[add]).run("What is 1 + 2?")
        await backend.aclose()
    return result


@pytest.mark.parametrize(
    ("owner", "make"),
    [("vllm", VLLMBackend), ("sglang", SGLangBackend), ("sglang", VLLMBackend)],
)
async def test_prompts_of_a_small_model_are_rendered_here(
    owner: str, make: type[RemoteBackend]
) -> None:
    assert await renders(SmallModel(), models(owner=owner), make)


@pytest.mark.parametrize(
    ("routes", "options", "template"),
    [
        (models("Qwen2.5-Coder-7B-Instruct"), {}, "chatml"),
        (models("qwen-coder"), {}, "chatml"),
        (models(), {}, "ling1"),
        (models(), {"profile": "plain"}, "chatml"),
        (models("Ling-3.0-mini-1B"), {}, "ling3"),
        (models(), {"constrain": False}, "chatml"),
        (models(owner="llamacpp"), {}, "chatml"),
        (models() | NO_IDS, {}, "chatml"),
        (models() | {"/tokenize": NOT_FOUND}, {}, "chatml"),
        (models() | described("/v1/completions"), {}, "chatml"),
        (models() | described("/v1/chat/completions", "/tokenize"), {}, "chatml"),
    ],
    ids=[
        "large",
        "of unknown size",
        "another template",
        "another profile",
        "writes no JSON calls",
        "not constrained",
        "llama-server",
        "no token ids",
        "does not tokenize",
        "has no tokenizer",
        "has no completions",
    ],
)
async def test_else_the_server_renders_them(
    routes: dict[str, object], options: dict[str, Any], template: str
) -> None:
    assert not await renders(SmallModel(template=template), routes, **options)


async def test_a_server_that_is_taken_for_any_other_renders_them() -> None:
    for owner in ("me", "vllm"):
        assert not await renders(SmallModel(), models(owner=owner), OpenAIBackend)


async def test_what_was_said_is_done() -> None:
    assert not await renders(SmallModel(), models(), mode="chat")
    assert await renders(SmallModel(), models("Qwen2.5-Coder-7B-Instruct"), mode="raw")
    mode: Any = "auto"
    with pytest.raises(ConfigurationError, match="write 'chat' or 'raw'"):
        VLLMBackend("http://localhost:8000", mode=mode)


async def test_a_small_model_is_not_told_to_plan_for_its_plan_is_begun() -> None:
    model = SmallModel()
    result = await run(model, models())
    assert result.plan is not None
    assert len(model.prompts) == 8
    assert not any(HINT in model.text(prompt) for prompt in model.prompts)


async def test_a_large_model_is_told_to_plan() -> None:
    model = SmallModel()
    result = await run(model, models("Qwen2.5-Coder-7B-Instruct"))
    assert result.output == "It is 3."
    (body,) = model.bodies
    assert HINT in body["messages"][-1]["content"]


async def test_a_server_that_is_not_reached_is_told_once_and_asked_again_later() -> None:
    """What it serves is found out when it is there; until then nothing is decided."""
    ready = False

    async def listed(exchange: Exchange) -> None:
        if ready:
            await exchange.respond(models()["/v1/models"])
        else:
            await exchange.respond({"error": "loading"}, status=503)

    model = SmallModel()
    async with serving(model, routes={"/v1/models": listed}) as server:
        backend = VLLMBackend(server.url)
        agent = Agent(backend, tools=[add])
        with pytest.raises(BackendUnavailable, match="503"):
            await backend.prepare()
        with pytest.raises(BackendUnavailable, match="503") as caught:
            await agent.run("What is 1 + 2?")
        assert str(caught.value) == f"{server.url} is not ready (503): loading"
        assert model.bodies == []
        assert not backend.renders_prompts
        ready = True
        result = await agent.run("What is 1 + 2?")
        assert result.output == "It is 3, as the tool says."
        assert backend.renders_prompts
        await backend.aclose()


async def test_two_servers_are_asked_in_one_way() -> None:
    first, second = SmallModel(), SmallModel()
    async with (
        serving(first, routes=models()) as one,
        serving(second, routes=models()) as two,
    ):
        backend = VLLMBackend(f"{one.url},{two.url}")
        agent = Agent(backend, tools=[add])
        for _ in range(2):
            result = await agent.run("What is 1 + 2?")
            assert result.output == "It is 3, as the tool says."
        await backend.aclose()
    assert len(first.prompts) == len(second.prompts) == 8


async def test_the_second_server_is_asked_as_the_first_although_it_renders_otherwise() -> None:
    first, second = SmallModel(), SmallModel(template="ling1")
    async with (
        serving(first, routes=models()) as one,
        serving(second, routes=models()) as two,
    ):
        backend = VLLMBackend(f"{one.url},{two.url}")
        agent = Agent(backend, tools=[add])
        notes = [note for _ in range(2) for note in (await agent.run("What is 1 + 2?")).notes]
        await backend.aclose()
    assert len(first.prompts) == len(second.prompts) == 8
    assert any("server's own template" in note for note in notes)
