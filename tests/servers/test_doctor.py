"""`ling-agent doctor` on a real server finds nothing broken, and says what it saw."""

from __future__ import annotations

import json

import pytest

from ling_agent.cli.main import main
from scripts.servers.launch import LocalServer


def test_a_server_that_is_set_up_well_is_well(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", f"{server.kind.name}:{server.url}", "--json"])
    report = json.loads(capsys.readouterr().out)
    found = {finding["check"]: finding for finding in report["findings"]}
    broken = [finding for finding in found.values() if finding["status"] == "broken"]
    assert (code, broken) == (0, [])
    for check in ("reachable", "model", "context-window", "tool-parser", "forced-call", "usage"):
        assert found[check]["status"] == "ok", found[check]
    assert found["cached-tokens"]["status"] == "ok", found["cached-tokens"]
