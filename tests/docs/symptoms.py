"""The symptoms of docs/troubleshooting.md, made to happen: a heading -> what the program prints.

Servers are loopback stand-ins that behave as the real ones are documented or were seen to; files
are real GGUF files, damaged on purpose; the engine is the real one.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from ling_agent import Agent, Limits, LingAgentError, Sampling
from ling_agent.backends import LlamaCppBackend, Timeouts, VLLMBackend
from ling_agent.backends.embedded.fit import gpu_context
from ling_agent.cli.main import main
from ling_agent.doctor.embedded_checks import device
from ling_agent.doctor.probe import EmbeddedProbe
from tests.backends.embedded import synthetic
from tests.backends.embedded.test_fit import ling
from tests.backends.remote.hostile import (
    Exchange,
    Handler,
    HostileServer,
    answer,
    delta,
    events,
    hostile,
)
from tests.backends.remote.runs import DONE, GOOD, calls, piece, says
from tests.backends.test_gguf import attention, header
from tests.doctor.stand_in import StandIn, models, sglang, vllm

Routes = dict[str, object]
GIB = 1 << 30

OLLAMA: Routes = {
    "/v1/models": models("qwen3:8b", owner="library", window=None),
    "/api/version": {"version": "0.9.7"},
    "/api/show": {"parameters": ""},
    "/api/ps": {"models": []},
}
LING_SGLANG: Routes = {
    **sglang("ling-2.6-flash"),
    "/v1/models": models("ling-2.6-flash", owner="sglang", window=262_144),
}


class Bench:
    """Where a symptom is made.

    Args:
        folder: For files.
        patch: For the environment.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch

    # -- what prints ----------------------------------------------------------------------------

    def command(self, *words: str) -> str:
        """What a command prints, errors included."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(list(words))
        return out.getvalue()

    def doctor(
        self,
        handler: Handler | None = None,
        routes: Routes | None = None,
        scheme: str = "vllm",
        *options: str,
    ) -> str:
        """What doctor prints about such a server."""
        with served(handler or StandIn(), routes=routes or vllm("m")) as server:
            return self.command("doctor", f"{scheme}:{server.url}", *options)

    def doctor_file(self, name: str, data: bytes) -> str:
        """What doctor prints about such a model file."""
        path = self.folder / name
        path.write_bytes(data)
        return self.command("doctor", f"llamacpp:{path}")

    def run(self, *handlers: Handler, **options: Any) -> str:
        """Notes and error of a run on a server that answers so."""
        with served(*handlers) as server:
            backend = VLLMBackend(server.url, **options)
            return told(backend)

    def model(self) -> bytes:
        """A real model file with random weights."""
        return synthetic.write_dense(self.folder / "whole.gguf").read_bytes()


@contextlib.contextmanager
def served(*handlers: Handler, routes: Routes | None = None) -> Generator[HostileServer]:
    """Serve in another thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(hostile(*handlers, routes=routes)) as server,
    ):
        yield server


def told(backend: Any) -> str:
    """Notes and error of a short run."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = Agent(
        backend,
        tools=[add],
        planning="off",
        limits=Limits(max_steps=2),
        sampling=Sampling(max_tokens=100),
    )
    try:
        result = agent.run_sync("What is 1 + 2?")
    except LingAgentError as error:
        return str(error)
    return "\n".join([*result.notes, str(result.error or "")])


# -- loading ------------------------------------------------------------------------------------


def memory_embedded(bench: Bench) -> str:
    path = bench.folder / "huge.gguf"
    path.write_bytes(bench.model())
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a tebibyte that takes no room on the disk
    return bench.command("doctor", f"llamacpp:{path}")


def memory_gpu(_: Bench) -> str:
    try:
        gpu_context(ling(), n_ctx=None, n_parallel=None, kv_type="f16", free=int(7.6 * GIB))
    except LingAgentError as error:
        return str(error)
    return "it fits"


def memory_server(bench: Bench) -> str:
    async def full(exchange: Exchange) -> None:
        await exchange.respond({"error": "CUDA out of memory. Tried to allocate …"}, status=500)

    return bench.doctor(full)


def architecture(bench: Bench) -> str:
    return bench.doctor_file("Ling-2.6-flash.gguf", header(attention("bailing_hybrid", 2)))


def damaged(bench: Bench) -> str:
    whole = bench.model()
    return "".join(
        [
            bench.doctor_file("head.gguf", header(attention("qwen2", 2))[:-5]),
            bench.doctor_file("cut.gguf", whole[:-60_000]),
            bench.doctor_file("weights.gguf", b"PK\x03\x04"),
            bench.command("doctor", "llamacpp:qwen2.5-coder-0.5"),
        ]
    )


def not_reached(bench: Bench) -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nobody = bench.command("doctor", f"vllm:http://127.0.0.1:{bound.getsockname()[1]}")
    page = answer(b"<html>", content_type="text/html")
    return "".join(
        [
            nobody,
            bench.doctor(routes={"/v1/models": answer({"error": "bad key"}, status=401)}),
            bench.doctor(routes={"/v1/models": answer({"error": "loading model"}, status=503)}),
            bench.doctor(routes={"/v1/models": page}),
        ]
    )


def gpu_unused(bench: Bench) -> str:
    program = bench.folder / "nvidia-smi"  # a stand-in: only that it is there counts
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    bench.patch.setenv("PATH", f"{bench.folder}{os.pathsep}{os.environ['PATH']}")
    # The one check that is asked for: the whole examination of a CPU takes half a minute.
    probe = EmbeddedProbe(LlamaCppBackend(bench_model(bench)), "nonce")
    verdict = anyio.run(device, probe)
    return f"{verdict.status:<8} {'device':<16} {verdict.seen}"


# -- calls --------------------------------------------------------------------------------------


def auto_refused(bench: Bench) -> str:
    async def refuses(exchange: Exchange) -> None:
        reason = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'
        if exchange.json.get("tool_choice") == "auto":
            await exchange.respond({"error": {"message": f"{reason} to be set"}}, status=400)
        else:
            await DONE(exchange)

    return bench.doctor(StandIn(parser="refuses")) + bench.run(refuses)


def as_text(bench: Bench) -> str:
    return "".join(
        [
            bench.doctor(StandIn(parser="text")),
            bench.doctor(StandIn(parser="bare", holds=None)),
            bench.doctor(routes=sglang("m", tool_call_parser=None), scheme="sglang"),
            bench.run(says(content='{"name": "add", "arguments": {"a": 1, "b": 2}}'), DONE),
        ]
    )


def vanished(bench: Bench) -> str:
    return bench.doctor(StandIn(parser="loses")) + bench.run(
        says("tool_calls", content=""), GOOD, DONE
    )


def empty_arguments(bench: Bench) -> str:
    return "".join(
        [
            bench.doctor(StandIn(parser="empty")),
            bench.doctor(StandIn(streams="empty")),
            bench.run(calls(piece("{}")), GOOD, DONE),
        ]
    )


def swallowed(bench: Bench) -> str:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    return "".join(
        [
            bench.doctor(StandIn(parser="reasoning")),
            bench.doctor(
                routes=sglang("ling-2.6-flash", reasoning_parser="qwen3"), scheme="sglang"
            ),
            bench.run(says(reasoning=call), DONE),
        ]
    )


def against_schema(bench: Bench) -> str:
    return "".join(
        [
            bench.doctor(StandIn(holds=False)),
            bench.doctor(StandIn(holds=None)),
            bench.doctor(StandIn(names=False)),
        ]
    )


def streamed_differs(bench: Bench) -> str:
    return bench.doctor(StandIn(parser="words", holds=False, streams="text"))


# -- speed --------------------------------------------------------------------------------------


def slow_prefill(bench: Bench) -> str:
    return bench.doctor(StandIn(waits=2.1))


def speed(bench: Bench) -> str:
    fp8 = vllm("Ling-2.6-flash-fp8")
    return bench.doctor(None, fp8, "vllm", "--gpu", "h100", "--gpus", "2")


def at_once(bench: Bench) -> str:
    return bench.doctor(StandIn(streams="at-once"))


def no_cache(bench: Bench) -> str:
    return "".join(
        [
            bench.doctor(StandIn(cached=0)),
            bench.doctor(StandIn(reports=False)),
            bench.doctor(StandIn(cached=0), vllm("ling-2.6-flash")),
        ]
    )


def overloaded(bench: Bench) -> str:
    return bench.doctor(StandIn(overloaded=True))


# -- answers ------------------------------------------------------------------------------------


def garbled(bench: Bench) -> str:
    return bench.doctor(StandIn(draws=True), vllm("ling-2.6-flash"))


def corrupted(bench: Bench) -> str:
    return bench.doctor(StandIn(drifts=True)) + bench.doctor(
        StandIn(drifts=True), sglang("m"), "sglang"
    )


def window_without_yarn(bench: Bench) -> str:
    return bench.doctor(routes=LING_SGLANG, scheme="sglang") + bench.doctor(
        routes=vllm("ling-2.6-flash", window=262_144)
    )


def cut_prompts(bench: Bench) -> str:
    return bench.doctor(routes=OLLAMA, scheme="ollama")


def too_long(bench: Bench) -> str:
    text = "This model's maximum context length is 8192 tokens, your request has 9000"
    refused = bench.run(answer({"error": {"message": text}}, status=400))
    return f"{refused}\n" + told(LlamaCppBackend(bench_model(bench), n_ctx=64))


def bench_model(bench: Bench) -> str:
    path = bench.folder / "small.gguf"
    path.write_bytes(bench.model())
    return str(path)


def too_old(bench: Bench) -> str:
    old: Routes = {**OLLAMA, "/v1/models": models("ling:latest", owner="library", window=8192)}
    return bench.doctor(routes=vllm("ling-2.6-flash", "0.20.1")) + bench.doctor(
        routes=old, scheme="ollama"
    )


def broken_off(bench: Bench) -> str:
    async def stuck(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="It"))
        await exchange.stream.receive()

    async def dies(exchange: Exchange) -> None:
        await exchange.begin_events()
        await exchange.event(delta(content="It"))
        await exchange.stream.aclose()

    patience = Timeouts(first_token=2, between_tokens=0.2)
    return "\n".join(
        [
            bench.run(dies),
            bench.run(stuck, timeouts=patience),
            bench.run(events(delta(content="It"), {"error": {"message": "the engine is dead"}})),
        ]
    )


SYMPTOMS: Mapping[str, Callable[[Bench], str]] = {
    "Out of memory: an embedded model": memory_embedded,
    "Out of memory: a graphics card": memory_gpu,
    "Out of memory: a server": memory_server,
    "The architecture is refused by llama.cpp": architecture,
    "The model file is damaged, or not there": damaged,
    "The server is not reached": not_reached,
    "The graphics card is not used": gpu_unused,
    "`tool_choice: auto` is refused by vLLM": auto_refused,
    "Calls arrive as plain text": as_text,
    "Calls vanish": vanished,
    "Empty arguments": empty_arguments,
    "The reasoning parser swallows calls": swallowed,
    "Calls break their schema": against_schema,
    "Streamed and whole answers differ": streamed_differs,
    "Slow prefill": slow_prefill,
    "Throughput below the vendor's figure": speed,
    "Everything comes at once": at_once,
    "Nothing comes from the prefix cache": no_cache,
    "The server is overloaded": overloaded,
    "Garbled output, broken calls": garbled,
    "The same prompt brings different answers": corrupted,
    "256K without YaRN": window_without_yarn,
    "Prompts are cut silently": cut_prompts,
    "The prompt does not fit": too_long,
    "The server is too old for Ling, or has no Ling": too_old,
    "The server breaks off or gets stuck": broken_off,
}
