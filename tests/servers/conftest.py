"""A real server for the tests of this folder; which one, ``--server`` says.

Starting one takes about a minute, and two at once do not fit on a small machine. So one lives at
a time: it is kept between tests, and replaced when a test asks for other flags.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from scripts.servers.kinds import KindName
from scripts.servers.launch import LocalServer


class StartServer(Protocol):
    """Stops the present server and starts one with other flags, as `LocalServer` takes them."""

    def __call__(self, *flags: str, without: tuple[str, ...] = ()) -> LocalServer: ...


class OneServer:
    """At most one server runs; the same one is given out as long as its flags are asked for."""

    def __init__(self, kind: KindName, report: Callable[[str], None]) -> None:
        self.kind: KindName = kind
        self._report = report
        self._current: LocalServer | None = None

    def get(self, *flags: str, without: tuple[str, ...] = ()) -> LocalServer:
        """A server that is ready and was started like this."""
        current = self._current
        if current is None or (current.flags, current.without) != (flags, without):
            self.stop()
            current = LocalServer(self.kind, flags=flags, without=without, report=self._report)
            self._current = current
        return current.start()  # does nothing, unless a test has stopped or killed it

    def stop(self) -> None:
        """Stop the server, if one runs."""
        if self._current is not None:
            self._current.stop()
            self._current = None


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> KindName:
    """Which server the tests run on."""
    return cast("KindName", request.config.getoption("--server"))


@pytest.fixture(scope="session")
def one_server(request: pytest.FixtureRequest, kind: KindName) -> Generator[OneServer]:
    """Lives as long as the session; `server` and `start_server` take their servers from it."""
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")

    def report(text: str) -> None:
        # Not captured: a minute without a word looks like a hang.
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", file=sys.stderr, flush=True)

    servers = OneServer(kind, report)
    yield servers
    servers.stop()


@pytest.fixture
def server(one_server: OneServer) -> LocalServer:
    """The server with its default flags; the same one for all tests that leave it running."""
    return one_server.get()


@pytest.fixture
def start_server(one_server: OneServer) -> StartServer:
    """Starts a server with other flags in place of the present one."""
    return one_server.get


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What only SGLang does is tested on it alone; None leaves the choice to pytest."""
    only_sglang = collection_path.name == "test_lost_calls.py"
    return True if only_sglang and config.getoption("--server") != "sglang" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that replace the server come last, so that the default one starts only once."""
    if config.getoption("--server") is None:  # this folder was named, or it would be left out
        raise pytest.UsageError("tests/servers needs --server vllm or --server sglang")
    items.sort(key=lambda item: "start_server" in getattr(item, "fixturenames", ()))
