"""`OpenTelemetry` with the real SDK: names, attributes, nesting, errors, threads, no content."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace as api
from opentelemetry.trace import SpanKind, StatusCode

from ling_agent import RunResult, RunStatus, ToolError, Trajectory, Usage, tool
from ling_agent.backends import ModelRequest
from ling_agent.errors import BackendRefused, BackendUnavailable
from ling_agent.messages import AssistantMessage, ToolCall, UserMessage

from .support import INFO, REQUEST, Answered, Driver, Recorded, run

pytestmark = pytest.mark.anyio

PRIVATE = "the-private-words"


@tool
def look(where: str = "box") -> str:
    """Look into the box."""
    return f"a pearl in the {where}"


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def result(status: RunStatus = RunStatus.completed, **fields: Any) -> RunResult:
    usage = Usage(prompt_tokens=40, completion_tokens=9, requests=2, tool_calls=1)
    given: dict[str, Any] = {"output": "A pearl.", "error": None, **fields}
    return RunResult(
        status=status,
        plan=None,
        steps=(),
        usage=usage,
        trajectory=Trajectory(),
        run_id="r",
        **given,
    )


# -- what is recorded -------------------------------------------------------------------------


async def test_a_run_with_a_request_and_a_call(recorded: Recorded) -> None:
    with run(recorded.tracer(), agent="shop", task="task") as traced:
        driver = Driver(traced)
        call = ToolCall("call_1_0", "look", {"where": "box"})
        await driver.ask(answer=Answered(AssistantMessage("", calls=(call,)), "stop"))
        await driver.call(look, {"where": "box"}, id_="call_1_0")
        traced.finished(result())
    assert recorded.tree() == {
        "chat ling-mini": "invoke_agent shop",
        "execute_tool look": "invoke_agent shop",
        "invoke_agent shop": None,
    }
    server = {
        "gen_ai.provider.name": "vllm",
        "server.address": "model.example",
        "server.port": 8000,
    }
    of_run = {"gen_ai.agent.name": "shop", "gen_ai.conversation.id": "run-1"}
    assert recorded.attributes("invoke_agent shop") == {
        **server,
        **of_run,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "ling-mini",
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 9,
        "ling_agent.run.status": "completed",
        "ling_agent.usage.requests": 2,
        "ling_agent.usage.tool_calls": 1,
    }
    assert recorded.attributes("chat ling-mini") == {
        **server,
        **of_run,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "ling-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "ling-mini",
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 12,
        "ling_agent.step": 1,
    }
    assert recorded.attributes("execute_tool look") == {
        **of_run,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "call_1_0",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Look into the box.",
    }
    assert [span.kind for span in recorded.spans] == [
        SpanKind.CLIENT,
        SpanKind.INTERNAL,
        SpanKind.INTERNAL,
    ]
    assert all(span.status.status_code is StatusCode.UNSET for span in recorded.spans)


async def test_the_metrics_of_a_request(recorded: Recorded) -> None:
    with run(recorded.tracer()) as traced:
        await Driver(traced).ask()
    of_request = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "ling-mini",
        "gen_ai.response.model": "ling-mini",
        "server.address": "model.example",
        "server.port": 8000,
    }
    metrics = recorded.metrics()
    assert sorted(metrics) == ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"]
    ((attributes, seconds),) = metrics["gen_ai.client.operation.duration"]
    assert attributes == of_request
    assert seconds > 0
    assert {a["gen_ai.token.type"]: total for a, total in metrics["gen_ai.client.token.usage"]} == {
        "input": 20,
        "output": 5,
    }


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (
            "openai:https://api.example/v1#m",
            {
                "gen_ai.provider.name": "openai",
                "server.address": "api.example",
                "server.port": 443,
            },
        ),
        (
            "sglang:http://[::1]:30000",
            {"gen_ai.provider.name": "sglang", "server.address": "::1", "server.port": 30000},
        ),
        ("vllm:http://a:1,http://b:2", {"gen_ai.provider.name": "vllm"}),
        ("llamacpp:qwen2.5-coder-0.5b", {"gen_ai.provider.name": "llamacpp"}),
        ("llamacpp:~/models/x.gguf", {"gen_ai.provider.name": "llamacpp"}),
        ("scripted", {"gen_ai.provider.name": "scripted"}),
        ("odd:http://[", {"gen_ai.provider.name": "odd"}),
    ],
)
async def test_where_the_model_is_served(
    recorded: Recorded, backend: str, expected: dict[str, Any]
) -> None:
    with run(recorded.tracer(), backend=backend) as traced:
        await Driver(traced).ask(info=None)
    for name in ("invoke_agent agent", "chat"):
        attributes = recorded.attributes(name)
        assert {n: v for n, v in attributes.items() if "server" in n or "provider" in n} == expected
    kind = SpanKind.INTERNAL if backend.startswith("llamacpp") else SpanKind.CLIENT
    assert recorded.span("chat").kind is kind


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answered(), "stop"),
        (Answered(finish_reason="length"), "length"),
        (
            Answered(AssistantMessage("", calls=(ToolCall("c", "f", {}),)), "tool_calls"),
            "tool_call",
        ),
    ],
)
async def test_finish_reasons(recorded: Recorded, answer: Answered, reason: str) -> None:
    with run(recorded.tracer()) as traced:
        await Driver(traced).ask(answer=answer)
    attributes = recorded.attributes("chat ling-mini")
    assert attributes["gen_ai.response.finish_reasons"] == (reason,)


async def test_what_a_server_does_not_say_is_left_out(recorded: Recorded) -> None:
    whole = ModelRequest((UserMessage("x"),), whole=True, answer_schema={"type": "object"})
    with run(recorded.tracer(), json_answer=True) as traced:
        await Driver(traced).ask(request=whole, answer=Answered(usage=Usage(prompt_tokens=1)))
    attributes = recorded.attributes("chat ling-mini")
    assert "gen_ai.usage.cache_read.input_tokens" not in attributes
    assert "gen_ai.request.stream" not in attributes
    assert "gen_ai.request.top_k" not in attributes
    assert attributes["gen_ai.output.type"] == "json"
    assert recorded.attributes("invoke_agent agent")["gen_ai.output.type"] == "json"


# -- nesting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_spans_of_a_tool_come_below_it_while_the_model_still_writes(
    recorded: Recorded, kind: str
) -> None:
    own = recorded.provider.get_tracer("application")

    @tool(name="look")
    def in_thread() -> str:
        with own.start_as_current_span("query"):
            return "a pearl"

    @tool(name="look")
    async def in_loop() -> str:
        with own.start_as_current_span("query"):
            await anyio.lowlevel.checkpoint()
            return "a pearl"

    with run(recorded.tracer()) as traced:
        driver = Driver(traced)

        async def call_in_a_task() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(driver.call, in_loop if kind == "async" else in_thread)

        await driver.ask(call_in_a_task)
    assert recorded.tree() == {
        "query": "execute_tool look",
        "execute_tool look": "invoke_agent agent",
        "chat ling-mini": "invoke_agent agent",
        "invoke_agent agent": None,
    }


async def test_a_request_of_the_http_client_comes_below_the_model_request(
    recorded: Recorded,
) -> None:
    own = recorded.provider.get_tracer("http client")

    async def send() -> None:
        with own.start_as_current_span("POST"):
            await anyio.lowlevel.checkpoint()

    with run(recorded.tracer()) as traced:
        await Driver(traced).ask(send)
    assert recorded.tree()["POST"] == "chat ling-mini"


async def test_a_sub_agent_comes_below_the_tool_that_it_is(recorded: Recorded) -> None:
    tracer = recorded.tracer()

    @tool
    async def delegate() -> str:
        """Ask the other agent."""
        with run(tracer, agent="inner") as inner:
            await Driver(inner).call(look)
        return "done"

    with run(tracer, agent="outer") as outer:
        await Driver(outer).call(delegate)
    assert recorded.tree() == {
        "execute_tool look": "invoke_agent inner",
        "invoke_agent inner": "execute_tool delegate",
        "execute_tool delegate": "invoke_agent outer",
        "invoke_agent outer": None,
    }


async def test_a_run_comes_below_the_callers_span_and_leaves_it_current(
    recorded: Recorded,
) -> None:
    own = recorded.provider.get_tracer("application")
    with own.start_as_current_span("request") as request:
        with run(recorded.tracer()) as traced:
            await Driver(traced).ask()
        assert api.get_current_span() is request
    assert recorded.tree()["invoke_agent agent"] == "request"
    assert not api.get_current_span().is_recording()


async def test_concurrent_runs_do_not_mix(recorded: Recorded) -> None:
    tracer = recorded.tracer()
    both = anyio.Event()
    inside = 0

    async def one(name: str) -> None:
        async def meet() -> None:
            nonlocal inside
            inside += 1
            if inside == 2:
                both.set()
            await both.wait()

        @tool(name=f"tool_{name}")
        async def work() -> str:
            await meet()
            return "done"

        with run(tracer, agent=name) as traced:
            await Driver(traced).call(work)

    async with anyio.create_task_group() as group:
        group.start_soon(one, "a")
        group.start_soon(one, "b")
    tree = recorded.tree()
    assert tree["execute_tool tool_a"] == "invoke_agent a"
    assert tree["execute_tool tool_b"] == "invoke_agent b"
    assert tree["invoke_agent a"] is tree["invoke_agent b"] is None


# -- errors and cancellation ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BackendRefused(f"no: {PRIVATE}", status=401), "401"),
        (BackendUnavailable(f"gone: {PRIVATE}"), "BackendUnavailable"),
        (ValueError(PRIVATE), "ValueError"),
    ],
)
async def test_a_request_that_fails(recorded: Recorded, error: Exception, kind: str) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught, run(recorded.tracer()) as traced:
        await Driver(traced).ask(fail)
    assert caught.value is error
    for name in ("chat ling-mini", "invoke_agent agent"):
        span = recorded.span(name)
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert not span.events
        assert recorded.attributes(name)["error.type"] == kind
    finish = recorded.attributes("chat ling-mini")["gen_ai.response.finish_reasons"]
    assert finish == ("error",)
    ((attributes, _),) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert attributes["error.type"] == kind
    assert PRIVATE not in recorded.everything()


async def test_a_cancelled_run_ends_its_spans_and_is_no_error(recorded: Recorded) -> None:
    started = anyio.Event()

    @tool
    async def forever() -> str:
        """Never ends."""
        started.set()
        await anyio.sleep_forever()
        return ""

    async def whole() -> None:
        with run(recorded.tracer()) as traced:
            driver = Driver(traced)
            await driver.ask(lambda: driver.call(forever))

    async with anyio.create_task_group() as group:
        group.start_soon(whole)
        await started.wait()
        group.cancel_scope.cancel()
    assert [span.name for span in recorded.spans] == [
        "execute_tool forever",
        "chat ling-mini",
        "invoke_agent agent",
    ]
    for span in recorded.spans:
        assert span.status.status_code is StatusCode.UNSET
        assert (span.attributes or {})["error.type"] == "cancelled"
    assert not api.get_current_span().is_recording()


async def test_tools_that_fail(recorded: Recorded) -> None:
    @tool
    def refuse(number: int) -> str:
        """Refuse."""
        raise ToolError(f"no: {PRIVATE}")

    with run(recorded.tracer()) as traced:
        await Driver(traced).call(refuse, {"number": 1})
        await Driver(traced).call(refuse, {"number": PRIVATE})
    kinds = [(span.attributes or {}).get("error.type") for span in recorded.spans]
    assert kinds == ["tool_error", "invalid_arguments", None]
    assert recorded.spans[0].status.status_code is StatusCode.ERROR
    assert PRIVATE not in recorded.everything()


async def test_a_run_that_failed_or_met_a_limit(recorded: Recorded) -> None:
    tracer = recorded.tracer()
    with run(tracer, agent="failed") as traced:
        error = BackendUnavailable("gone")
        traced.finished(result(RunStatus.failed, error=error))
    with run(tracer, agent="limited") as traced:
        traced.finished(result(RunStatus.max_steps, output=None))
    failed, limited = recorded.spans
    assert (failed.attributes or {})["error.type"] == "BackendUnavailable"
    assert failed.status.status_code is StatusCode.ERROR
    assert (limited.attributes or {})["ling_agent.run.status"] == "max_steps"
    assert limited.status.status_code is StatusCode.UNSET


# -- content ----------------------------------------------------------------------------------


async def whole_run(tracer: Any, **options: Any) -> None:
    """A run in which everything that is said is private."""

    @tool
    def look(where: str) -> str:
        """Look into the box."""
        return f"pearl in {where}"

    call = ToolCall("c1", "look", {"where": PRIVATE})
    request = ModelRequest((UserMessage(PRIVATE),), REQUEST.tools)
    message = AssistantMessage(PRIVATE, reasoning=PRIVATE, calls=(call,))
    with run(tracer, task=PRIVATE, **options) as traced:
        await Driver(traced).ask(request=request, answer=Answered(message))
        await Driver(traced).call(look, call.arguments)
        traced.finished(result(output=PRIVATE))


async def test_content_is_not_recorded_by_default(recorded: Recorded) -> None:
    await whole_run(recorded.tracer())
    assert PRIVATE not in recorded.everything()
    assert "pearl" not in recorded.everything()


async def test_content_is_recorded_on_request(recorded: Recorded) -> None:
    with run(recorded.tracer(record_content=True), task="What is in it?") as traced:
        driver = Driver(traced)
        call = ToolCall("c1", "look", {"where": "box"})
        message = AssistantMessage("I look.", reasoning="Hm.", calls=(call,))
        await driver.ask(answer=Answered(message))
        await driver.call(look, {"where": "box"})
        traced.finished(result())

    def read(span: str, name: str) -> Any:
        return json.loads(recorded.attributes(span)[name])

    chat, tool_span, whole = "chat ling-mini", "execute_tool look", "invoke_agent agent"
    assert read(chat, "gen_ai.system_instructions") == [{"type": "text", "content": "Be short."}]
    assert read(chat, "gen_ai.input.messages") == [
        {"role": "user", "parts": [{"type": "text", "content": "What is in the box?"}]}
    ]
    assert read(chat, "gen_ai.tool.definitions") == [
        {"type": "function", "name": "look", "description": "Look.", "parameters": {}}
    ]
    assert read(chat, "gen_ai.output.messages") == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "I look."},
                {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"where": "box"}},
            ],
            "finish_reason": "tool_call",
        }
    ]
    assert read(tool_span, "gen_ai.tool.call.arguments") == {"where": "box"}
    assert recorded.attributes(tool_span)["gen_ai.tool.call.result"] == "a pearl in the box"
    assert read(whole, "gen_ai.input.messages")[0]["parts"][0]["content"] == "What is in it?"
    assert read(whole, "gen_ai.output.messages") == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "A pearl."}],
            "finish_reason": "stop",
        }
    ]


async def test_recorded_content_holds_no_secrets(recorded: Recorded) -> None:
    from ling_agent.secrets import Redactor

    redactor = Redactor([PRIVATE])
    await whole_run(recorded.tracer(record_content=True), redact=redactor.text)
    assert PRIVATE not in recorded.everything()
    assert "[secret]" in recorded.everything()

    async def fail() -> None:
        raise BackendRefused(f"no {PRIVATE}", status=401)

    with (
        pytest.raises(BackendRefused),
        run(recorded.tracer(record_content=True), redact=redactor.text) as traced,
    ):
        await Driver(traced).ask(fail)
    assert PRIVATE not in recorded.everything()
    assert "no [secret]" in recorded.everything()


async def test_a_run_that_is_not_sampled_builds_no_content() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from ling_agent.tracing import OpenTelemetry

    redacted: list[str] = []
    tracer = OpenTelemetry(TracerProvider(sampler=ALWAYS_OFF), record_content=True)
    with run(tracer, task="task", redact=redacted.append) as traced:
        await Driver(traced).ask(info=INFO)
        await Driver(traced).call(look)
    assert redacted == []
