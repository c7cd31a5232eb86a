"""What the tests of the examples share: real servers, and waiting for what has to come true."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from ..helpers import GUARD

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@contextlib.contextmanager
def serving(app: ASGIApp) -> Generator[str, None, None]:
    """The app on a real server, in a thread; gives its URL, and ends the server afterwards."""
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(GUARD)
            assert not thread.is_alive(), "the server did not end"


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that has to come true."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
