"""Starts and stops a real server on this machine: in tests, or by hand.

>>> with LocalServer("vllm") as server:
...     print(server.url)

``python -m scripts.servers.launch vllm --port 8101 [flags of the server]`` runs one until Ctrl-C.

The server listens on the loopback address only. It runs under a ``guard``, which ends it with all
its processes when this process ends, by whatever death.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from .install import is_installed
from .kinds import (
    HERE,
    KINDS,
    MODEL,
    Kind,
    KindName,
    ServerError,
    clean_environment,
    servers_dir,
    weights_dir,
)

HOST = "127.0.0.1"
START_LIMIT = 600.0
"""Seconds to be ready. Both take less than one minute; on a machine that is busy, several."""

_STOP_LIMIT = 30.0
_REPORT = 15.0
_LOG_LINES = 30

Flags = Mapping[str, str | None]
"""Flags of a server's command line; None for one that takes no value."""

DEFAULTS: Mapping[KindName, Flags] = {
    "vllm": {
        "--max-model-len": "8192",
        # Not compiled: ready in 40 s, not in 2 to 6 minutes; each token takes a tenth longer.
        "--enforce-eager": None,
        "--enable-auto-tool-choice": None,
        "--tool-call-parser": "hermes",
        "--enable-prompt-tokens-details": None,
    },
    "sglang": {
        "--device": "cpu",
        "--attention-backend": "torch_native",
        "--context-length": "8192",
        "--mem-fraction-static": "0.5",
        "--max-total-tokens": "16384",
        "--max-running-requests": "4",
        "--disable-overlap-schedule": None,
        "--sleep-on-idle": None,
        "--grammar-backend": "xgrammar",
        "--tool-call-parser": "qwen25",
        "--enable-cache-report": None,
    },
}
"""What each server is started with, besides model and address."""

# OMP_WAIT_POLICY: threads that wait for others do not spin. Spinning makes a server ten times as
# slow as soon as another process, such as the tests, wants one of the cores.
_COMMON = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# VLLM_CPU_KVCACHE_SPACE, in GiB: one holds 87,000 tokens, ten of the longest requests.
_OF_KIND: Mapping[KindName, dict[str, str]] = {
    "vllm": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
    "sglang": {"SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": "2"},
}


class LocalServer:
    """One server of the catalogue's default model; it can be started and stopped repeatedly.

    Args:
        kind: ``vllm`` or ``sglang``.
        port: A free one is picked by default; it stays the same over restarts.
        flags: More of the server's command line. A flag of `DEFAULTS` that is given again here
            is replaced.
        without: Flags of `DEFAULTS` to leave out.
        report: Takes lines about a long start; prints to standard error by default.

    Attributes:
        port: Where it listens, also while it is stopped.
    """

    def __init__(
        self,
        kind: KindName,
        port: int | None = None,
        flags: Sequence[str] = (),
        *,
        without: Sequence[str] = (),
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.kind: Kind = KINDS[kind]
        self.port: int = port or _free_port()
        self.flags: tuple[str, ...] = tuple(flags)
        self.without: tuple[str, ...] = tuple(without)
        self._report = report or _print
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address without a path; the API of OpenAI's form is below ``/v1``."""
        return f"http://{HOST}:{self.port}"

    @cached_property
    def log_path(self) -> Path:
        """The file of what the server has written, over all starts."""
        name = f"ling-agent-{self.kind.name}-"
        with tempfile.NamedTemporaryFile(prefix=name, suffix=".log", delete=False) as file:
            return Path(file.name)

    @property
    def model(self) -> str:
        """The name under which the model is served."""
        return MODEL

    @property
    def running(self) -> bool:
        """Whether the server's process lives; it may not be ready."""
        return self._guard is not None and self._guard.poll() is None

    def command(self) -> list[str]:
        """The server's command line."""
        flags = chosen_flags(self.kind.name, self.flags, self.without)
        where = ["--host", HOST, "--port", str(self.port), "--served-model-name", MODEL]
        python = str(self.kind.python)
        if self.kind.name == "vllm":
            start = [python, str(self.kind.python.with_name("vllm")), "serve", str(weights_dir())]
        else:
            start = [python, str(HERE / "sglang_launch.py"), "--model-path", str(weights_dir())]
        return [*start, *where, *flags]

    def start(self, limit: float = START_LIMIT) -> Self:
        """Start the server and wait until it answers.

        Raises:
            ServerError: it is not installed, ended, or was not ready within `limit` seconds; the
                message holds the last lines of its log.
        """
        if self.running:
            return self
        self.kill()
        if not is_installed(self.kind) or not weights_dir().is_dir():
            name = self.kind.name
            raise ServerError(
                f"{self.kind.title} is not installed, or with other pins; run: "
                f"python -m scripts.servers.install {name} (make test-{name} does it)"
            )
        with self.log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", str(HERE / "guard.py"), *self.command()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self.kind),
                cwd=servers_dir(),  # not the checkout: "python -m" would import from there
                start_new_session=True,  # Ctrl-C on a terminal is for this process to handle
            )
        try:
            self._wait_until_ready(limit)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, limit: float = _STOP_LIMIT) -> None:
        """Ask the server to end, and kill what is left after `limit` seconds."""
        if self._guard is not None and self.running:
            self._guard.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(limit)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all processes of the server, as in a crash; returns when they are gone."""
        if self._guard is None:
            return
        if self._guard.stdin is not None:
            self._guard.stdin.close()  # this is what the guard waits for
        self._guard.wait()
        self._guard = None

    def restart(self) -> Self:
        """Stop it and start it again, on the same port and with the same flags."""
        self.stop()
        return self.start()

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The last lines of the log."""
        text = self.log_path.read_text("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self, limit: float) -> None:
        began = time.monotonic()
        reported = 0.0
        name = self.kind.title
        self._report(f"Starting {name} on port {self.port} (about a minute) ...")
        # No proxy from the environment: it could not reach this machine's loopback address.
        with httpx2.Client(base_url=self.url, timeout=10.0, trust_env=False) as client:
            while not _is_ready(client):
                waited = time.monotonic() - began
                if not self.running:
                    raise ServerError(f"{name} ended while it started; {self._log_for_error()}")
                if waited > limit:
                    raise ServerError(
                        f"{name} was not ready in {limit:.0f} s; {self._log_for_error()}"
                    )
                if waited - reported >= _REPORT:
                    reported = waited
                    self._report(f"{name}: starting for {waited:.0f} s ...")
                time.sleep(0.5)
        self._report(f"{name} is ready ({time.monotonic() - began:.0f} s)")

    def _log_for_error(self) -> str:
        return f"the end of {self.log_path}:\n{self.log_tail()}"


def chosen_flags(kind: KindName, flags: Sequence[str], without: Sequence[str]) -> list[str]:
    """The defaults of a server, less those left out or given anew, then the given ones.

    Raises:
        ValueError: a flag to leave out is not among the defaults.
    """
    unknown = [name for name in without if name not in DEFAULTS[kind]]
    if unknown:
        raise ValueError(f"{kind} is not started with {', '.join(unknown)} anyway")
    dropped = {*without, *(flag.partition("=")[0] for flag in flags)}
    kept: list[str] = []
    for name, value in DEFAULTS[kind].items():
        if name not in dropped:
            kept += [name] if value is None else [name, value]
    return [*kept, *flags]


def _environment(kind: Kind) -> dict[str, str]:
    environment = clean_environment() | _COMMON | _OF_KIND[kind.name]
    # When vLLM compiles, it does so with tools of its environment, and keeps the result.
    environment["PATH"] = f"{kind.python.parent}:{environment.get('PATH', '/usr/bin:/bin')}"
    environment["VLLM_CACHE_ROOT"] = str(servers_dir() / "compiled")
    return environment


def _is_ready(client: httpx2.Client) -> bool:
    """Whether it says so itself, and lists its model."""
    try:
        return client.get("/health").is_success and client.get("/v1/models").is_success
    except httpx2.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run a server until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts.servers.launch",
        description="Run a real server of the default model on this machine until Ctrl-C.",
        epilog="Other arguments go to the server.",
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, help="a free one by default")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        help="a default to leave out: --without=--x",
    )
    options, flags = parser.parse_known_args()
    try:
        with LocalServer(options.kind, options.port, flags, without=options.without) as server:
            print(f"{server.url}/v1 serves {server.model}; log: {server.log_path}", flush=True)
            while server.running:
                time.sleep(0.5)
            print(f"error: {server.kind.title} ended by itself", file=sys.stderr)
            print(server.log_tail(), file=sys.stderr)
            return 1
    except (ServerError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
