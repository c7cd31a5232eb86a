"""`BFCL` from a case to its outcome."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ling_agent import BackendUnavailable, ConfigurationError, ContextOverflow
from ling_agent.evals.benchmark import Selection
from ling_agent.evals.bfcl import BFCL, CATEGORIES, HEADLINE, SINGLE_TURN
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.subject import AgentSubject
from ling_agent.testing import ScriptedBackend
from tests.helpers import call

pytestmark = pytest.mark.anyio

RIGHT = call("calculate_triangle_area", base=10, height="5")


def benchmark(*texts: str | Exception, renders_prompts: bool = False) -> BFCL:
    backend = ScriptedBackend(texts, renders_prompts=renders_prompts)
    return BFCL(AgentSubject(backend, planning="off"))


async def test_an_outcome_has_everything() -> None:
    bench = benchmark(RIGHT, renders_prompts=True)
    (case,) = bench.cases(Selection(ids=("simple_python_0",)))
    outcome = await bench.run(case)
    assert (outcome.passed, outcome.score, outcome.verdict) == (True, 1.0, "ok")
    assert (outcome.case, outcome.category) == ("simple_python_0", "simple_python")
    assert outcome.calls == (
        {"name": "calculate_triangle_area", "arguments": {"base": 10, "height": 5}},
    )
    assert outcome.text == RIGHT
    assert "Find the area of a triangle" in outcome.prompt
    assert outcome.prompt.endswith("<|im_start|>assistant\n")
    assert outcome.usage.requests == 1
    assert outcome.seconds > 0
    assert outcome.status == "max_steps"
    assert json.loads(json.dumps(dataclasses.asdict(outcome)))["error"] == ""


async def test_a_wrong_answer_is_told() -> None:
    bench = benchmark(RIGHT.replace("10", "11"))
    (case,) = bench.cases(Selection(ids=("simple_python_0",)))
    outcome = await bench.run(case)
    assert (outcome.passed, outcome.score, outcome.error) == (False, 0.0, "")
    assert outcome.verdict.startswith("value_error:others: Invalid value for parameter 'base': 11")


async def test_a_model_that_is_gone_stops_the_evaluation() -> None:
    bench = benchmark(BackendUnavailable("gone"))
    (case,) = bench.cases(Selection(ids=("simple_python_0",)))
    with pytest.raises(BackendUnavailable, match="gone"):
        await bench.run(case)


async def test_another_failure_is_the_outcome_of_its_case() -> None:
    bench = benchmark(*[ContextOverflow("too long")] * 8)
    (case,) = bench.cases(Selection(ids=("irrelevance_0",)))
    outcome = await bench.run(case)
    assert not outcome.passed  # although there was no call
    assert "too long" in outcome.error


async def test_the_header_tells_the_settings() -> None:
    assert await benchmark().describe() == {
        "benchmark": "bfcl",
        "package": "2026.3.23",
        "subject": "ling-agent",
        "backend": "scripted",
        "model": "scripted",
        "profile": (await ScriptedBackend([]).describe()).profile.name,
        "planning": "off",
        "temperature": 0.0,
        "max_tokens": 1024,
        "sampling_seed": 0,
        "observation": "",
        "max_steps": 1,
    }


def test_all_categories_are_the_default() -> None:
    assert len({c.category for c in benchmark().cases(Selection(limit=1))}) == len(CATEGORIES)
    assert BFCL.headline == HEADLINE


def test_a_baseline_has_single_turns_only() -> None:
    options = EvalOptions(backend="vllm:http://127.0.0.1:9", baseline="auto")
    bench = BFCL.of(options)
    assert {c.category for c in bench.cases(Selection(limit=1))} == set(SINGLE_TURN)
    for selection in (Selection(("multi_turn",), 1), Selection(ids=("multi_turn_base_0",))):
        with pytest.raises(ConfigurationError, match="leave out multi_turn_"):
            bench.cases(selection)


def test_settings_make_the_subject() -> None:
    bench = BFCL.of(
        EvalOptions(planning="explicit", temperature=0.5, max_tokens=77, sampling_seed=3)
    )
    subject = bench.subject
    assert isinstance(subject, AgentSubject)
    assert subject.agent(()).planning == "explicit"
    assert (subject.sampling.temperature, subject.sampling.max_tokens) == (0.5, 77)
    assert subject.sampling.seed == 3
    assert subject.backend.name == "llamacpp:qwen2.5-coder-0.5b"
