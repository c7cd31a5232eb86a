"""A key that a run knows is in nothing that it leaves behind, however the run fails."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ling_agent import (
    Agent,
    Document,
    LingAgentError,
    Memory,
    RunContext,
    RunResult,
    ToolError,
    tool,
)
from ling_agent.backends import OpenAIBackend, VLLMBackend
from ling_agent.doctor import examine
from ling_agent.hooks import BeforeTool
from ling_agent.memory import SQLiteStore
from ling_agent.testing import ScriptedBackend
from tests.backends.remote.hostile import Exchange, hostile
from tests.backends.remote.runs import says
from tests.backends.remote.test_keys import everything, stored
from tests.helpers import call
from tests.tracing.support import Recorded

pytestmark = pytest.mark.anyio

KEY = "sk-4711/very+secret-Key"
PIECES = (KEY, "4711/very", "very+secret")


@dataclass
class Deps:
    """What the tools are given; the key is found in it."""

    key: SecretStr


@tool
def show(ctx: RunContext[Deps]) -> dict[str, Any]:
    """Return the key, and report it on the way."""
    key = ctx.deps.key.get_secret_value()
    ctx.emit({"using": key, "object": ctx.deps})
    return {"header": f"Bearer {key}", "json": json.dumps({"key": key})}


@tool
def fail(ctx: RunContext[Deps]) -> str:
    """Fail with the key."""
    raise ValueError(f"bad key {ctx.deps.key.get_secret_value()}")


@tool
def refuse(ctx: RunContext[Deps]) -> str:
    """Tell the model the key."""
    raise ToolError(f"no: {ctx.deps.key.get_secret_value()}")


def files(folder: Path) -> bytes:
    """Every byte that is on disk, the write-ahead log too."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def assert_nowhere(text: str) -> None:
    for piece in PIECES:
        assert piece not in text


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize("by", ["deps", "secrets"])
async def test_tools_that_give_it_away(
    by: str, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    calls = "\n".join(call(name) for name in ("show", "fail", "refuse"))
    backend = ScriptedBackend([calls, "Done."])
    recorded = Recorded()
    store = SQLiteStore(tmp_path / "runs.db")
    agent = Agent(
        backend,
        tools=[show, fail, refuse],
        planning="off",
        memory=Memory(store),
        tracing=recorded.tracer(record_content=True),
        secrets=[SecretStr(KEY)] if by == "secrets" else [],
    )
    events: list[object] = []
    async with agent.stream("Use the key.", deps=Deps(SecretStr(KEY))) as run:
        events.extend([event async for event in run])
    on_disk = files(tmp_path)
    result: RunResult = run.result
    assert result.output == "Done."
    assert "[secret]" in result.trajectory.to_jsonl()
    assert_nowhere(stored(result) + repr(events) + repr(agent))
    assert_nowhere(recorded.everything() + str(backend.requests) + records.text)
    for piece in PIECES:
        assert piece.encode() not in on_disk
    store.close()
    # Texts are compressed on disk, so they are read back as well, by another connection.
    kept = SQLiteStore(tmp_path / "runs.db")
    read = kept.load(result.run_id).to_jsonl() + str(kept.search(result.run_id, "secret Bearer"))
    kept.close()
    assert_nowhere(read)
    assert read.count("[secret]") >= 3


async def echoes(exchange: Exchange) -> None:
    """A server that repeats the key in its refusal."""
    said = f"Incorrect API key provided: {exchange.headers['authorization']}"
    await exchange.respond({"error": {"message": said}}, status=401)


@pytest.mark.parametrize("first", [True, False])
async def test_a_server_that_repeats_it_in_a_401(
    first: bool, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    wanted = {"index": 0, "id": "c0", "function": {"name": "show", "arguments": "{}"}}
    good = says("tool_calls", content=None, tool_calls=[wanted])
    recorded = Recorded()
    store = SQLiteStore(tmp_path / "runs.db")
    async with hostile(*([] if first else [good]), echoes) as server:
        backend = VLLMBackend(server.url, api_key=SecretStr(KEY), retries=0)
        agent = Agent(
            backend,
            tools=[show],
            planning="off",
            memory=Memory(store),
            tracing=recorded.tracer(record_content=True),
        )
        said = ""
        try:
            result = await agent.run("Use the key.", deps=Deps(SecretStr(KEY)))
            said = stored(result)
        except LingAgentError as error:
            said = everything(error)
        await backend.aclose()
    assert f"Bearer {KEY}" in server.keys
    assert "401" in said
    assert_nowhere(said + recorded.everything() + records.text + repr(backend) + backend.name)
    for piece in PIECES:
        assert piece.encode() not in files(tmp_path)
    for info in store.runs():
        assert_nowhere(store.load(info.run_id).to_jsonl())
    store.close()


async def test_a_server_that_is_not_there(records: pytest.LogCaptureFixture) -> None:
    backend = VLLMBackend("http://127.0.0.1:9", api_key=SecretStr(KEY), retries=0)
    with pytest.raises(LingAgentError, match="cannot reach") as caught:
        await Agent(backend).run("Hi.")
    assert_nowhere(everything(caught.value) + records.text)
    report = await examine("vllm:http://127.0.0.1:9", api_key=KEY)
    assert_nowhere(repr(report))


async def test_a_client_of_the_callers_with_a_password_in_its_url() -> None:
    openai = pytest.importorskip("openai")
    async with hostile(echoes) as server:
        url = server.url.replace("http://", "http://me:pass-word-9@")
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            backend = OpenAIBackend(client=client, model="m")
            assert "pass-word-9" not in backend.name + repr(backend)
            with pytest.raises(LingAgentError) as caught:
                await Agent(backend).run("Hi.")
    said = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    shown = "" if caught.value.__suppress_context__ else str(caught.value.__context__)
    assert_nowhere(f"{caught.value} {caught.value.__cause__} {shown}")
    assert "pass-word-9" not in said


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)])
async def test_a_key_is_given_as_a_text_or_as_a_secret(key: Any) -> None:
    async with hostile() as server:
        for make in (VLLMBackend, OpenAIBackend):
            backend = make(server.url, api_key=key)
            await backend.describe()
            await backend.aclose()
            assert_nowhere(repr(backend))
    assert set(server.keys) == {f"Bearer {KEY}"}


async def test_arguments_that_a_hook_fills_in_are_not_kept() -> None:
    used: list[str] = []

    def use(token: str) -> str:
        """Use a token."""
        used.append(token)
        return "used"

    def fill(before: BeforeTool) -> BeforeTool:
        return dataclasses.replace(before, arguments={"token": KEY})

    backend = ScriptedBackend([call("use", token="?"), "Done."])
    agent = Agent(backend, tools=[use], planning="off", secrets=[SecretStr(KEY)], hooks=[fill])
    events: list[object] = []
    async with agent.stream("Use it.") as run:
        events.extend([event async for event in run])
    assert used == [KEY]
    assert_nowhere(stored(run.result) + repr(events) + str(backend.requests))


async def test_a_secret_in_the_task_a_document_or_the_instructions_is_not_kept() -> None:
    backend = ScriptedBackend(["Done."])
    agent = Agent(backend, instructions=f"Use {KEY}.", secrets=[SecretStr(KEY)], planning="off")
    document = Document(f"key={KEY}", name=f"{KEY}.txt")
    events: list[object] = []
    async with agent.stream(f"My key is {KEY}.", documents=[document]) as run:
        events.extend([event async for event in run])
    said = stored(run.result) + repr(events) + str(backend.requests)
    assert_nowhere(said)
    assert "My key is [secret]." in said
    assert "key=[secret]" in said
