"""``ling-agent serve``: its options, and what it refuses. What it serves is in tests/serve."""

from __future__ import annotations

import socket
from pathlib import Path

import pydantic
import pytest

from ling_agent import Agent
from ling_agent.api_keys import Keys, read_keys
from ling_agent.cli.main import main
from ling_agent.serve.hosting import Address, bind, is_loopback, url_of

MODULE = """
from ling_agent import Agent
from ling_agent.testing import ScriptedBackend

first = Agent(ScriptedBackend(["a"]))
second = Agent(ScriptedBackend(["a"]))
not_an_agent = 5
"""

pytestmark = pytest.mark.usefixtures("module")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the caller's in the working directory."""
    import sys

    (tmp_path / "to_serve.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "to_serve", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("LING_AGENT_SERVE_KEY", raising=False)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command ends with."""
    assert main(["serve", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_need_a_key(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "to_serve:first", "--host", host)
    assert f"--host {host} is reached from other machines" in told
    assert "--api-key-file FILE or LING_AGENT_SERVE_KEY" in told


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(capsys, "to_serve:first", "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in told
    assert "--port" in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["to_serve:first", "to_serve:second"], "two agents are called 'agent'"),
        (["to_serve:not_an_agent"], "object of type int"),
        (["to_serve:third"], "no attribute third"),
        (["nowhere:agent"], "cannot import nowhere"),
        (["to_serve:first", "--tools", "a:b"], "leave out --tools"),
        (["to_serve:first", "--agent", "a:b"], "leave out --agent"),
        (["--agent", "to_serve:first", "--tools", "a:b"], "leave out --tools"),
        (["to_serve:first", "--max-runs", "0"], "max_runs"),
        (["to_serve:first", "--max-body", "0"], "max_body"),
        (["to_serve:first", "--keepalive", "nan"], "keepalive"),
        (["to_serve:first", "--grace", "-1"], "--grace"),
        (["to_serve:first", "--port", "99999"], "--port"),
        (["to_serve:first", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["to_serve:first", "--api-key-file", "none"], "cannot be read"),
        (["to_serve:first", "--api-key", "a b"], "look at it"),
        (["=to_serve:first"], "under the name ''"),
    ],
)
def test_what_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, *words)
    assert says in told
    assert "a b" not in told


def test_a_file_without_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("# none\n\n")
    assert "has none" in refused(capsys, "to_serve:first", "--api-key-file", "keys")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    told = capsys.readouterr().out
    for word in (
        "--host",
        "--port",
        "--api-key-file",
        "--max-runs",
        "--grace",
        "--cors",
        "--store",
    ):
        assert word in told
    assert "SIGTERM" in told


def test_keys_of_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("of-a-file\n")
    monkeypatch.setenv("LING_AGENT_SERVE_KEY", "of-the-environment")
    found = Keys(read_keys(["given"], "keys"))
    for key in ("given", "of-a-file", "of-the-environment"):
        assert found.accept(f"Bearer {key}".encode())
    assert not found.accept(b"Bearer other")
    assert not found.accept(b"")
    assert not Keys().accept(b"Bearer ")
    assert Keys(pydantic.SecretStr("s")).accept(b"Bearer s")


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False)]
)
def test_what_is_of_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_a_free_port_is_told() -> None:
    with bind(Address("127.0.0.1", 0)) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert listening.getsockname()[1] > 0


def test_the_extra_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "starlette", None)
    assert "pip install 'ling-agent[serve]'" in refused(capsys, "to_serve:first")


def test_an_agent_of_options_is_served_as_agent() -> None:
    from ling_agent.serve import asgi

    assert asgi(Agent()).settings.max_runs == 64
