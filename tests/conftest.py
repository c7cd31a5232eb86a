"""Every async test runs on asyncio and on trio; Ctrl-C works however the tests were started.

The tests in ``tests/servers`` start a real server: they exist only when ``--server`` names one.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A shell without job control starts what runs in the background, as CI may, with Ctrl-C ignored:
# tests that press it would wait for ever, and so would the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=("vllm", "sglang"),
        help="run the tests in tests/servers, on this server (make test-vllm, make test-sglang)",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a server its tests are left out, not skipped: None leaves the choice to pytest."""
    if collection_path == Path(__file__).parent / "servers" and not config.getoption("--server"):
        return True
    return None


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
