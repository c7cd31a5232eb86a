"""What went to the model and what came back, kept for one case."""

from __future__ import annotations

import json

import pytest

from ling_agent import Agent, BackendUnavailable
from ling_agent.backends import Backend, ReasoningChunk, TextChunk
from ling_agent.backends.base import Finished, ModelRequest
from ling_agent.evals.recording import RecordingBackend
from ling_agent.messages import UserMessage
from ling_agent.results import Usage
from ling_agent.testing import ScriptedBackend
from tests.helpers import call

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@pytest.mark.parametrize("renders", [True, False])
async def test_a_run_goes_as_it_would_without(renders: bool) -> None:
    texts = [call("add", a=1, b=2), "3"]
    plain = ScriptedBackend(texts, renders_prompts=renders)
    kept = ScriptedBackend(texts, renders_prompts=renders)
    recording = RecordingBackend(kept)
    results = [
        await Agent(backend, tools=[add], planning="off").run("Add 1 and 2.", session="s")
        for backend in (plain, recording)
    ]
    assert results[0].output == results[1].output == "3"
    assert plain.requests == kept.requests
    assert [each.text for each in recording.exchanges] == texts
    assert [each.finish_reason for each in recording.exchanges] == ["stop", "stop"]
    if renders:
        assert [each.prompt for each in recording.exchanges] == [
            kept.prompt(request) for request in kept.requests
        ]
    else:
        sent = json.loads(recording.exchanges[0].prompt)
        assert sent["messages"] == [{"role": "user", "content": "Add 1 and 2."}]
        assert sent["tools"][0]["function"]["name"] == "add"


async def test_a_prefill_is_part_of_the_prompt() -> None:
    recording = RecordingBackend(ScriptedBackend(["b"], renders_prompts=True))
    request = ModelRequest((UserMessage("x"),), prefill="a")
    async with recording.stream(request) as chunks:
        assert [c.text async for c in chunks if isinstance(c, TextChunk)] == ["a", "b"]
    (exchange,) = recording.exchanges
    assert exchange.prompt.endswith("<|im_start|>assistant\na")
    assert exchange.text == "ab"


async def test_what_was_written_before_an_error_or_a_stop_is_kept() -> None:
    recording = RecordingBackend(
        ScriptedBackend([BackendUnavailable("gone"), "one two"], chunk_size=3)
    )
    request = ModelRequest((UserMessage("x"),))
    with pytest.raises(BackendUnavailable):
        async with recording.stream(request) as chunks:
            pass
    async with recording.stream(request) as chunks:
        async for _ in chunks:
            break
    assert [(e.text, e.finish_reason) for e in recording.exchanges] == [("", ""), ("one", "")]


async def test_reasoning_stands_in_front() -> None:
    class Thinking(ScriptedBackend):
        async def _play(self, *_: object):  # type: ignore[override, no-untyped-def]  # pyright: ignore
            yield ReasoningChunk("hm")
            yield TextChunk("3")
            yield Finished("stop", Usage())

    recording = RecordingBackend(Thinking(["-"]))
    async with recording.stream(ModelRequest((UserMessage("x"),))) as chunks:
        assert [chunk async for chunk in chunks]
    assert recording.exchanges[0].text == "<think>hm</think>3"


async def test_it_tells_what_the_backend_tells() -> None:
    backend = ScriptedBackend([], renders_prompts=True)
    recording: Backend = RecordingBackend(backend)
    assert recording.name == backend.name
    assert recording.renders_prompts
    assert await recording.describe() == await backend.describe()
    assert recording.tool_notes([]) == backend.tool_notes([])
    assert await recording.count_tokens("x") == await backend.count_tokens("x")
