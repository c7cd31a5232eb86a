"""Other stacks: what they are asked, and how their answers are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ling_agent import BackendUnavailable, ConfigurationError, catalog
from ling_agent.evals.baselines import BASELINES, LlamaCppBaseline, ServerBaseline, baseline
from ling_agent.evals.benchmark import Selection
from ling_agent.evals.bfcl import BFCL
from ling_agent.evals.options import EvalOptions
from ling_agent.limits import Sampling
from tests.backends.remote.hostile import answer, hostile, message

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}]
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}},
]


def called(arguments: Any, name: str = "add") -> dict[str, Any]:
    item = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return message("tool_calls", content=None, tool_calls=[item])


def options(url: str, name: str) -> EvalOptions:
    return EvalOptions(backend=f"vllm:{url}", baseline=name, max_tokens=99, sampling_seed=5)


@pytest.mark.parametrize(
    ("name", "choice", "strict"),
    [
        ("auto", "auto", False),
        ("required", "required", False),
        ("auto-strict", "auto", True),
        ("required-strict", "required", True),
    ],
)
async def test_what_a_server_is_asked(name: str, choice: str, strict: bool) -> None:
    async with hostile(answer(called('{"a": 1}'))) as server:
        subject = baseline(options(server.url, name))
        answered = await subject.answer(MESSAGES, TOOLS)
        await subject.aclose()
    function = {**TOOLS[0]["function"], **({"strict": True} if strict else {})}
    assert server.requests == [
        {
            "model": "m",
            "messages": MESSAGES,
            "temperature": 0.0,
            "max_tokens": 99,
            "seed": 5,
            "tools": [{"type": "function", "function": function}],
            "tool_choice": choice,
        }
    ]
    assert answered.calls == ({"name": "add", "arguments": {"a": 1}},)
    assert (answered.usage.prompt_tokens, answered.usage.completion_tokens) == (10, 5)
    assert (subject.name, answered.status) == (name, "tool_calls")


@pytest.mark.parametrize(
    ("body", "calls", "status"),
    [
        (message(content="It is 3."), (), "stop"),
        (called({"a": 1}), ({"name": "add", "arguments": {"a": 1}},), "tool_calls"),
        (called('{"a": '), (), "unreadable_arguments"),
    ],
)
async def test_how_answers_are_read(body: Any, calls: Any, status: str) -> None:
    async with hostile(answer(body)) as server:
        subject = baseline(options(server.url, "auto"))
        answered = await subject.answer(MESSAGES, TOOLS)
        await subject.aclose()
    assert (answered.calls, answered.status, answered.error) == (calls, status, "")


async def test_a_case_goes_through_a_server() -> None:
    right = called('{"base": 10, "height": 5}', "calculate_triangle_area")
    async with hostile(answer(right)) as server:
        bench = BFCL.of(options(server.url, "required"))
        (case,) = bench.cases(Selection(ids=("simple_python_0",)))
        outcome = await bench.run(case)
        described = await bench.describe()
        await bench.aclose()
    assert outcome.passed
    assert json.loads(outcome.prompt)["tool_choice"] == "required"
    assert (described["subject"], described["model"]) == ("baseline required", "m")


async def test_a_refused_request_is_the_failure_of_its_case() -> None:
    async with hostile(answer({"error": "no such tool choice"}, status=400)) as server:
        bench = BFCL.of(options(server.url, "auto"))
        (case,) = bench.cases(Selection(ids=("irrelevance_0",)))
        outcome = await bench.run(case)
        await bench.aclose()
    assert not outcome.passed
    assert "no such tool choice" in outcome.error


async def test_a_server_that_is_gone_stops_the_evaluation() -> None:
    async with hostile(answer({}, status=503)) as server:
        subject = baseline(options(server.url, "auto"))
        with pytest.raises(BackendUnavailable, match="503"):
            await subject.answer(MESSAGES, TOOLS)
    with pytest.raises(BackendUnavailable, match="does not answer"):
        await subject.answer(MESSAGES, TOOLS)
    await subject.aclose()


@pytest.mark.parametrize(
    ("backend", "name", "said"),
    [
        ("", "nonsense", ", ".join(BASELINES)),
        ("", "auto", "asks a server"),
        ("vllm:http://a", "llama-template", "in this process"),
    ],
)
def test_a_baseline_that_cannot_be_is_refused(backend: str, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        baseline(EvalOptions(backend=backend, baseline=name))


def test_the_settings_choose_the_class() -> None:
    assert isinstance(
        baseline(EvalOptions(backend="vllm:http://a", baseline="auto")), ServerBaseline
    )
    embedded = baseline(EvalOptions(baseline="llama-chatml"))
    assert isinstance(embedded, LlamaCppBaseline)
    assert embedded.name == "llama-chatml"


@pytest.mark.model
@pytest.mark.parametrize("name", ["llama-template", "llama-chatml"])
async def test_llama_cpp_answers_by_itself(name: str) -> None:
    path = catalog.cached_path("smollm2-135m")
    assert path is not None, "run `ling-agent models pull smollm2-135m`"
    chat_format = None if name == "llama-template" else "chatml-function-calling"
    subject = LlamaCppBaseline(str(path), chat_format=chat_format, sampling=Sampling(max_tokens=8))
    described = await subject.describe()
    answered = await subject.answer(MESSAGES, [])
    again = await subject.answer(MESSAGES, [])
    await subject.aclose()
    assert described["subject"] == f"baseline {name}"
    assert answered.content == again.content != ""
    assert answered.usage.completion_tokens <= 8
    assert answered.error == ""
