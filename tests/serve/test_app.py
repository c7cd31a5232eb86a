"""The app in this process, on asyncio and trio: answers and streams."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import anyio
import pydantic
import pytest

from ling_agent import (
    Limits,
    RunContext,
    Sampling,
    tool,
)
from ling_agent.hooks import BeforeAnswer
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Reply

from ..helpers import GUARD, call
from .agents import PATH, LateBackend, agent_of, kept, newest
from .asgi import Call, chat, content, events, post, request, user

pytestmark = pytest.mark.anyio


class TestWhole:
    async def test_the_answer_with_its_usage(self) -> None:
        agent = agent_of("I add.\n" + call("add", a=1, b=2), " The sum is 3.\n")
        answer = await chat(asgi(agent), "1 + 2?")
        body = answer.json()
        assert (answer.status, body["object"], body["model"]) == (200, "chat.completion", "agent")
        (choice,) = body["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "The sum is 3.",
            "refusal": None,
        }
        assert choice["finish_reason"] == "stop"
        usage = body["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
        result = body["ling_agent"]["result"]
        assert (result["status"], result["usage"]["tool_calls"]) == ("completed", 1)
        assert body["id"] == f"chatcmpl-{result['run_id']}"
        assert answer.headers["x-run-id"] == result["run_id"]

    async def test_nothing_stays_of_a_request_without_a_session(self) -> None:
        agent = agent_of("a", "b", "c")
        app = asgi(agent)
        await chat(app, "x")
        await chat(app, user("x"), {"role": "assistant", "content": "y"}, "z")
        await chat(app, "x", stream=True)
        assert kept(agent) == []

    @pytest.mark.parametrize(
        ("script", "limits", "reason", "status"),
        [
            ([Reply("cut", finish_reason="length")], Limits(), "length", "max_tokens"),
            ([call("add", a=1, b=2)], Limits(max_steps=1), "length", "max_steps"),
        ],
    )
    async def test_a_limit_is_a_length(
        self, script: list[Any], limits: Limits, reason: str, status: str
    ) -> None:
        for stream in (False, True):
            agent = agent_of(*script, limits=limits)
            answer = await chat(asgi(agent), "x", stream=stream)
            if stream:
                last = answer.data()[-1]
                told = last["ling_agent"]["event"]["result"]["status"]
            else:
                last = answer.json()
                told = last["ling_agent"]["result"]["status"]
            assert (last["choices"][0]["finish_reason"], told) == (reason, status)

    async def test_sampling_is_the_requests(self) -> None:
        backend = ScriptedBackend(["a", "b"])
        app = asgi(agent_of(backend, sampling=Sampling(max_tokens=50, top_p=0.5)))
        await chat(app, "x", temperature=0.5, max_tokens=20)
        await chat(app, "x")
        assert [each.sampling for each in backend.requests] == [
            Sampling(max_tokens=20, top_p=0.5, temperature=0.5),
            Sampling(max_tokens=50, top_p=0.5),
        ]

    async def test_deps_come_from_the_request(self) -> None:
        @tool
        def who(ctx: RunContext[str]) -> str:
            """Who asks."""
            return ctx.deps

        async def deps(request: Any) -> str:
            return request.headers["x-user"]

        agent = agent_of(call("who"), newest, tools=[who])
        answer = await post(asgi(agent, deps=deps), PATH, request("x"), x_user="ada")
        assert answer.json()["choices"][0]["message"]["content"] == "ada"

    async def test_an_answer_of_a_type_is_its_json(self) -> None:
        class Offer(pydantic.BaseModel):
            price: float

        for stream in (False, True):
            agent = agent_of("Thinking. " + call("add", a=1, b=2), '{"price": 1.5}')
            agent = agent.with_options(output_type=Offer)
            answer = await chat(asgi(agent), "x", stream=stream)
            if stream:
                text = content(answer.data())
                output = answer.data()[-1]["ling_agent"]["event"]["result"]["output"]
            else:
                text = answer.json()["choices"][0]["message"]["content"]
                output = answer.json()["ling_agent"]["result"]["output"]
            assert (json.loads(text), output) == ({"price": 1.5}, {"price": 1.5})

    @pytest.mark.parametrize(
        ("kind", "said", "output"),
        [
            (Literal["low", "high"], '"low"', "low"),
            (str | int, '"5"', "5"),
            (int | None, "null", None),
        ],
    )
    async def test_a_text_of_a_type_is_json_too(self, kind: Any, said: str, output: Any) -> None:
        """A client could not tell "5" from 5 otherwise."""
        for stream in (False, True):
            agent = agent_of(said).with_options(output_type=kind)
            answer = await chat(asgi(agent), "x", stream=stream)
            if stream:
                text = content(answer.data())
            else:
                text = answer.json()["choices"][0]["message"]["content"]
            assert json.loads(text) == output


class TestStreamed:
    async def test_events_and_content(self) -> None:
        sum_reply = Reply("The sum is 3.", chunk_size=4)
        agent = agent_of("I add.\n" + call("add", a=1, b=2), sum_reply)
        answer = await chat(asgi(agent), "x", stream=True)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.complete
        chunks = answer.data()
        assert content(chunks) == "I add.\n\nThe sum is 3."
        assert all(len(chunk["choices"]) == 1 for chunk in chunks)
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
        assert reasons == [None] * (len(chunks) - 1) + ["stop"]
        told = events(chunks)
        assert len(told) == len(chunks)
        kinds = [event["type"] for event in told]
        assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")
        assert kinds.count("text_delta") == 5
        texts = "".join(event["text"] for event in told if event["type"] == "text_delta")
        assert texts.replace("\n", "") == "I add.The sum is 3."
        (finished,) = [event for event in told if event["type"] == "tool_finished"]
        assert finished["observation"]["content"] == "3"

    async def test_without_events_only_the_result_is_told(self) -> None:
        agent = agent_of("I add.\n" + call("add", a=1, b=2), "3")
        chunks = (await chat(asgi(agent, events=False), "x", stream=True)).data()
        assert content(chunks) == "I add.\n\n3"
        assert [event["type"] for event in events(chunks)] == ["run_finished"]
        assert len(chunks) == 4

    async def test_the_answer_alone(self) -> None:
        agent = agent_of("I add.\n" + call("add", a=1, b=2), "3")
        chunks = (await chat(asgi(agent, answer_only=True), "x", stream=True)).data()
        assert content(chunks) == "3"

    async def test_usage_where_it_is_asked_for(self) -> None:
        app = asgi(agent_of("a", "b"))
        options = {"include_usage": True}
        *chunks, last = (await chat(app, "x", stream=True, stream_options=options)).data()
        assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 1)
        assert {chunk["usage"] for chunk in chunks} == {None}
        assert all("usage" not in chunk for chunk in (await chat(app, "x", stream=True)).data())

    async def test_text_that_cannot_be_encoded_is_escaped(self) -> None:
        text = 'é\ud800 "\u2028\r\n\ndata: [DONE]\n\n'
        chunks = (await chat(asgi(agent_of(text + ".")), "x", stream=True)).data()
        assert content(chunks) == text + "."

    async def test_a_comment_while_the_model_is_silent(self) -> None:
        lively, running = anyio.Event(), Call()
        app = asgi(agent_of(LateBackend(lively)), keepalive=0.01)
        async with anyio.create_task_group() as group:
            body = json.dumps(request("x", stream=True)).encode()
            group.start_soon(running.make, app, PATH, body)
            while b": keep-alive\n\n" not in running.answer.parts:
                with anyio.fail_after(GUARD):
                    await anyio.sleep(0.001)
            lively.set()
        assert content(running.answer.data()) == "late"

    async def test_a_guardrails_answer_is_told(self) -> None:
        def hide(moment: BeforeAnswer) -> BeforeAnswer:
            return dataclasses.replace(moment, output="***")

        for alone, said in ((True, "***"), (False, "secret\n\n***")):
            agent = agent_of("secret", hooks=[hide])
            chunks = (await chat(asgi(agent, answer_only=alone), "x", stream=True)).data()
            assert content(chunks) == said
