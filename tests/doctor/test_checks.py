"""Each check of a server says ok to a good one, and can fail."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent.doctor import Finding, examine
from tests.backends.remote.hostile import Exchange

from .faults import CACHE, CALLS, LOOKED, SAMPLING, Fault
from .stand_in import StandIn, serving, sglang, vllm

pytestmark = pytest.mark.anyio


async def findings(
    stand_in: StandIn | None = None,
    routes: dict[str, object] | None = None,
    *,
    scheme: str = "vllm",
    model: str = "",
) -> dict[str, Finding]:
    async with serving(stand_in or StandIn(), routes or vllm("m")) as server:
        report = await examine(f"{scheme}:{server.url}{f'#{model}' if model else ''}")
    return {finding.check: finding for finding in report.findings}


ORDER = [
    "reachable",
    "model",
    "version",
    "context-window",
    "tool-parser",
    "forced-call",
    "structural-tags",
    "streaming",
    "cached-tokens",
    "prefix-cache",
    "usage",
    "reasoning",
    "default-sampling",
    "speed",
]


@pytest.mark.parametrize("scheme", ["vllm", "sglang"])
async def test_a_good_server_is_ok_throughout(scheme: str) -> None:
    routes = sglang("m") if scheme == "sglang" else vllm("m")
    found = await findings(routes=routes, scheme=scheme)
    assert list(found) == ORDER
    assert {name: f.seen for name, f in found.items() if f.status != "ok"} == {}
    assert not any(finding.fix for finding in found.values())
    assert found["speed"].figures["tokens_per_second"] > 0


@pytest.mark.parametrize("fault", CALLS + SAMPLING + CACHE + LOOKED, ids=str)
async def test_a_fault_is_found(fault: Fault) -> None:
    found = await findings(
        StandIn(**fault.how), fault.routes, scheme=fault.scheme, model=fault.model
    )
    finding = found[fault.check]
    assert (finding.status, fault.seen in finding.seen) == (fault.status, True), finding
    assert fault.fix in finding.fix, finding
    assert bool(finding.fix) == bool(fault.fix), finding
    if finding.status in ("warning", "broken"):
        assert finding.fix, "each one names what to change"


@pytest.mark.parametrize(
    ("how", "also"),
    [
        ({"parser": "refuses"}, {"structural-tags", "reasoning"}),
        ({"parser": "text"}, {"forced-call", "structural-tags"}),
        ({"names": False}, set[str]()),
        ({"holds": False}, set[str]()),
        ({"streams": "empty"}, set[str]()),
        ({"reports": False}, set[str]()),
        ({"cached": 0}, set[str]()),
        ({"drifts": True}, set[str]()),
        ({"usage": "whole"}, set[str]()),
    ],
)
async def test_one_fault_is_not_found_everywhere(how: dict[str, Any], also: set[str]) -> None:
    found = await findings(StandIn(**how))
    bad = {name for name, f in found.items() if f.status in ("warning", "broken")}
    assert len(bad - also) <= 1, bad


async def test_reasoning_of_a_model_that_thinks_is_no_fault() -> None:
    class Thinks(StandIn):
        def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
            message, finish = super()._message(body, seen)
            return {**message, "reasoning": "The user wants the weather."}, finish

    assert (await findings(Thinks()))["reasoning"].status == "ok"
    found = await findings(Thinks(), vllm("ling-2.6-flash"))
    assert (found["reasoning"].status, "--reasoning-parser" in found["reasoning"].fix) == (
        "warning",
        True,
    )


async def test_thinking_that_was_cut_is_no_fault() -> None:
    class ThinksLong(StandIn):
        def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
            return {"content": None, "reasoning": "The user wants a <tool_call>, so"}, "length"

    found = await findings(ThinksLong())
    assert (found["reasoning"].status, found["prefix-cache"].status) == ("ok", "ok")
    assert "cut by the token limit" in found["tool-parser"].seen
    assert found["structural-tags"].status == "unknown"


async def test_nothing_of_the_sampling_is_sent_where_the_servers_own_is_to_be_seen() -> None:
    stand_in = StandIn()
    await findings(stand_in)
    bare = [body for body in stand_in.asked if "temperature" not in body]
    assert len(bare) == 2
    assert set(bare[0]) == {"model", "messages", "max_tokens", "stream"}


async def test_a_ling_3_that_thinks_is_no_fault() -> None:
    class Thinks(StandIn):
        def _message(self, body: dict[str, Any], seen: int) -> tuple[dict[str, Any], str]:
            message, finish = super()._message(body, seen)
            return {**message, "reasoning": "The user wants the weather."}, finish

    assert (await findings(Thinks(), vllm("ling-3.0-flash")))["reasoning"].status == "ok"


async def test_a_server_that_is_out_of_memory_is_told_where_to_save_it() -> None:
    class Full(StandIn):
        async def __call__(self, exchange: Exchange) -> None:
            await exchange.respond({"error": "CUDA out of memory. Tried …"}, status=500)

    found = await findings(Full())
    assert (found["tool-parser"].status, found["speed"].status) == ("broken", "broken")
    assert "CUDA out of memory" in found["speed"].seen
    assert "--max-model-len" in found["speed"].fix


async def test_the_long_prompt_is_new_each_time_and_fits_a_small_window() -> None:
    stand_in = StandIn()
    for window in (32_768, 32_768, 1024):
        await findings(stand_in, vllm("m", window=window))
    texts = [body["messages"][0]["content"] for body in stand_in.asked if not body.get("tools")]
    long = [text for text in texts if "Copy lines" in text]
    assert len(long) == 9
    assert len(set(long)) == 3
    assert long[0].count("\n") > 80
    assert len(long[-1]) < 1024 * 2
