"""Whole runs of an agent, traced: what each request and call is below, in which order it ended."""

from __future__ import annotations

import anyio
import pytest
from opentelemetry.trace import StatusCode

from ling_agent import Agent, BackendError, BackendUnavailable, Memory, RunStatus, tool
from ling_agent.events import TextDelta
from ling_agent.memory import InMemoryStore
from ling_agent.testing import Reply, ScriptedBackend
from tests.helpers import GUARD, StallingBackend, call, calls

from .support import Recorded

pytestmark = pytest.mark.anyio


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def agent(backend: object, recorded: Recorded, **options: object) -> Agent:
    given = {"planning": "off", "name": "shop", "tracing": recorded.tracer(), **options}
    return Agent(backend, **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_run(recorded: Recorded, streamed: bool) -> None:
    own = recorded.provider.get_tracer("application")

    @tool
    def look(where: str) -> str:
        """Look somewhere, in a thread."""
        with own.start_as_current_span(f"query {where}"):
            return "nothing"

    backend = ScriptedBackend(
        [calls(call("look", where="up"), call("look", where="down")), "Nothing."]
    )
    made = agent(backend, recorded, tools=[look])
    with own.start_as_current_span("request"):
        if streamed:
            async with made.stream("Look.", session="s1") as run:
                assert [event async for event in run]
        else:
            await made.run("Look.", session="s1")
    names = sorted(span.name for span in recorded.spans)
    assert names == [
        "chat scripted",
        "chat scripted",
        "execute_tool look",
        "execute_tool look",
        "invoke_agent shop",
        "query down",
        "query up",
        "request",
    ]
    ids = {span.context.span_id: span for span in recorded.spans if span.context}
    parents = {(span.name, ids[span.parent.span_id].name) for span in recorded.spans if span.parent}
    assert parents == {
        ("chat scripted", "invoke_agent shop"),
        ("execute_tool look", "invoke_agent shop"),
        ("query up", "execute_tool look"),
        ("query down", "execute_tool look"),
        ("invoke_agent shop", "request"),
    }
    whole = recorded.attributes("invoke_agent shop")
    assert whole["gen_ai.conversation.id"] == "s1"
    assert whole["ling_agent.run.status"] == "completed"
    assert whole["ling_agent.usage.tool_calls"] == 2
    assert whole["gen_ai.request.model"] == "scripted"


async def test_a_sub_agent(recorded: Recorded) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    inner = agent(ScriptedBackend([call("look"), "Nothing."]), recorded, name="inner", tools=[look])
    outer = agent(
        ScriptedBackend([call("inner", task="Look."), "Nothing."]),
        recorded,
        name="outer",
        tools=[inner.as_tool()],
    )
    result = await outer.run("Look.")
    assert result.output == "Nothing."
    ids = {span.context.span_id: span.name for span in recorded.spans if span.context}

    def above(name: str) -> str | None:
        parent = recorded.span(name).parent
        return ids[parent.span_id] if parent else None

    assert above("execute_tool look") == "invoke_agent inner"
    assert above("invoke_agent inner") == "execute_tool inner"
    assert above("execute_tool inner") == "invoke_agent outer"
    assert above("invoke_agent outer") is None


async def test_a_failing_model(recorded: Recorded) -> None:
    with pytest.raises(BackendError):
        await agent(ScriptedBackend([BackendUnavailable("gone")]), recorded).run("Look.")
    for span in recorded.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "BackendUnavailable"


async def test_a_cancelled_run(recorded: Recorded) -> None:
    backend = StallingBackend("Noth")
    made = agent(backend, recorded)
    with anyio.fail_after(GUARD):
        async with made.stream("Look.") as run:
            async for event in run:
                if isinstance(event, TextDelta):
                    run.cancel()
    assert run.result.status is RunStatus.cancelled
    assert recorded.attributes("invoke_agent shop")["ling_agent.run.status"] == "cancelled"
    assert recorded.attributes("chat stalling")["error.type"] == "cancelled"


async def test_a_resumed_run_is_another_trace_of_the_same_conversation(
    recorded: Recorded,
) -> None:
    @tool(requires_approval=True)
    def wipe() -> str:
        """Delete."""
        return "gone"

    backend = ScriptedBackend([call("wipe"), Reply("Done.")])
    made = agent(backend, recorded, tools=[wipe], memory=Memory(InMemoryStore()))
    waiting = await made.run("Delete it.")
    assert waiting.status is RunStatus.needs_approval
    assert not [span for span in recorded.spans if span.name.startswith("execute_tool")]
    await made.resume(waiting.run_id, approvals={waiting.pending_approvals[0].id: True})
    assert recorded.span("execute_tool wipe")
    runs = [span for span in recorded.spans if span.name == "invoke_agent shop"]
    ids = [(span.attributes or {})["gen_ai.conversation.id"] for span in runs]
    assert ids == [waiting.run_id] * 2


async def test_without_a_tracer_nothing_is_recorded(recorded: Recorded) -> None:
    result = await Agent(ScriptedBackend(["Hi."])).run("Hi.")
    assert result.output == "Hi."
    assert recorded.spans == ()
