"""Calls that wait for approval: how a client hears of them, and how it decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ling_agent import Agent, Limits, tool
from ling_agent.memory import Memory
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend

from ..helpers import call
from .asgi import Answer, Call, chat, content, events, post, request

pytestmark = pytest.mark.anyio


@tool(requires_approval=True)
def buy(offer: int) -> str:
    """Buy an offer."""
    return f"bought {offer}"


@tool
def look() -> str:
    """Look."""
    return "seen"


def told(request: Any) -> str:
    """The newest result, as the answer."""
    return request.messages[-1].content


def agent_of(*script: Any, **options: Any) -> Agent[Any]:
    script = script or (call("buy", offer=1), told)
    options = {"planning": "off", "tools": [buy, look], **options}
    return Agent(ScriptedBackend(script), **options)


async def resume(app: Any, path: str, approvals: Any, **more: Any) -> Answer:
    return await post(app, path, {"approvals": approvals, **more})


def names(agent: Agent[Any]) -> list[str]:
    return [info.run_id for info in agent.memory.store.runs()]


async def asked(app: Any, **more: Any) -> tuple[str, str]:
    """Where to decide, and the call that waits."""
    answer = (await chat(app, "buy 1", **more)).json()
    (waiting,) = answer["ling_agent"]["result"]["pending_approvals"]
    return answer["ling_agent"]["resume"], waiting["id"]


async def test_a_whole_answer_has_the_calls() -> None:
    agent = agent_of()
    answer = (await chat(asgi(agent), "buy 1")).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (waiting,) = choice["message"]["tool_calls"]
    assert waiting == {
        "id": "call_1_0",
        "type": "function",
        "function": {"name": "buy", "arguments": '{"offer":1}'},
    }
    assert choice["message"]["content"] is None
    result = answer["ling_agent"]["result"]
    assert result["pending_approvals"][0]["arguments"] == {"offer": 1}
    assert answer["ling_agent"]["resume"] == f"/v1/runs/{result['run_id']}/resume"
    assert names(agent) == [result["run_id"]]


async def test_a_streamed_answer_has_the_calls_at_its_end() -> None:
    *chunks, last = (await chat(asgi(agent_of()), "buy 1", stream=True)).data()
    (choice,) = last["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["delta"]["tool_calls"][0]["index"] == 0
    assert choice["delta"]["tool_calls"][0]["function"]["name"] == "buy"
    assert last["ling_agent"]["resume"].endswith("/resume")
    assert "approval_requested" in [event["type"] for event in events(chunks)]


@pytest.mark.parametrize(
    ("decision", "result"),
    [
        (True, "bought 1"),
        (False, "Error: this call was not approved: the user declined"),
        ({"deny": "too dear"}, "Error: this call was not approved: too dear"),
        ({"edit": {"offer": 2}}, "bought 2"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_decision_goes_on_with_the_run(decision: Any, result: str, stream: bool) -> None:
    agent = agent_of()
    app = asgi(agent)
    path, waiting = await asked(app)
    answer = await resume(app, path, {waiting: decision}, stream=stream)
    assert answer.status == 200
    if stream:
        said = content(answer.data())
        assert events(answer.data())[-1]["result"]["status"] == "completed"
    else:
        said = answer.json()["choices"][0]["message"]["content"]
        assert answer.json()["model"] == "agent"
    assert result in said
    assert names(agent) == []


async def test_a_session_stays_and_goes_on() -> None:
    agent = agent_of(call("buy", offer=1), "done", "more")
    app = asgi(agent)
    path, waiting = await asked(app, session="s")
    assert path == "/v1/runs/http:s/resume"
    assert (await resume(app, path, {waiting: True})).status == 200
    assert (await chat(app, "more", session="s")).status == 200
    assert names(agent) == ["http:s"]


async def test_what_is_not_decided_waits_on() -> None:
    app = asgi(agent_of())
    path, waiting = await asked(app)
    answer = (await resume(app, path, {})).json()
    assert answer["ling_agent"]["resume"] == path
    assert answer["ling_agent"]["result"]["pending_approvals"][0]["id"] == waiting


async def test_a_limited_session_goes_on() -> None:
    agent = agent_of(call("look"), "done", limits=Limits(max_steps=1))
    app = asgi(agent)
    await chat(app, "look", session="s")
    answer = await resume(app, "/v1/runs/http:s/resume", None)
    assert answer.json()["choices"][0]["message"]["content"] == "done"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "approvals",
    [
        5,
        {"call_1_0": "yes"},
        {"call_1_0": 1},
        {"call_1_0": {"deny": 5}},
        {"call_1_0": {"edit": []}},
        {"call_1_0": {"deny": "a", "edit": {}}},
        {"call_9_9": True},
    ],
)
async def test_what_is_no_decision(approvals: Any, stream: bool) -> None:
    agent = agent_of()
    app = asgi(agent)
    path, waiting = await asked(app)
    answer = await resume(app, path, approvals, stream=stream)
    assert (answer.status, answer.error["param"]) == (400, "approvals")
    assert (await resume(app, path, {waiting: True})).status == 200


async def test_runs_that_cannot_go_on() -> None:
    agent = agent_of("done", "done")
    app = asgi(agent)
    await chat(app, "x", session="s")
    await agent.run("private", session="mine")
    for run_id, status in (
        ("http:s", 409),
        ("http:t", 404),
        ("mine", 404),
        (f"http-{'0' * 32}", 404),
        ("http-1", 404),
    ):
        answer = await resume(app, f"/v1/runs/{run_id}/resume", {})
        assert answer.status == status


async def test_the_agent_is_found_or_named() -> None:
    memory = Memory()
    first, second = agent_of(memory=memory), agent_of(memory=memory, name="second")
    app = asgi([first, second, agent_of(name="third")])
    path, waiting = await asked(app)
    path, _, query = path.partition("?")
    assert query == "model=agent"
    assert (await resume(app, path, {waiting: True})).error["param"] == "model"
    assert (await resume(app, path, {waiting: True}, model="third")).status == 404
    assert (await resume(app, path, {waiting: True}, model="nobody")).status == 404
    body = json.dumps({"approvals": {waiting: True}}).encode()
    assert (await Call().make(app, path, body, query=query)).status == 200


async def test_results_of_tools_are_refused_with_a_hint() -> None:
    result = {"role": "tool", "tool_call_id": "call_1_0", "content": "bought"}
    body = request("buy 1", result)
    answer = await post(asgi(agent_of()), "/v1/chat/completions", body)
    assert answer.status == 400
    assert "ling_agent.resume" in answer.error["message"]
