"""How long a tool waits for the model: ``python -m benchmarks.first_tool``.

A scripted server streams one message with three calls, as vLLM does, with a gap between its chunks
like that between the tokens of a 30B model. What counts is when each tool starts, after the server
has sent the last piece of its arguments. A library that begins its calls when the message is whole
has the first one wait for all the others to be written.

Each contender runs in a process of its own, one after the other; clocks are the machine's monotonic
one. The figures are medians over the rounds. Peers are measured where they are installed, see
``benchmarks/requirements-peers.txt``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .report import circumstances, header
from .step_overhead import script, task
from .step_overhead.registry import ENTRIES, OURS, PEERS, Entry

CALLS = 3
GAP = 0.02
"""Seconds between two chunks: 50 tokens a second."""
TAGS = 10
"""Tokens between two calls that a server's parser keeps for itself."""
_FRAGMENTS = 15
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHECKOUT = Path(__file__).resolve().parents[1]


def message() -> Iterator[tuple[dict[str, Any], int | None]]:
    """The deltas of the message; with the last one of a call, its number."""
    yield {"role": "assistant", "content": ""}, None
    for number in range(CALLS):
        function: dict[str, Any] = {"name": script.TOOL, "arguments": ""}
        call = {"index": number, "id": f"call-{number}", "type": "function", "function": function}
        yield {"tool_calls": [call]}, None
        text = script.arguments(number)
        ends = [len(text) * n // _FRAGMENTS for n in range(_FRAGMENTS + 1)]
        for start, end in itertools.pairwise(ends):
            piece = {"index": number, "function": {"arguments": text[start:end]}}
            yield {"tool_calls": [piece]}, number if end == len(text) else None


class Server:
    """The scripted server; it notes when it has sent what."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.ended = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length:")[2].split("\r\n")[0].strip()
                body = await reader.readexactly(int(length or 0))
                if head.startswith("post /v1/chat/completions"):
                    await self._answer(json.loads(body), writer)
                else:
                    self._page(head.split(" ")[1], writer)
        writer.close()

    def _page(self, path: str, writer: asyncio.StreamWriter) -> None:
        pages = {"/version": {"version": script.VERSION}, "/v1/models": script.models()}
        data = json.dumps(pages.get(path, {})).encode()
        status = "200 OK" if path in pages or path == "/health" else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)

    async def _answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD)
        if script.step_of(request):
            await self._event(writer, {"role": "assistant", "content": script.FINAL_ANSWER})
            await self._event(writer, {}, "stop")
        else:
            for delta, complete in message():
                await self._event(writer, delta)
                if complete is not None:
                    self.sent[complete] = time.monotonic()
                    await asyncio.sleep(TAGS * GAP)
            self.ended = time.monotonic()
            await self._event(writer, {}, "tool_calls")
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    async def _event(
        self, writer: asyncio.StreamWriter, delta: dict[str, Any], reason: str | None = None
    ) -> None:
        await asyncio.sleep(GAP)
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": script.MODEL}
        event = f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()


def work(name: str, url: str) -> None:
    """Be a contender: make the runs, and print when each call of a run began."""
    began: list[float] = []
    original = task.search_marketplace

    async def search_marketplace(gpu: str, max_price_per_hour: float, page: int) -> str:
        began.append(time.monotonic())
        return await original(gpu, max_price_per_hour, page)

    search_marketplace.__doc__ = original.__doc__
    task.search_marketplace = search_marketplace  # before the contender's module takes it
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    async def runs() -> None:
        contender = ENTRIES[name].load()(url)
        for _ in sys.stdin:
            began.clear()
            await contender.streamed()
            print(json.dumps(began), file=answers, flush=True)

    asyncio.run(runs())


async def measure(name: str, rounds: int) -> dict[str, Any]:
    """Seconds from the last piece of each call's arguments to its start; medians."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.first_tool", "--worker", name, url,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=_CHECKOUT,
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    waits: list[list[float]] = []
    written: list[float] = []
    for number in range(rounds + 1):
        worker.stdin.write(b"\n")
        line = await worker.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended without an answer")
        began = sorted(json.loads(line))
        if len(began) != CALLS:
            raise RuntimeError(f"{name} made {len(began)} calls")
        if number:  # the first one opens connections and imports
            waits.append([at - server.sent[call] for call, at in enumerate(began)])
            written.append(server.ended - server.sent[0])
    worker.stdin.close()
    await worker.wait()
    listening.close()
    return {
        "waits": [statistics.median(column) for column in zip(*waits, strict=True)],
        "rest_of_message": statistics.median(written),
    }


def _installed() -> dict[str, Entry]:
    return {n: ENTRIES[n] for n in (OURS, *PEERS) if ENTRIES[n].versions() is not None}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_tool",
        description="When tools start, after the model has written their calls.",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return 0
    rows = {name: asyncio.run(measure(name, options.rounds)) for name in _installed()}
    distributions = sorted({d for e in _installed().values() for d in e.distributions})
    if options.json:
        print(json.dumps({**circumstances(*distributions), "rows": rows}))
        return 0
    print(header("From a written call to its start", *distributions), "\n")
    print("| | first call, ms | second, ms | third, ms |\n|---|---|---|---|")
    for name, row in rows.items():
        cells = " | ".join(f"{wait * 1000:.0f}" for wait in row["waits"])
        print(f"| {name} | {cells} |")
    rest = next(iter(rows.values()))["rest_of_message"]
    print(f"\nThe message was whole {rest * 1000:.0f} ms after its first call.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
