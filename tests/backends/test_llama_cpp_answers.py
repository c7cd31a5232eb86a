"""Typed answers and long prompts of the embedded backend, on real models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ling_agent import Sampling, catalog
from ling_agent.answers import AnswerSpec
from ling_agent.backends import Chunk, Finished, LlamaCppBackend, ModelRequest, TextChunk
from ling_agent.backends.base import PrefillChunk
from ling_agent.hermes import parse
from ling_agent.messages import UserMessage

pytestmark = [pytest.mark.model, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the engine thread is tested on trio in test_llama_cpp.py


def load(alias: str) -> LlamaCppBackend:
    path = catalog.cached_path(alias)
    assert path is not None, f"run `ling-agent models pull {alias}` (`make test` does)"
    return LlamaCppBackend(str(path), n_ctx=2048, n_batch=256)


@pytest.fixture(scope="module")
def coder() -> LlamaCppBackend:
    return load("qwen2.5-coder-0.5b")


@pytest.fixture(scope="module")
def tiny() -> LlamaCppBackend:
    return load("smollm2-135m")


@dataclass
class City:
    name: str
    country: Literal["Japan", "France", "Chile"]
    capital: bool


SPEC = AnswerSpec.of(City)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "population",
        "description": "How many people live in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


async def ask(
    backend: LlamaCppBackend, text: str, **options: Any
) -> tuple[str, list[Chunk], Finished]:
    request = ModelRequest((UserMessage(text),), sampling=Sampling(max_tokens=64), **options)
    async with backend.stream(request) as stream:
        chunks = [chunk async for chunk in stream]
    end = chunks[-1]
    assert isinstance(end, Finished)
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
    return text, chunks, end


@pytest.mark.parametrize("tools", [(), (TOOL,)])
async def test_an_answer_is_of_its_type_whatever_was_asked(
    coder: LlamaCppBackend, tools: Any
) -> None:
    question = "Write a long poem about Tokyo, the largest city of Japan. No JSON."
    text, _, end = await ask(
        coder, question, tools=tools, tool_choice="none", answer_schema=SPEC.schema
    )
    assert end.finish_reason == "stop"
    assert isinstance(SPEC.read(text), City)
    assert text == text.strip()
    assert end.notes == ()
    assert end.usage.constrained_tokens >= end.usage.completion_tokens - 2


async def test_the_small_model_understands_the_hint(coder: LlamaCppBackend) -> None:
    question = f"Tell me about Tokyo.\n\n{SPEC.hint}"
    text, _, _ = await ask(coder, question, answer_schema=SPEC.schema)
    city = SPEC.read(text)
    assert (city.name, city.country) == ("Tokyo", "Japan")


async def test_with_tools_a_call_comes_or_the_answer(coder: LlamaCppBackend) -> None:
    asked: dict[str, Any] = {"tools": (TOOL,), "answer_schema": SPEC.schema}
    text, _, _ = await ask(coder, "Use the tool: how many people live in Tokyo?", **asked)
    (call,) = parse(text, tools=[TOOL], bare_json=True).calls
    assert (call.name, call.arguments) == ("population", {"city": "Tokyo"})
    text, _, end = await ask(coder, f"Use no tool. Tell me about Tokyo.\n\n{SPEC.hint}", **asked)
    # Which of the two a model of this size writes is its own affair; there is no third thing.
    called = parse(text, tools=[TOOL], bare_json=True).calls
    assert [call.name for call in called] == ["population"] if called else SPEC.read(text).country
    assert end.finish_reason == "stop"


async def test_prose_in_front_of_a_call_stays_possible(coder: LlamaCppBackend) -> None:
    prefill = "Plan: ask the tool.\n<tool_call>\n"
    text, _, _ = await ask(
        coder, "Population of Tokyo?", tools=(TOOL,), answer_schema=SPEC.schema, prefill=prefill
    )
    assert text.startswith(prefill)
    assert parse(text, tools=[TOOL]).calls[0].name == "population"


async def test_a_long_prompt_tells_how_far_it_is(tiny: LlamaCppBackend) -> None:
    _, chunks, end = await ask(tiny, "word " * 900)
    reports = [chunk for chunk in chunks if isinstance(chunk, PrefillChunk)]
    total = end.usage.prompt_tokens
    assert total > 900
    assert list[Chunk](reports) == chunks[: len(reports)], "before all text"
    assert (reports[0].tokens, reports[-1].tokens) == (end.usage.cached_tokens, total)
    assert {report.total for report in reports} == {total}
    _, chunks, _ = await ask(tiny, "word " * 900, watched=False)
    assert not any(isinstance(chunk, PrefillChunk) for chunk in chunks)
