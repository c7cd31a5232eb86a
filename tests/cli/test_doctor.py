"""``ling-agent doctor``: output, exit codes, interruption, on a stand-in server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

import ling_agent
from ling_agent.cli.main import main
from tests.backends.remote.hostile import Exchange, Handler, hostile
from tests.doctor.stand_in import StandIn, models, vllm

REPOSITORY = Path(ling_agent.__file__).parents[1]


@contextmanager
def serving(handler: Handler, routes: dict[str, object] | None = None) -> Generator[str]:
    """Serve in another thread; the base URL."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(hostile(handler, routes=routes or vllm("m"))) as server,
    ):
        yield server.url


def test_a_good_server_exits_0_and_is_told_line_by_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(StandIn()) as url:
        assert main(["doctor", f"vllm:{url}"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == url
    assert re.fullmatch(r"ok       reachable        answers in \d+ ms", lines[1])
    assert lines[5].startswith("ok       tool-parser      the server read get_weather(")
    assert re.fullmatch(r"14 ok; took \d+ s", lines[-1])
    assert (len(lines), captured.err, "\x1b" in captured.out) == (17, "", False)


def test_what_is_broken_exits_1_and_names_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StandIn(drifts=True)) as url:
        assert main(["doctor", f"vllm:{url}"]) == 1
    output = capsys.readouterr().out
    assert "broken   prefix-cache     the same greedy prompt" in output
    assert "-> start vLLM with --no-enable-prefix-caching" in output
    assert "13 ok, 1 broken" in output


def test_a_warning_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StandIn(reports=False)) as url:
        assert main(["doctor", f"vllm:{url}"]) == 0
    assert "warning  cached-tokens" in capsys.readouterr().out


@pytest.mark.parametrize(("drifts", "code", "status"), [(False, 0, "ok"), (True, 1, "broken")])
def test_json_is_one_object(
    drifts: bool, code: int, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StandIn(drifts=drifts)) as url:
        assert main(["doctor", f"vllm:{url}", "--json"]) == code
    captured = capsys.readouterr()
    assert (captured.out.isascii(), captured.err) == (True, "")
    data = json.loads(captured.out)
    assert (data["backend"], data["status"]) == (f"vllm:{url}", status)
    assert [each["check"] for each in data["findings"]][:2] == ["reachable", "model"]
    assert {each["server"] for each in data["findings"]} == {url}
    assert data["findings"][0]["fix"] is None
    assert data["findings"][-1]["figures"]["tokens_per_second"] > 0
    assert data["counts"]["broken"] == int(drifts)


def test_an_unreachable_server_is_one_line_with_its_cause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert main(["doctor", f"vllm:{url}"]) == 1
    captured = capsys.readouterr()
    assert f"broken   reachable        cannot reach {url}" in captured.out
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nonsense", "unknown backend"),
        ("vllm:localhost:8000", "begin it with http://"),
        ("vllm:http://user:pass@x", "api_key"),
        ("llamacpp:no-such-alias", "no-such-alias"),
    ],
)
def test_a_wrong_backend_exits_2(spec: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", spec]) == 2
    error = capsys.readouterr().err
    assert (says in error, error.count("\n")) == (True, 1)


def test_with_a_card_the_speed_is_told_beside_what_it_allows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(StandIn(), vllm("Ling-2.6-flash-fp8")) as url:
        assert main(["doctor", f"vllm:{url}", "--gpu", "h100", "--gpus", "2"]) == 0
    output = capsys.readouterr().out
    # 6.81 billion parameters of 8 bits are read for a token, by two cards with 3,350 GB/s.
    assert (
        "memory bandwidth allows 984 tokens/s at best (Ling-2.6-flash as FP8 reads 6.81 GB a "
        "token, 2 x H100 SXM 6,700 GB/s), this is"
    ) in output


def test_a_model_without_facts_has_no_bound_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(StandIn()) as url:
        assert main(["doctor", f"vllm:{url}", "--gpu", "rtx-4090"]) == 0
    output = capsys.readouterr().out
    assert "serves m; nothing is known about it that would tell how fast it can be" in output
    assert "memory bandwidth" not in output


def test_an_unknown_card_exits_2_with_the_nearest_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "vllm:http://127.0.0.1:1", "--gpu", "rtx-4091"]) == 2
    assert "Did you mean rtx-4090" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_a_number_of_cards_is_one(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "vllm:http://127.0.0.1:1", "--gpus", count])
    assert ended.value.code == 2
    assert "no number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == (0 if arguments else 2)
    captured = capsys.readouterr()
    assert "usage: ling-agent doctor" in captured.out + captured.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_key_is_never_shown(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LING_AGENT_API_KEY", "sk-very-secret")

    async def refuses(exchange: Exchange) -> None:
        await exchange.respond({"error": "sk-very-secret may not do that"}, status=403)

    with serving(refuses, {"/v1/models": models("of-sk-very-secret")}) as url:
        assert main(["doctor", f"vllm:{url}", *options]) == 1
    captured = capsys.readouterr()
    assert "[key]" in captured.out
    assert "secret" not in captured.out + captured.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_on_a_terminal_the_check_that_runs_is_shown(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--json`` on standard error, so that standard output stays JSON."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with serving(StandIn(drifts=True), vllm("[bold]m")) as url:
        assert main(["doctor", f"vllm:{url}", *options]) == 1
    captured = capsys.readouterr()
    assert "speed …" in (captured.err if options else captured.out)
    if options:
        assert json.loads(captured.out)["status"] == "broken"
        return
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.out)
    assert "serves [bold]m" in plain, "a server's text is not markup"
    assert re.search(r"broken   prefix-cache     the same greedy prompt", plain)
    assert "→ start vLLM with --no-enable-prefix-caching" in plain
    assert all(len(line.rpartition("\r")[2]) <= 80 for line in plain.splitlines())


def test_ctrl_c_ends_it_at_once() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.stream.receive()

    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    with (
        serving(silent) as url,
        subprocess.Popen(
            [sys.executable, "-m", "ling_agent", "doctor", f"vllm:{url}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        assert process.stdout is not None
        while "context-window" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)
    assert (process.returncode, error) == (130, "ling-agent: interrupted\n")
