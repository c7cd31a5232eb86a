"""Every async test runs on asyncio and on trio; Ctrl-C works however the tests were started."""

from __future__ import annotations

import signal

import pytest

# A shell without job control starts what runs in the background, as CI may, with Ctrl-C ignored:
# tests that press it would wait for ever, and so would the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
