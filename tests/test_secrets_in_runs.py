"""Secrets in whole runs: nothing that is shown, logged or kept has one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from pydantic import SecretStr

from ling_agent import (
    Agent,
    ApprovalRequest,
    BackendUnavailable,
    Deny,
    Edit,
    Limits,
    Memory,
    RunContext,
    RunResult,
    RunStatus,
    StoreError,
    ToolError,
    tool,
)
from ling_agent.errors import Vetoed
from ling_agent.events import Event, SubagentEvent, ToolProgress
from ling_agent.hooks import AfterModel, AfterTool, BeforeAnswer, BeforeModel, BeforeTool, Veto
from ling_agent.memory import InMemoryStore, SQLiteStore
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations, stream

pytestmark = pytest.mark.anyio

KEY = "tell-nobody-0123456789"


@dataclasses.dataclass
class Deps:
    key: SecretStr = dataclasses.field(default_factory=lambda: SecretStr(KEY))


Context = RunContext[Deps]


def key_of(ctx: Context) -> str:
    return ctx.deps.key.get_secret_value()


@tool
async def returns(ctx: Context) -> dict[str, str]:
    """Return it."""
    return {"url": f"https://host/?key={key_of(ctx)}"}


@tool
async def raises(ctx: Context) -> str:
    """Raise it."""
    raise ToolError(f"401 for {key_of(ctx)}")


@tool
async def breaks(ctx: Context) -> str:
    """Raise it by mistake."""
    raise RuntimeError(f"cannot connect with {key_of(ctx)}")


@tool(retries=1)
async def retries(ctx: Context) -> str:
    """Raise it twice."""
    raise ConnectionError(f"cannot connect with {key_of(ctx)}")


@tool
async def emits(ctx: Context) -> str:
    """Emit it."""
    ctx.emit({"sent": [f"Authorization: Bearer {key_of(ctx)}"]})
    ctx.emit(ctx.deps)
    ctx.emit(RuntimeError(key_of(ctx)))
    return "emitted"


@tool
def emits_in_a_thread(ctx: Context) -> str:
    """Emit it from a thread."""
    ctx.emit(key_of(ctx))
    return key_of(ctx)


@tool
async def pins(ctx: Context) -> str:
    """Pin it."""
    ctx.pin(f"remember {key_of(ctx)}")
    return "pinned"


@tool(requires_approval=True)
async def signs(ctx: Context, text: str) -> str:
    """Sign a text."""
    return f"signed {text}"


TOOLS = [returns, raises, breaks, retries, emits, emits_in_a_thread, pins, signs]


@dataclasses.dataclass
class Told:
    """Everything that leaves a run."""

    events: list[Event]
    result: RunResult[Any]
    agent: Agent[Any]
    path: Path
    caplog: pytest.LogCaptureFixture

    def check(self) -> None:
        """Nothing of it has the key, in any part, and the parts are really there."""
        backend = self.agent.backend
        assert isinstance(backend, ScriptedBackend)
        assert backend.requests
        store = SQLiteStore(self.path)
        texts = [store.load(info.run_id).to_jsonl() for info in store.runs()]
        assert texts
        texts += [repr(self.events), repr(self.result), str(self.result.error)]
        texts += [repr(self.result.error and self.result.error.args)]
        texts += [self.result.trajectory.to_jsonl(), repr(backend.requests), self.caplog.text]
        for text in texts:
            assert KEY not in text
        for file in self.path.parent.iterdir():
            assert KEY.encode() not in file.read_bytes()


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(SQLiteStore(tmp_path / "runs.db"))


async def told(
    agent: Agent[Any],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    task: str = "task",
    **options: Any,
) -> Told:
    caplog.set_level(logging.DEBUG)
    options = {"deps": Deps(), **options}
    events, result = await stream(agent, task, **options)
    all_told = Told(events, result, agent, tmp_path / "runs.db", caplog)
    all_told.check()
    return all_told


def agent_with(memory: Memory, *script: Any, **options: Any) -> Agent[Any]:
    options = {"tools": TOOLS, "planning": "off", "memory": memory, **options}
    return Agent(ScriptedBackend(script), **options)


@pytest.mark.parametrize("name", [t.name for t in TOOLS if t.name != "signs"])
async def test_whatever_a_tool_does_with_it(
    name: str, memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    agent = agent_with(memory, call(name), "done")
    got = await told(agent, caplog, tmp_path)
    text = observations(got.result)[0]
    assert "[secret]" in text or name in ("emits", "pins")
    progress = [e.payload for e in got.events if isinstance(e, ToolProgress)]
    if name == "emits":
        assert progress[0] == {"sent": ["Authorization: Bearer [secret]"]}


async def test_one_that_is_named_by_the_agent(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    @tool
    async def leaks() -> str:
        """Return it."""
        return f"key={KEY}"

    agent = agent_with(memory, call("leaks"), "done", tools=[leaks], secrets=[SecretStr(KEY)])
    assert KEY not in repr(agent)
    got = await told(agent, caplog, tmp_path, deps=None)
    assert observations(got.result) == ["key=[secret]"]
    copy = agent.with_options(name="copy", backend=ScriptedBackend([call("leaks"), "done"]))
    assert observations(await copy.run("x")) == ["key=[secret]"]


async def test_in_the_task_the_instructions_and_the_documents(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    agent = agent_with(memory, "done", instructions=f"Use {KEY}.")
    got = await told(agent, caplog, tmp_path, task=f"Call with {KEY}", documents=[f"a {KEY} b"])
    assert got.events[0].task == "Call with [secret]"  # pyright: ignore


# -- hooks ----------------------------------------------------------------------------------------


def secret_of(moment: Any) -> str:
    return moment.deps.key.get_secret_value()


def signs_in(moment: BeforeTool) -> BeforeTool:
    arguments = {**moment.arguments, "text": f"with {secret_of(moment)}"}
    return dataclasses.replace(moment, arguments=arguments)


def refuses_the_call(moment: BeforeTool) -> Veto:
    return Veto(f"not with {secret_of(moment)}")


def shows_the_result(moment: AfterTool) -> AfterTool:
    return dataclasses.replace(moment, text=f"{moment.text} {secret_of(moment)}")


def refuses_the_result(moment: AfterTool) -> Veto:
    return Veto(f"not with {secret_of(moment)}")


def notes(moment: BeforeModel) -> BeforeModel:
    return dataclasses.replace(moment, note=f"use {secret_of(moment)}")


def stops(moment: BeforeModel) -> Veto | None:
    return Veto(f"not with {secret_of(moment)}") if moment.step > 1 else None


def refuses_the_message(moment: AfterModel) -> Veto:
    return Veto(f"not with {secret_of(moment)}")


def refuses_the_answer(moment: BeforeAnswer) -> Veto:
    return Veto(f"not with {secret_of(moment)}")


def gives_the_answer(moment: BeforeAnswer) -> BeforeAnswer:
    return dataclasses.replace(moment, output=f"use {secret_of(moment)}")


HOOKS = [
    gives_the_answer,
    signs_in,
    refuses_the_call,
    shows_the_result,
    refuses_the_result,
    notes,
    stops,
    refuses_the_message,
    refuses_the_answer,
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
async def test_what_a_hook_says(
    hook: Callable[[Any], Any], memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    script = [call("sign", text="x"), "done", "done", "done"]
    seen: list[str] = []

    @tool
    async def sign(text: str) -> str:
        """Sign."""
        seen.append(text)
        return "signed"

    agent = agent_with(memory, *script, hooks=[hook], tools=[sign])
    got = await told(agent, caplog, tmp_path)
    if hook is signs_in:
        assert seen == [f"with {KEY}"]  # the tool itself gets it
        assert "with [secret]" in observations(got.result)[0]
    if hook is stops:
        assert got.result.error is not None
        assert str(got.result.error).endswith("not with [secret]")
    if hook is refuses_the_message:
        assert got.result.status is RunStatus.failed


async def test_what_is_raised_to_the_program_is_its_own_affair_but_not_kept(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def fails(moment: AfterTool) -> None:
        raise RuntimeError(secret_of(moment))

    agent = agent_with(memory, call("returns"), hooks=[fails])
    with pytest.raises(RuntimeError):
        await agent.run("x", session="s", deps=Deps())
    assert KEY not in SQLiteStore(tmp_path / "runs.db").load("s").to_jsonl()
    assert KEY not in caplog.text


# -- approvals ------------------------------------------------------------------------------------


async def test_what_is_asked_about_a_call(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    agent = agent_with(memory, call("signs", text="x"), "done", hooks=[signs_in])
    got = await told(agent, caplog, tmp_path)
    assert got.result.status is RunStatus.needs_approval
    assert got.result.pending_approvals[0].arguments == {"text": "with [secret]"}
    id_ = got.result.pending_approvals[0].id
    result = await agent.resume(got.result.run_id, approvals={id_: True}, deps=Deps())
    assert observations(result)[0].endswith("signed with [secret]")


@pytest.mark.parametrize("decision", [Deny(f"not with {KEY}"), Edit({"text": KEY})])
@pytest.mark.parametrize("inline", [True, False])
async def test_what_a_person_decides(
    decision: Deny | Edit,
    inline: bool,
    memory: Memory,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    async def decide(request: ApprovalRequest) -> Deny | Edit:
        await anyio.lowlevel.checkpoint()
        return decision

    approve = decide if inline else None
    agent = agent_with(memory, call("signs", text="x"), "done", approve=approve)
    got = await told(agent, caplog, tmp_path)
    if not inline:
        id_ = got.result.pending_approvals[0].id
        got.result = await agent.resume(got.result.run_id, approvals={id_: decision}, deps=Deps())
        got.check()
    assert got.result.output == "done"
    assert "[secret]" in observations(got.result)[0]


async def test_an_edit_with_a_secret_is_asked_for_again_when_the_run_was_ended_before_it_ran(
    memory: Memory,
) -> None:
    agent = agent_with(memory, call("signs", text="x"), "done")
    first = await agent.run("x", deps=Deps())
    id_ = first.pending_approvals[0].id
    edit = Edit({"text": KEY})
    limits = Limits(max_tool_calls=0)
    ended = await agent.resume(first.run_id, approvals={id_: edit}, deps=Deps(), limits=limits)
    assert ended.status is RunStatus.max_tool_calls
    again = await agent.resume(first.run_id, deps=Deps())
    assert again.status is RunStatus.needs_approval


# -- errors, sub-agents ---------------------------------------------------------------------------


async def test_the_error_of_a_result(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    error = BackendUnavailable(f"401 with key {KEY}")
    error.__cause__ = ValueError(KEY)
    agent = agent_with(memory, call("returns"), error)
    got = await told(agent, caplog, tmp_path)
    assert got.result.status is RunStatus.failed
    assert str(got.result.error) == "401 with key [secret]"
    assert got.result.error is not None
    assert KEY not in str(got.result.error.__cause__)


class FailsAtTheEnd(InMemoryStore):
    """A store that cannot write how a run ended, and says too much about it."""

    def append(self, run_id: str, entries: Any, *, status: str | None = None) -> None:
        if status == "completed":
            raise StoreError(f"cannot write to db://user:{KEY}@host")
        super().append(run_id, entries, status=status)


async def test_the_notes_of_a_result_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    agent = agent_with(Memory(FailsAtTheEnd()), "done")
    result = await agent.run("x", deps=Deps())
    assert result.ok
    assert "db://user:[secret]@host" in result.notes[-1]
    assert "db://user:[secret]@host" in caplog.text
    assert KEY not in caplog.text


async def test_a_sub_agent_knows_what_the_other_must_not_show(
    memory: Memory, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    @tool
    async def leaks(ctx: RunContext[Any]) -> str:
        """Return it."""
        ctx.emit(KEY)
        return KEY

    inner = Agent(
        ScriptedBackend([call("leaks"), "inner done"]), tools=[leaks], planning="off", name="inner"
    )
    agent = agent_with(
        memory,
        call("inner", task="x"),
        "done",
        tools=[inner.as_tool()],
        secrets=[SecretStr(KEY)],
    )
    got = await told(agent, caplog, tmp_path, deps=None)
    nested = [e.event for e in got.events if isinstance(e, SubagentEvent)]
    assert ToolProgress("call_1_0", "[secret]") in nested
    assert isinstance(inner.backend, ScriptedBackend)
    assert KEY not in str(inner.backend.requests)


async def test_a_refused_task_is_not_kept(memory: Memory, tmp_path: Path) -> None:
    def stop_all(moment: BeforeModel) -> Veto:
        return Veto(secret_of(moment))

    agent = agent_with(memory, "done", hooks=[stop_all])
    with pytest.raises(Vetoed):
        await agent.run("x", deps=Deps(), session="s")
    assert "s" not in SQLiteStore(tmp_path / "runs.db")
