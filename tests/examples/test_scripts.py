"""The examples without a page: each runs whole, with a scripted model and with the real one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples import api_client, mcp_client, plain_script
from ling_agent import catalog
from ling_agent.backends import Backend
from ling_agent.testing import Reply, ScriptedBackend

from ..helpers import call
from .support import EXAMPLES, ROOT

MODEL_SECONDS = 300.0


@pytest.fixture
def model() -> str:
    path = catalog.cached_path("qwen2.5-coder-0.5b")
    assert path is not None, "run `make test`"
    return f"llamacpp:{path}"


def run_as_script(name: str, backend: str) -> str:
    """The example as somebody starts it; what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), "--backend", backend],
        capture_output=True,
        text=True,
        timeout=MODEL_SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the plain script -------------------------------------------------------------------------


def test_plain_script(capsys: pytest.CaptureFixture[str]) -> None:
    search = call("search_offers", gpu="rtx 4090")
    typed = '{"gpu": "RTX 4090", "price_per_hour": 0.35, "city": "Porto"}'
    backend = ScriptedBackend(
        [search, Reply("The one in Porto.", chunk_size=2), search, typed], chunk_size=5
    )
    asyncio.run(plain_script.main(backend))
    backend.assert_exhausted()
    told = capsys.readouterr().out
    for line in (
        "→ search_offers({'gpu': 'rtx 4090'})",
        "The one in Porto.",
        "RTX 4090 in Porto: $0.35 an hour",
    ):
        assert line in told
    assert told.index('"Porto"') < told.index('"Oslo"')  # the cheapest comes first


@pytest.mark.model
def test_plain_script_with_the_real_model(model: str) -> None:
    told = run_as_script("plain_script.py", model)
    assert "→ search_offers(" in told
    assert "completed" in told
    assert "RTX 4090 in Porto: $0.35 an hour" in told


# -- MCP --------------------------------------------------------------------------------------


def mcp_script() -> Backend:
    return ScriptedBackend(
        [
            call("find_notes", word="dentist"),
            lambda request: f"It says: {request.messages[-1].content}",
            call("add_note", title="fridge", text="The milk is in the fridge."),
            lambda request: request.messages[-1].content,
        ]
    )


def test_mcp_client(capsys: pytest.CaptureFixture[str]) -> None:
    found, written = asyncio.run(mcp_client.main(mcp_script()))
    assert found is not None
    assert "Tuesday at 9:30" in found
    assert written is not None
    assert "noted: fridge" in written
    assert "→ find_notes({'word': 'dentist'})" in capsys.readouterr().out


def test_mcp_client_leaves_out_the_tool_that_deletes() -> None:
    async def names() -> dict[str, bool]:
        async with mcp_client.notes_server().opened() as tools:
            return {tool.name: tool.needs_approval({"title": "a", "text": "b"}) for tool in tools}

    assert asyncio.run(names()) == {"find_notes": False, "add_note": True}


# -- the API ----------------------------------------------------------------------------------


def test_api_client(capsys: pytest.CaptureFixture[str]) -> None:
    script = [call("rivers", city="Lyon"), Reply("Rhône and Saône.", chunk_size=3)]
    assert api_client.main(ScriptedBackend(script)) == "Rhône and Saône."
    told = capsys.readouterr().out
    assert "→ rivers({'city': 'Lyon'})\n← " in told
    assert told.endswith("Rhône and Saône.\n")


def test_api_client_and_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ling_agent", "serve", "examples.api_client:agent"]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert '"rivers"' in process.stdout.readline()
        finally:
            process.terminate()


@pytest.mark.model
def test_api_client_with_the_real_model(model: str) -> None:
    assert "→ rivers(" in run_as_script("api_client.py", model)
