"""A server that was started without its tool parser: a clear note, and runs still succeed."""

from __future__ import annotations

import pytest

from ling_agent import RunStatus
from scripts.servers.kinds import KindName

from .conftest import StartServer
from .support import add, ask, backend_for, question, short_agent

pytestmark = pytest.mark.anyio

PARSER: dict[KindName, tuple[str, ...]] = {
    "vllm": ("--enable-auto-tool-choice", "--tool-call-parser"),
    "sglang": ("--tool-call-parser",),
}
FLAG: dict[KindName, str] = {
    "vllm": "--enable-auto-tool-choice --tool-call-parser hermes",
    "sglang": "--tool-call-parser qwen",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_calls_are_read_by_the_client(start_server: StartServer, kind: KindName) -> None:
    server = start_server(without=PARSER[kind])
    result = await short_agent(server, add, mode="chat").run("What is 1+2?")
    assert result.status is RunStatus.completed
    assert result.steps[0].observations[0].content == "3"
    assert any(FLAG[kind] in note for note in result.notes), result.notes
    backend = backend_for(server, mode="chat")
    await backend.describe()
    _, end = await ask(backend, question("What is 1+2?"))
    assert end.read_by_server is None
