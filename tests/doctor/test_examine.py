"""What an examination does around its checks: several servers, failures, keys, the engine."""

from __future__ import annotations

import json
import socket

import anyio
import pytest

from ling_agent import ConfigurationError
from ling_agent.backends import Timeouts
from ling_agent.doctor import Finding, Report, Status, examine
from ling_agent.doctor.findings import one_line
from ling_agent.doctor.probe import EmbeddedProbe
from ling_agent.doctor.speed import speed
from ling_agent.testing import ScriptedBackend
from tests.backends.remote.hostile import Exchange, answer, hostile

from .stand_in import StandIn, models, serving, vllm

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


async def test_an_unreachable_server_is_one_broken_finding() -> None:
    report = await examine(f"sglang:http://127.0.0.1:{free_port()}")
    [finding] = report.findings
    assert (finding.check, finding.status, report.broken) == ("reachable", "broken", True)
    assert "cannot reach" in finding.seen
    assert "sglang.launch_server" in finding.fix


async def test_each_of_several_servers_is_examined() -> None:
    async with serving(StandIn()) as good, serving(StandIn(drifts=True)) as bad:
        spec = f"vllm:{good.url},{bad.url},http://127.0.0.1:{free_port()}"
        report = await examine(spec)
    by_server = {
        server: [f.check for f in report.findings if f.server == server and f.status == "broken"]
        for server in dict.fromkeys(finding.server for finding in report.findings)
    }
    dead = list(by_server)[2]
    assert by_server == {good.url: [], bad.url: ["prefix-cache"], dead: ["reachable"], "": []}
    assert report.findings[-1].check == "same-model"


@pytest.mark.parametrize(
    ("other", "status", "says"),
    [
        (vllm("m"), "ok", "2 servers serve m"),
        (vllm("n"), "broken", "different models: m, n"),
        (vllm("m", window=8192), "warning", "8,192, 32,768"),
    ],
)
async def test_servers_of_one_backend_serve_the_same(
    other: dict[str, object], status: str, says: str
) -> None:
    async with serving(StandIn(), vllm("m")) as one, serving(StandIn(), other) as two:
        report = await examine(f"vllm:{one.url},{two.url}")
    last = report.findings[-1]
    assert (last.server, last.check, last.status) == ("", "same-model", status)
    assert says in last.seen


async def test_an_overloaded_server_is_not_called_broken() -> None:
    async with serving(StandIn(overloaded=True), vllm("m")) as server:
        report = await examine(f"vllm:{server.url}")
    found = {finding.check: finding for finding in report.findings}
    assert found["tool-parser"].status == "warning"
    assert "429" in found["tool-parser"].seen
    assert "without other load" in found["tool-parser"].fix
    assert not report.broken


async def test_what_cannot_be_asked_any_more_is_unknown() -> None:
    """The server goes away in the middle of the examination."""
    gone = False

    async def dies(exchange: Exchange) -> None:
        nonlocal gone
        gone = True
        await exchange.stream.aclose()

    async def listed(exchange: Exchange) -> None:
        if gone:
            await exchange.stream.aclose()
        else:
            await exchange.respond(models("m"))

    async with hostile(dies, routes={"/v1/models": listed}) as server:
        report = await examine(f"vllm:{server.url}")
    found = {finding.check: finding for finding in report.findings}
    assert found["tool-parser"].status == "broken"
    assert {finding.status for finding in report.findings[5:]} == {"unknown"}
    assert "gone" in found["speed"].seen


async def test_a_failure_of_one_check_does_not_end_the_others() -> None:
    async def fails(exchange: Exchange) -> None:
        if exchange.json.get("tools"):
            await exchange.respond({"error": "the engine is dead"}, status=500)
        else:
            await StandIn()(exchange)

    async with hostile(fails, routes=vllm("m")) as server:
        report = await examine(f"vllm:{server.url}")
    found = {finding.check: finding for finding in report.findings}
    assert (found["tool-parser"].status, found["prefix-cache"].status) == ("broken", "ok")
    assert "the engine is dead" in found["tool-parser"].seen
    assert "log" in found["tool-parser"].fix


async def test_a_stuck_server_is_given_up_in_time() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.stream.receive()

    async def answers_whole(exchange: Exchange) -> None:
        await (silent(exchange) if exchange.json["stream"] else StandIn()(exchange))

    async with hostile(answers_whole, routes=vllm("m")) as server:
        with anyio.fail_after(10):
            timeouts = Timeouts(first_token=0.2, between_tokens=0.2)
            report = await examine(f"vllm:{server.url}", timeouts=timeouts)
    found = {finding.check: finding for finding in report.findings}
    assert [name for name, f in found.items() if f.status == "broken"] == ["streaming", "speed"]


@pytest.mark.parametrize("given", [True, False])
async def test_the_key_is_sent_and_never_shown(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-very-secret"
    if not given:
        monkeypatch.setenv("LING_AGENT_API_KEY", key)
    routes: dict[str, object] = {
        "/v1/models": models(f"model-of-{key}"),
        "/version": {"version": f"0.32.0 {key}"},
    }

    async def refuses(exchange: Exchange) -> None:
        await exchange.respond({"error": f"the key {key} may not do that"}, status=403)

    async with hostile(refuses, routes=routes) as server:
        report = await examine(f"vllm:{server.url}", api_key=key if given else None)
    assert set(server.keys) == {f"Bearer {key}"}
    assert key not in repr(report)
    assert key not in json.dumps(report.to_json())
    assert "[key]" in report.findings[1].seen
    assert report.broken


async def test_text_of_a_server_is_one_line_without_control_characters() -> None:
    routes: dict[str, object] = {"/v1/models": models("m\x1b[31m\nx")}
    async with serving(StandIn(), routes) as server:
        report = await examine(f"vllm:{server.url}")
    assert report.findings[1].seen.isprintable()
    assert "�[31m x" in report.findings[1].seen
    assert len(one_line("x" * 10_000)) == 500


async def test_progress_is_told_in_order() -> None:
    told: list[str] = []
    async with hostile(routes={"/v1/models": answer({}, status=500)}) as server:
        await examine(
            f"vllm:{server.url}",
            on_check=lambda _, check: told.append(f"begin {check}"),
            on_finding=lambda finding: told.append(f"end {finding.check}"),
        )
    assert told == ["begin reachable", "end reachable"]


@pytest.mark.parametrize("spec", ["nonsense", "vllm:", "vllm:x", "vllm:http://u:p@x"])
async def test_a_backend_string_that_is_none(spec: str) -> None:
    with pytest.raises(ConfigurationError):
        await examine(spec)


async def test_nothing_is_left_open() -> None:
    async with serving(StandIn()) as server:
        await examine(f"vllm:{server.url}")
        with anyio.fail_after(2):
            while server.open:  # noqa: ASYNC110 - its end has no event
                await anyio.sleep(0.01)


def test_the_summary_counts() -> None:
    statuses = [Status.ok, Status.ok, Status.broken]
    found = tuple(Finding("s", "c", status, "seen") for status in statuses)
    report = Report("vllm:s", found, 3.2)
    assert report.summary() == "2 ok, 1 broken; took 3 s"
    assert report.to_json()["counts"] == {"ok": 2, "warning": 0, "broken": 1, "unknown": 0}
    assert report.to_json()["status"] == "broken"


class TestEmbedded:
    async def test_a_backend_in_this_process_is_probed(self) -> None:
        probe = EmbeddedProbe(ScriptedBackend(["a b c"] * 3), "nonce")
        name, window, _ = await probe.describe()
        assert (name != "", probe.window) == (True, window)
        answers = await probe.long_answers(2)
        assert [answer.text for answer in answers] == ["a b c", "a b c"]
        assert (await speed(probe)).status in ("unknown", "warning")

    @pytest.mark.model
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])  # it takes long: once is enough
    async def test_the_embedded_engine(self) -> None:
        report = await examine("llamacpp:qwen2.5-coder-0.5b")
        found = {finding.check: finding for finding in report.findings}
        assert list(found) == [
            "model",
            "context-window",
            "device",
            "cached-tokens",
            "prefix-cache",
            "speed",
        ]
        assert not report.broken
        assert found["prefix-cache"].status == "ok"
        assert found["speed"].figures["tokens_per_second"] > 0
