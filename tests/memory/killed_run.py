"""The processes that `test_kill` kills: a run with side effects, begun or resumed."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path

import anyio
import anyio.lowlevel

from ling_agent import Agent, Limits, Memory, RunResult, tool
from ling_agent.backends import ModelRequest
from ling_agent.memory.sqlite import SQLiteStore
from ling_agent.messages import AssistantMessage
from ling_agent.testing import ScriptedBackend

RUN = "killed"


class Work:
    """A run of any length over one folder.

    Each message of the model makes three calls at once: two payments, which must not be made twice,
    and a look, which may. Each call leaves a line in a ledger when it begins and when it ends. The
    run ends when there is a file named ``stop``, or with so many ``messages``.
    """

    def __init__(self, folder: Path, *, messages: float = math.inf) -> None:
        self.folder = folder
        self._limit = messages
        self.ledger = folder / "ledger"

    def agent(self) -> Agent:
        """The agent, with a store of its own."""

        @tool
        def pay(n: int) -> str:
            """Pay."""
            return self._effect(f"pay {n}")

        @tool(idempotent=True)
        async def look(n: int) -> str:
            """Look."""
            await anyio.lowlevel.checkpoint()
            return self._effect(f"look {n}")

        script = itertools.repeat(self._next)
        return Agent(
            ScriptedBackend(script, context_window=4096),
            tools=[pay, look],
            memory=Memory(SQLiteStore(self.folder / "runs.db"), summarize=False),
            limits=Limits(max_steps=1_000_000),
            planning="off",
        )

    def _effect(self, what: str) -> str:
        self._write(f"{what} begins")
        self._write(f"{what} ends")
        return f"{what}: done " + "x " * 40

    def _write(self, line: str) -> None:
        descriptor = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def _next(self, request: ModelRequest) -> str:
        """What the model says: the calls that follow on the highest number it can see."""
        if (self.folder / "stop").exists() or len(request.messages) >= self._limit:
            return "Everything is paid."
        seen = [
            call.arguments["n"]
            for message in request.messages
            if isinstance(message, AssistantMessage)
            for call in message.calls
        ]
        for message in request.messages:  # also in lines that stand in place of observations
            seen += [int(n) for n in re.findall(r'pay\(\{"n": (\d+)\}\)', message.content)]
        n = max(seen, default=-1)
        wanted = [("pay", n + 1), ("look", n + 1), ("pay", n + 2)]
        return "\n".join(
            f"<tool_call>\n{json.dumps({'name': name, 'arguments': {'n': number}})}\n</tool_call>"
            for name, number in wanted
        )

    async def go_on(self) -> RunResult:
        """Begin the run, or resume it."""
        agent = self.agent()
        store = agent.memory.store
        try:
            if RUN in store:
                return await agent.resume(RUN)
            return await agent.run("Pay everything.", session=RUN)
        finally:
            store.close()


def main(folder: str) -> None:
    """Fork a process that works for each line that is read, and say how it ended.

    A run before that has imported everything, so that most of a forked process's life is work.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        anyio.run(Work(Path(elsewhere), messages=4).go_on)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            anyio.run(Work(Path(folder)).go_on)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
