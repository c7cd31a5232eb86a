"""The scripted server of `benchmarks.step_overhead` speaks as vLLM does; nothing is timed here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import Any

import httpx2
import pytest

from benchmarks.step_overhead import script, task
from benchmarks.step_overhead.clients import ByHand, Httpx2
from benchmarks.step_overhead.goals import goals
from benchmarks.step_overhead.measure import Crowd, Effort, Row
from benchmarks.step_overhead.processes import ContenderError, serving, working
from benchmarks.step_overhead.registry import ENTRIES, Way
from benchmarks.step_overhead.sockets import Sockets
from benchmarks.step_overhead.table import as_json, as_text


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving(gap_ms=0) as address:
        yield address


@pytest.fixture
def client(url: str) -> Generator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=30) as opened:
        yield opened


def request(step: int, **more: Any) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": script.TASK}]
    for number in range(step):
        messages.append({"role": "assistant", "content": "", "tool_calls": []})
        messages.append({"role": "tool", "tool_call_id": str(number), "content": "nothing"})
    return {"model": script.MODEL, "messages": messages, **more}


def plain(client: httpx2.Client, step: int) -> dict[str, Any]:
    response = client.post("/v1/chat/completions", json=request(step))
    assert response.status_code == 200
    return response.json()


def streamed(client: httpx2.Client, step: int, **more: Any) -> list[dict[str, Any]]:
    response = client.post("/v1/chat/completions", json=request(step, stream=True, **more))
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of the chunks: content, calls and finish reason."""
    content, calls, reason = "", list[dict[str, Any]](), None
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        content += choice["delta"].get("content") or ""
        for piece in choice["delta"].get("tool_calls", ()):
            if "id" in piece:
                calls.append({"id": piece["id"], "type": piece["type"], "function": {}})
                calls[-1]["function"] = dict(piece["function"])
            else:
                calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
        reason = choice["finish_reason"] or reason
    return {"content": content, "tool_calls": calls, "finish_reason": reason}


@pytest.mark.parametrize("step", range(script.STEPS))
def test_a_streamed_answer_has_24_chunks_and_equals_the_whole_one(
    client: httpx2.Client, step: int
) -> None:
    chunks = streamed(client, step)
    choice = plain(client, step)["choices"][0]
    whole = {key: choice["message"][key] for key in ("content", "tool_calls")}
    assert len(chunks) == script.CHUNKS == 24
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert joined(chunks) == {**whole, "finish_reason": choice["finish_reason"]}


def test_ten_different_calls_and_then_an_answer(client: httpx2.Client) -> None:
    seen: set[str] = set()
    for step in range(script.TOOL_STEPS):
        choice = plain(client, step)["choices"][0]
        (call,) = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
        assert call["function"]["name"] == script.TOOL
        assert json.loads(call["function"]["arguments"])["page"] == step + 1
        seen.add(call["function"]["arguments"])
    last = plain(client, script.TOOL_STEPS)["choices"][0]
    assert len(seen) == 10
    assert (last["finish_reason"], last["message"]["tool_calls"]) == ("stop", [])
    assert last["message"]["content"] == script.FINAL_ANSWER


def test_a_calls_head_comes_before_its_arguments(client: httpx2.Client) -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(client, 3)]
    head, *fragments = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert head["id"]
    assert head["function"] == {"name": script.TOOL, "arguments": ""}
    assert len(fragments) > 8
    assert all(piece.keys() == {"index", "function"} for piece in fragments)


def test_usage_comes_when_it_is_asked_for(client: httpx2.Client) -> None:
    *chunks, last = streamed(client, 4, stream_options={"include_usage": True})
    usage = plain(client, 4)["usage"]
    assert len(chunks) == script.CHUNKS
    assert last["choices"] == []
    assert last["usage"] == usage
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_other_pages(client: httpx2.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["owned_by"]) == (script.MODEL, "vllm")
    assert model["max_model_len"] == script.CONTEXT_WINDOW
    assert client.get("/version").json() == {"version": "0.32.0"}
    assert client.get("/health").status_code == 200
    assert client.get("/props").status_code == 404
    assert client.get("/props").json() == {"detail": "Not Found"}
    assert client.post("/v1/chat/completions", content=b"[").status_code == 400


@pytest.mark.parametrize("contender", [Httpx2, Sockets])
def test_a_loop_by_hand_does_the_task(url: str, contender: type[Httpx2 | Sockets]) -> None:
    async def many(loop: ByHand) -> list[str]:
        return await asyncio.gather(*(run() for run in (loop.plain, loop.streamed) * 3))

    async def work() -> list[str]:
        loop = contender(url)
        try:
            return await many(loop)
        finally:
            await loop.aclose()

    before = task.calls_made
    task.check(asyncio.run(work()), before)


def test_a_worker_measures_and_tells_a_failure(url: str) -> None:
    with working("asyncio", url) as worker:
        measured = worker.perform("streamed", 2, at_once=True)
    assert measured["cpu"] > 0
    assert measured["peak_kb"] >= measured["rss_kb"] > 0
    with working("asyncio", "http://127.0.0.1:1") as worker, pytest.raises(ContenderError):
        worker.perform("plain", 1)


def test_the_table_names_what_is_missing_and_what_was_missed() -> None:
    rows = [
        Row("openai", {}, {"plain": [4.0, 5.0], "streamed": [10.0]}),
        Row("ling_agent", {}, {"plain": [2.0], "streamed": [4.0]}),
        Row("langgraph", {}, {"plain": [6.0], "streamed": [11.0]}),
        Row("agno", None),
    ]
    crowds: dict[Way, Crowd] = {"streamed": Crowd(200, ms=4.4, alone_ms=4.0, after_kb=(100, 110))}
    effort = Effort(runs=3, rounds=5, gap_ms=1)
    text = as_text(rows, crowds, effort)
    assert "missed: streamed step, of openai's 0.40 (≤ 0.3)" in text
    assert "met: unstreamed step, of openai's 0.50 (≤ 0.6)" in text
    assert "met: least peer's unstreamed step (langgraph), of ours 3.00 (≥ 3.0)" in text
    assert "met: streamed step of 200 runs at once, of a single run's 1.10 (≤ 1.3)" in text
    assert "| agno | not installed |" in text
    assert "requirements-peers.txt" in text
    data = json.loads(json.dumps(as_json(rows, crowds, effort)))
    assert data["cpu_ms_a_step"]["openai"]["plain"]["median"] == 4.5
    assert [goal["met"] for goal in data["goals"]] == [False, True, True, False, True]


def test_goals_that_cannot_be_told_are_not_met() -> None:
    assert all(goal.met is None for goal in goals([Row("openai", None)], {}))


def test_every_contender_has_a_class() -> None:
    assert all(callable(entry.load()) for entry in ENTRIES.values())
