"""`ScriptedBackend`: a model that answers as it was told."""

from __future__ import annotations

import pytest

from ling_agent import Agent, BackendUnavailable, ConfigurationError, ContextOverflow, Usage
from ling_agent.backends import Finished, ModelRequest, TextChunk
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest((UserMessage("one two"),))


async def ask(backend: ScriptedBackend, request: ModelRequest = REQUEST) -> list[object]:
    async with backend.stream(request) as chunks:
        return [chunk async for chunk in chunks]


async def test_texts_in_order_and_then_the_end() -> None:
    backend = ScriptedBackend(["one", Reply("two three", finish_reason="length")])
    first, finished = await ask(backend)
    assert first == TextChunk("one")
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.usage.completion_tokens) == ("stop", 1)
    assert finished.usage.requests == 1
    _, finished = await ask(backend)
    assert isinstance(finished, Finished)
    assert finished.finish_reason == "length"
    assert backend.requests == [REQUEST, REQUEST]
    backend.assert_exhausted()


async def test_chunks_of_any_size() -> None:
    backend = ScriptedBackend(["abcde", Reply("abc", chunk_size=1)], chunk_size=2)
    assert [c.text for c in await ask(backend) if isinstance(c, TextChunk)] == ["ab", "cd", "e"]
    assert [c.text for c in await ask(backend) if isinstance(c, TextChunk)] == ["a", "b", "c"]


def count(request: ModelRequest) -> str:
    return f"{len(request.messages)} messages"


async def test_functions_and_exceptions_and_usage() -> None:
    usage = Usage(prompt_tokens=7, requests=1)
    script = [
        count,
        BackendUnavailable("gone"),
        Reply("a", usage=usage),
    ]
    backend = ScriptedBackend(script)
    assert (await ask(backend))[0] == TextChunk("1 messages")
    with pytest.raises(BackendUnavailable, match="gone"):
        await ask(backend)
    assert (await ask(backend))[-1] == Finished("stop", usage)


async def test_a_prefill_is_part_of_what_was_generated() -> None:
    backend = ScriptedBackend([" b"], renders_prompts=True)
    request = ModelRequest((UserMessage("x"),), prefill="a")
    assert (await ask(backend, request))[:2] == [TextChunk("a"), TextChunk(" b")]
    assert backend.renders_prompts


async def test_one_request_too_many_is_told() -> None:
    with pytest.raises(AssertionError, match="no reply for request 2"):
        await Agent(ScriptedBackend([""])).run("x")


async def test_replies_left_over_are_told_and_stay() -> None:
    backend = ScriptedBackend(["a", "b"])
    for _ in range(2):
        with pytest.raises(AssertionError, match="2 scripted replies"):
            backend.assert_exhausted()
    assert [(await ask(backend))[0] for _ in range(2)] == [TextChunk("a"), TextChunk("b")]
    backend.assert_exhausted()


async def test_a_reply_is_one_request_whatever_its_usage_says() -> None:
    backend = ScriptedBackend([Reply("a", usage=Usage(prompt_tokens=7, completion_tokens=3))])
    result = await Agent(backend).run("x")
    assert (result.usage.requests, result.usage.total_tokens) == (1, 10)


def test_one_text_is_no_list_of_replies() -> None:
    with pytest.raises(ConfigurationError, match="a list of texts"):
        ScriptedBackend("a text")


async def test_a_prompt_that_does_not_fit_is_refused_and_uses_no_reply() -> None:
    backend = ScriptedBackend(["a"], context_window=20)
    long = ModelRequest((UserMessage("word " * 21),))
    with pytest.raises(ContextOverflow, match="scripted context window 20") as caught:
        await ask(backend, long)
    assert (caught.value.prompt_tokens > 20, caught.value.context_window) == (True, 20)
    assert (await ask(backend))[0] == TextChunk("a")
    assert backend.requests == [long, REQUEST]
