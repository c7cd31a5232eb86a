"""The parts of `benchmarks.memory`: its texts, its server, and a run of a few steps."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.memory import steps
from benchmarks.memory.appending import Appended
from benchmarks.memory.conversation import RECORD_ASKED, Conversation
from benchmarks.memory.facts import COUNT, facts
from benchmarks.memory.filler import LENGTH, Filler
from benchmarks.memory.goals import goals
from benchmarks.memory.measure import Costs, Figures, LongRun, folder, measure
from benchmarks.memory.processes import ChildError, ask, report, serving
from benchmarks.memory.recall import Asked
from benchmarks.memory.table import as_json, as_text
from ling_agent.memory import record

USER: dict[str, Any] = {"role": "user", "content": steps.TASK}
FUNCTION: dict[str, Any] = {"name": steps.TOOL, "parameters": {}}
TOOLS = [{"type": "function", "function": FUNCTION}]
NOTE: dict[str, Any] = {
    "role": "user",
    "content": f"Shorten. {RECORD_ASKED}.\nHandles:\n[e3] read_page(1)",
}


@pytest.fixture
def url() -> Generator[str]:
    with serving(2) as address:
        yield address


@pytest.fixture
def client(url: str) -> Generator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=30) as opened:
        yield opened


def answered(number: int) -> list[dict[str, Any]]:
    """A call and its observation."""
    function = {"name": steps.TOOL, "arguments": "{}"}
    call = {"id": str(number), "type": "function", "function": function}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": str(number), "content": f"page {number}"},
    ]


# -- texts ------------------------------------------------------------------------------------


def test_observations_are_the_same_each_time_and_hold_what_is_planted() -> None:
    first, again = Filler(1), Filler(1)
    for fact in facts(12):
        text = first.observation(fact.text)
        assert text == again.observation(fact.text)
        assert abs(len(text) - LENGTH) <= 1
        assert fact.text in text.split("\n")


def test_facts_differ_and_each_is_asked_for_by_its_name() -> None:
    made = facts()
    assert len(made) == COUNT
    for part in ("text", "exact", "paraphrase"):
        assert len({getattr(fact, part) for fact in made}) == COUNT
    assert len({fact.kind for fact in made}) == 12
    key = made[0]
    name, shelf = key.text.split()[5], key.text.rstrip(".").split()[-1]
    assert all(name in asked and shelf not in asked for asked in (key.exact, key.paraphrase))


def test_steps_are_read_as_they_were_written(tmp_path: Path) -> None:
    planted = steps.write(tmp_path / "texts", 20)
    with closing(steps.Steps(tmp_path / "texts")) as read:
        assert len(read) == len(planted) == 20
        assert all(fact.text in read.observation(step) for step, fact in planted.items())


# -- the server -------------------------------------------------------------------------------


def test_a_prompt_that_does_not_extend_the_one_before_is_counted() -> None:
    seen = Conversation(5)
    seen.answer({"messages": [USER], "tools": TOOLS})
    seen.answer({"messages": [USER, *answered(1)], "tools": TOOLS})
    seen.answer({"messages": [USER, *answered(1), NOTE], "tools": TOOLS})
    seen.answer({"messages": [USER, *answered(1), *answered(2)], "tools": TOOLS})
    assert (seen.changed, seen.requests, seen.records) == ([], 3, 1)
    seen.answer({"messages": [USER, *answered(2), *answered(3)], "tools": TOOLS})
    seen.answer({"messages": [USER, *answered(2), *answered(3)], "tools": []})
    changes = [(c["request"], c["message"], c["tools"]) for c in seen.changed]
    assert changes == [(4, 1, False), (5, 5, True)]


def test_a_record_is_one_that_the_library_takes() -> None:
    text = Conversation(5).answer({"messages": [USER, NOTE]}).content
    assert "[e3]" in (record.checked(text, {3}) or "")


def test_usage_is_what_tokenize_counts(client: httpx2.Client) -> None:
    asked = {"messages": [USER, *answered(1)], "tools": TOOLS}
    usage = client.post("/v1/chat/completions", json=asked).json()["usage"]
    count = client.post("/tokenize", json=asked).json()["count"]
    assert usage["prompt_tokens"] == count
    assert client.post("/tokenize", json={"prompt": "a" * 40}).json()["count"] == 10
    more = {"messages": [USER, *answered(1), *answered(2)], "tools": TOOLS}
    details = client.post("/v1/chat/completions", json=more).json()["usage"]
    assert 0 < details["prompt_tokens_details"]["cached_tokens"] < details["prompt_tokens"]


def test_it_plays_vllm_and_says_what_it_saw(client: httpx2.Client, url: str) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["owned_by"], model["max_model_len"]) == ("vllm", 262_144)
    whole = client.post("/v1/chat/completions", json={"messages": [USER]}).json()["choices"][0]
    assert json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"])["page"] == 1
    events = client.post("/v1/chat/completions", json={"messages": [USER], "stream": True})
    *chunks, done, rest = events.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    said = [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]
    assert said[-1]["usage"]["prompt_tokens"] > 0
    assert said[-2]["choices"][0]["finish_reason"] == "tool_calls"
    last = client.post("/v1/chat/completions", json={"messages": [USER]}).json()["choices"][0]
    assert last["message"]["content"] == steps.FINAL_ANSWER
    assert client.get("/openapi.json").status_code == 404
    assert report(url)["requests"] == 3


# -- the measurement --------------------------------------------------------------------------


def test_a_short_run_is_measured(tmp_path: Path) -> None:
    figures = measure(30, tmp_path, peers=False)
    assert figures.run.told["calls"] == 31
    assert figures.run.seen["requests"] == 31
    assert figures.resumed[0]["messages"] == figures.run.seen["messages"] + 1
    assert sum(figures.exact.all.values()) == 30
    assert not figures.run.elsewhere
    assert as_text(figures, verbose=True).count("| yes |") > 3
    json.dumps(as_json(figures))


def test_a_run_that_fails_says_so(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="resume"):
        ask("resume", tmp_path / "none.db")
    assert "StoreError" in capfd.readouterr().err


def figures_of(changed: list[dict[str, Any]]) -> Figures:
    told: dict[str, Any] = {
        "cpu": [n * 0.002 for n in range(300)],
        "resident": {"100": 50_000_000, "300": 120_000_000},
        "raw": 1000,
        "entries": 9,
        "wall": 1.0,
        "compactions": [{"step": 4, "reason": "full", "by": "", "stubs": 1, "dropped": 0}],
    }
    seen = {"changed": changed, "requests": 9, "records": 0, "tokenized": 0, "largest": 5}
    run = LongRun(told, seen, 1400)
    times = {"total": 0.1, "load": 0.1, "window": 0.0, "imports": 0.3, "messages": 4}
    asked = Asked({"key": 9}, {"key": 10}, [0.01])
    appended = Appended([0.002], [0.001])
    return Figures(300, run, [times], asked, asked, appended, run, {"langgraph": None})


def test_goals_are_judged_and_printed() -> None:
    change = {"request": 5, "record": False, "message": 2, "messages": 8, "tools": False}
    figures = figures_of([change])
    met = [goal.met for goal in goals(figures)]
    assert met == [True, False, True, False, False, True, True, False, True]
    text = as_text(figures)
    assert "| file / raw text | 1.40 | ≤ 1.3 | no |" in text
    assert "prefix kept up to message 2" in text
    assert "requirements-peers.txt" in text


def test_a_prefix_lost_without_a_compaction_is_told() -> None:
    change = {"request": 7, "record": False, "message": 2, "messages": 8, "tools": True}
    figures = figures_of([change])
    assert [goal.met for goal in goals(figures) if goal.name.endswith("elsewhere")] == [False]
    assert "request 7: lost its prefix WITHOUT a compaction" in as_text(figures)


def test_costs_of_a_run_that_is_too_short_are_none() -> None:
    assert Costs.of([1.0, 1.5]).early is None
    assert Costs.of([1.0, 1.5]).late == 500


def test_files_stay_only_where_they_are_to(tmp_path: Path) -> None:
    with folder(tmp_path / "kept") as kept:
        (kept / "file").touch()
    assert (tmp_path / "kept" / "file").exists()
    with folder(None) as gone:
        (gone / "file").touch()
    assert not gone.exists()
