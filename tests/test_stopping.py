"""Stop, cancel, detach: what each ends, what it keeps, and what can be gone on with."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ConfigurationError,
    Limits,
    LingAgentError,
    RunContext,
    RunResult,
    RunStatus,
    tool,
)
from ling_agent.backends import (
    Backend,
    Chunk,
    ModelInfo,
    ModelRequest,
    ReasoningChunk,
    TextChunk,
)
from ling_agent.events import RunFinished, StepFinished, StepStarted, TextDelta, ToolStarted
from ling_agent.messages import AssistantMessage, ToolMessage
from ling_agent.planning import Planning
from ling_agent.stream import RunStream

from .helpers import GUARD, call, kinds, observations
from .long_runs import SAMPLING, Model, check_prompts, is_digest, look
from .paced import PacedBackend, Piece, forever, until

pytestmark = pytest.mark.anyio


class Bench:
    """A tool that begins, and ends when it is released."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.begun = anyio.Event()
        self.release = anyio.Event()
        self.interrupted = False

        @tool
        async def work(n: int) -> str:
            """Work."""
            self.ran.append(n)
            self.begun.set()
            try:
                await self.release.wait()
            except BaseException:
                self.interrupted = True
                raise
            return f"worked {n}"

        self.work = work

    def agent(self, *messages: list[Piece], planning: Planning = "off", **options: Any) -> Agent:
        self.backend = PacedBackend(
            *messages,
            renders_prompts=options.pop("renders", False),
            parameters=options.pop("parameters", None),
        )
        return Agent(self.backend, tools=[self.work], planning=planning, **options)


async def run_until(
    agent: Agent, reached: anyio.Event, then: Callable[[CancelToken], object], **options: Any
) -> RunResult:
    """Run, and do something from another task as soon as the model or a tool has come so far."""
    token = CancelToken()
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("task", cancel=token, **options))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await reached.wait()
            then(token)
    return results[0]


async def begins(run: RunStream[Any]) -> None:
    """Read until a tool has begun."""
    async for event in run:
        if isinstance(event, ToolStarted):
            return
    raise AssertionError("no tool began")


def stop(token: CancelToken) -> None:
    token.stop()


def conversation(result: RunResult) -> list[str]:
    return [f"{type(m).__name__[0]}:{m.content}" for m in result.trajectory.messages()]


# -- each phase -----------------------------------------------------------------------------------


async def test_before_the_first_request_nothing_is_asked() -> None:
    bench = Bench()
    agent = bench.agent(["never"], ["done"])
    token = CancelToken()
    token.stop()
    result = await agent.run("task", cancel=token)
    assert (result.status, result.output) == (RunStatus.stopped, None)
    assert bench.backend.requests == []
    assert result.usage.requests == 0
    resumed = await agent.resume(result.run_id)
    assert resumed.output == "never"


async def test_in_prefill_nothing_was_said() -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent([reached.set, forever], ["done"])
    result = await run_until(agent, reached, stop)
    assert (result.status, result.output) == (RunStatus.stopped, None)
    assert bench.backend.left == 1
    assert conversation(result) == ["U:task"]
    assert result.usage.requests == 1
    assert (await agent.resume(result.run_id)).output == "done"


@pytest.mark.parametrize("renders", [True, False])
async def test_in_text_what_was_said_is_the_output_and_stays(renders: bool) -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent(["One, ", "two", reached.set, forever], ["fine"], ["done"], renders=renders)
    result = await run_until(agent, reached, stop, session="s")
    assert (result.status, result.output) == (RunStatus.stopped, "One, two")
    assert conversation(result) == ["U:task", "A:One, two"]
    assert [s.message.content for s in result.steps] == ["One, two"]
    assert result.error is None
    later = await agent.run("And now?", session="s")
    assert later.output == "fine"
    assert conversation(later) == ["U:task", "A:One, two", "U:And now?", "A:fine"]
    first, second = bench.backend.prompts()
    assert second.startswith(first + ("One, two" if renders else ""))


async def test_a_stopped_answer_can_be_resumed() -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent(["One, ", reached.set, forever], ["One, two, three."])
    result = await run_until(agent, reached, stop)
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, resumed.output) == (RunStatus.completed, "One, two, three.")
    assert conversation(resumed)[:2] == ["U:task", "A:One,"]


async def test_in_reasoning_there_is_no_answer() -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent([ReasoningChunk("Hm, "), reached.set, forever], ["done"])
    result = await run_until(agent, reached, stop)
    assert (result.status, result.output) == (RunStatus.stopped, None)
    assert conversation(result) == ["U:task"]
    assert (await agent.resume(result.run_id)).output == "done"


@pytest.mark.parametrize("text", ["<think>\nHm, ", "Well. <think>\nHm, ", "Well. <thi"])
async def test_in_reasoning_that_is_text(text: str) -> None:
    """What is left open is not repeated to the model as if it were closed or said."""
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent([text, reached.set, forever], ["fine"], renders=True)
    result = await run_until(agent, reached, stop, session="s")
    assert result.status is RunStatus.stopped
    later = await agent.run("And now?", session="s")
    assert later.output == "fine"
    last = bench.backend.prompts()[-1]
    assert last.count("<think>") == last.count("</think>")


@pytest.mark.parametrize("renders", [True, False])
@pytest.mark.parametrize("rest", ["<tool_c", '<tool_call>\n{"name": "work", "argu', "<tool_call>"])
async def test_in_a_half_written_call_the_call_is_none(rest: str, renders: bool) -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent(["I do it. ", rest, reached.set, forever], ["fine"], renders=renders)
    result = await run_until(agent, reached, stop, session="s")
    assert result.status is RunStatus.stopped
    assert result.output is not None
    assert result.output.startswith("I do it.")
    assert "name" not in result.output
    assert result.steps[0].message.calls == ()
    assert bench.ran == []
    later = await agent.run("And now?", session="s")
    assert later.output == "fine"
    first, second = bench.backend.prompts()
    assert second.startswith(first)
    assert second[len(first) :].count("<tool_call>") == 0


@pytest.mark.parametrize("renders", [True, False])
async def test_between_two_calls_the_one_that_runs_finishes(renders: bool) -> None:
    bench = Bench()
    agent = bench.agent(
        ["I do: ", call("work", n=0), until(bench.begun), "\n<tool_call>\n{", forever],
        ["done"],
        renders=renders,
    )

    def stop_and_release(token: CancelToken) -> None:
        token.stop()
        bench.release.set()

    result = await run_until(agent, bench.begun, stop_and_release)
    assert (result.status, result.output) == (RunStatus.stopped, "I do:")
    assert observations(result) == ["worked 0"]
    assert not bench.interrupted
    assert result.usage.tool_calls == 1
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, bench.ran) == ("done", [0])
    first, second = bench.backend.prompts()
    assert second.startswith(first)
    assert second[len(first) :].count("<tool_call>") == 1


async def test_while_a_tool_runs_it_finishes_and_no_request_follows() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    stopped = CancelToken()

    async def later() -> None:
        await bench.begun.wait()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        stopped.stop()
        bench.release.set()

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(later)
            result = await agent.run("task", cancel=stopped)
            assert (result.status, result.output) == (RunStatus.stopped, None)
            assert observations(result) == ["worked 0"]
            assert len(bench.backend.requests) == 1
            assert (await agent.resume(result.run_id)).output == "done"
            assert bench.ran == [0]


async def test_calls_that_wait_for_their_turn_are_left() -> None:
    bench = Bench()
    order: list[str] = []

    @tool(exclusive=True)
    async def alone() -> str:
        """Be alone."""
        order.append("alone")
        return "alone"

    backend = PacedBackend([call("work", n=0), call("alone"), forever], ["done"])
    agent = Agent(backend, tools=[bench.work, alone], planning="off")

    def stop_and_release(token: CancelToken) -> None:
        token.stop()
        bench.release.set()

    result = await run_until(agent, bench.begun, stop_and_release)
    assert result.status is RunStatus.stopped
    assert observations(result) == ["worked 0"]
    assert order == []
    assert result.usage.tool_calls == 1
    resumed = await agent.resume(result.run_id)
    assert (observations(resumed), order) == (["worked 0", "alone"], ["alone"])


class HangsInItsFirstRecord(Backend):
    """A model that does not end the first record that it is asked for."""

    renders_prompts = True

    def __init__(self, model: Model) -> None:
        self._model = model.backend
        self.reached = anyio.Event()

    @property
    def name(self) -> str:
        return self._model.name

    async def describe(self) -> ModelInfo:
        return await self._model.describe()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        if is_digest(request) and not self.reached.is_set():
            async with aclosing(self._hang()) as chunks:
                yield chunks
        else:
            async with self._model.stream(request) as chunks:
                yield chunks

    async def _hang(self) -> AsyncGenerator[Chunk, None]:
        yield TextChunk("Goal")
        self.reached.set()
        await anyio.sleep_forever()


async def test_in_a_record_of_dropped_steps_nothing_is_dropped() -> None:
    """It is no answer: it is begun again by whoever goes on with the run."""
    model = Model(60)
    backend = HangsInItsFirstRecord(model)
    agent = Agent(
        backend,
        tools=[look],
        planning="off",
        sampling=SAMPLING,
        limits=Limits(max_steps=1000),
    )
    result = await run_until(agent, backend.reached, stop)
    assert (result.status, result.output) == (RunStatus.stopped, None)
    assert not any("record" in entry.data for entry in result.trajectory)
    assert model.digests == []
    resumed = await agent.resume(result.run_id)
    assert resumed.output == "done"
    records = [entry for entry in resumed.trajectory if "record" in entry.data]
    assert records[0].data["by"] == "model"
    check_prompts(model, resumed.trajectory)


async def test_in_explicit_planning() -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent(
        ["Plan:\n1. work", reached.set, forever],
        ["Plan:\n1. answer\n"],
        ["done"],
        planning="explicit",
    )
    result = await run_until(agent, reached, stop)
    assert result.status is RunStatus.stopped
    resumed = await agent.resume(result.run_id)
    assert (resumed.status, resumed.output) == (RunStatus.completed, "done")


DRAFTED: list[list[Piece]] = [["work(n=0)\n```"], ['{"name": "work", "arguments": {"n": 0}}\n]']]


@pytest.mark.parametrize(
    ("at", "parameters"),
    [(at, None) for at in range(3)] + [(at, 500_000_000) for at in range(6)],
)
async def test_in_each_request_of_an_inline_plan(at: int, parameters: int | None) -> None:
    """A small model's has two drafts behind the first, and at last whether its call is meant."""
    bench, reached = Bench(), anyio.Event()
    bench.release.set()
    end = 'n": 0}}\n</tool_call>' if parameters else '{"n": 0}}\n</tool_call>'
    whole: list[list[Piece]] = [["<tool_call>"], ["work`.\n"], [end]]
    halves: list[Piece] = ["<tool_", "wo", end[:4]]
    if parameters:
        whole[1:] = [*DRAFTED, *whole[1:], []]
        halves[1:1] = ["work(n", '{"name": "wo']
        halves.append("")
    script: list[list[Piece]] = [*whole[:at], [halves[at], reached.set, forever], *whole, ["done"]]
    agent = bench.agent(
        *script, *whole, ["done"], planning="inline", renders=True, parameters=parameters
    )
    result = await run_until(agent, reached, stop, session="s")
    assert (result.status, bench.ran) == (RunStatus.stopped, [])
    assert result.output == ("<tool_" if at == 0 else None), "what is asked aside is no answer"
    assert len(bench.backend.requests) == at + 1
    later = await agent.run("Something else.", session="s")
    assert (later.status, later.output, bench.ran) == (RunStatus.completed, "done", [0])
    for request in bench.backend.requests[at + 1 :]:
        for message in request.messages:
            if isinstance(message, AssistantMessage):
                text = message.raw or ""
                assert text.count("<tool_call>") == text.count("</tool_call>") == len(message.calls)


@pytest.mark.parametrize(
    ("at", "parameters"),
    [(at, None) for at in range(2)] + [(at, 500_000_000) for at in range(5)],
)
async def test_between_the_requests_of_an_inline_plan(at: int, parameters: int | None) -> None:
    """Stopped when the last chunk is there: the next request is not made."""
    bench = Bench()
    token = CancelToken()
    texts: list[list[Piece]] = [["<tool_call>"], ["work`.\n"], ['{"n": 0}}\n</tool_call>']]
    if parameters:
        texts[1:] = [*DRAFTED, ["work`.\n"], ['n": 0}}\n</tool_call>'], []]
    bench.release.set()
    sent = 0

    class Stops(PacedBackend):
        """Stops the run when the last chunk of a message is taken."""

        @asynccontextmanager
        async def stream(self, request: Any) -> AsyncGenerator[Any, None]:
            nonlocal sent
            async with super().stream(request) as chunks:
                yield chunks
            if sent == at:
                token.stop()
            sent += 1

    done: list[list[Piece]] = [["done"]] * 5
    backend = Stops(*texts, *done, renders_prompts=True, parameters=parameters)
    agent = Agent(backend, tools=[bench.work])
    result = await agent.run("task", cancel=token)
    assert (result.status, bench.ran) == (RunStatus.stopped, [])
    assert len(backend.requests) == at + 1
    assert (await agent.resume(result.run_id)).status is not RunStatus.stopped


# -- from everywhere ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["task", "thread", "signal"])
async def test_from_a_task_a_thread_and_a_signal(how: str) -> None:
    bench, reached = Bench(), anyio.Event()
    agent = bench.agent(["Well", reached.set, forever], ["done"])
    before = signal.getsignal(signal.SIGUSR1)

    def by(token: CancelToken) -> None:
        match how:
            case "thread":
                thread = threading.Thread(target=token.stop)
                thread.start()
                thread.join()
            case "signal":
                signal.signal(signal.SIGUSR1, lambda number, frame: token.stop())
                os.kill(os.getpid(), signal.SIGUSR1)
            case _:
                token.stop()

    try:
        result = await run_until(agent, reached, by)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (result.status, result.output) == (RunStatus.stopped, "Well")


async def test_a_stream_is_stopped_and_read_to_its_end() -> None:
    bench = Bench()
    agent = bench.agent(["Well", forever], ["done"])
    events: list[Any] = []
    with anyio.fail_after(GUARD):
        async with agent.stream("task") as run:
            async for event in run:
                events.append(event)
                if isinstance(event, TextDelta):
                    run.stop()
    assert (run.result.status, run.result.output) == (RunStatus.stopped, "Well")
    assert isinstance(events[-1], RunFinished)
    assert isinstance(events[-2], StepFinished)


async def test_stop_by_a_reader_who_has_not_read_on() -> None:
    """The run waits for its reader when it is stopped: nothing is lost, and it ends."""
    bench = Bench()
    bench.release.set()
    agent = bench.agent(["Well. ", call("work", n=0), "More"], ["done"])
    with anyio.fail_after(GUARD):
        async with agent.stream("task") as run:
            async for event in run:
                if isinstance(event, StepStarted):
                    run.stop()
    assert run.result.status is RunStatus.stopped
    assert (await agent.resume(run.result.run_id)).ok


async def test_a_token_of_two_runs_stops_both() -> None:
    token, results = CancelToken(), list[RunResult]()
    first, second = Bench(), Bench()
    reached = [anyio.Event(), anyio.Event()]

    async def run(bench: Bench, at: anyio.Event) -> None:
        agent = bench.agent([f"Well {id(bench)}", at.set, forever])
        results.append(await agent.run("task", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run, first, reached[0])
            group.start_soon(run, second, reached[1])
            for event in reached:
                await event.wait()
            token.stop()
    assert [r.status for r in results] == [RunStatus.stopped] * 2
    assert {r.output for r in results} == {f"Well {id(b)}" for b in (first, second)}


async def test_stop_and_then_cancel_while_a_tool_finishes() -> None:
    """The second word is the stronger one."""
    bench = Bench()
    agent = bench.agent([call("work", n=0), until(bench.begun), forever], ["done"])
    token = CancelToken()
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("task", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await bench.begun.wait()
            token.stop()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert results == []
            token.cancel()
    (result,) = results
    assert (result.status, bench.interrupted) == (RunStatus.cancelled, True)
    assert "interrupted" in observations(result)[0]
    assert (await agent.resume(result.run_id)).output == "done"
    assert bench.ran == [0]


async def test_stopping_twice_and_after_the_end_does_nothing() -> None:
    bench = Bench()
    agent = bench.agent(["done"], ["done"])
    token = CancelToken()
    result = await agent.run("task", cancel=token)
    token.stop()
    token.stop()
    assert result.status is RunStatus.completed
    assert token.stopped
    assert not token.cancelled


async def test_an_open_question_is_no_reason_to_wait_when_it_is_stopped() -> None:
    asked = anyio.Event()

    @tool(requires_approval=True)
    async def buy() -> str:
        """Buy."""
        return "bought"

    async def approve(_: object) -> bool | None:
        if asked.is_set():
            return True
        asked.set()
        await anyio.sleep_forever()
        return None

    backend = PacedBackend(["I buy. ", call("buy")], ["done"])
    agent = Agent(backend, tools=[buy], approve=approve, planning="off")
    result = await run_until(agent, asked, stop)
    assert (result.status, observations(result)) == (RunStatus.stopped, [])
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, observations(resumed)) == ("done", ["bought"])


# -- the three words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status", "said", "finished"),
    [
        ("detach", RunStatus.completed, "done", "worked 0"),
        ("stop", RunStatus.stopped, "I do:", "worked 0"),
        ("cancel", RunStatus.cancelled, "I do:", "interrupted"),
    ],
)
async def test_the_three_words_side_by_side(
    word: str, status: RunStatus, said: str, finished: str
) -> None:
    bench = Bench()
    written = anyio.Event()
    agent = bench.agent(
        ["I do: ", call("work", n=0), until(bench.begun), until(written)], ["done"], ["done"]
    )
    with anyio.fail_after(GUARD):
        async with agent.stream("task") as run:
            await begins(run)
            {"detach": run.detach, "stop": run.stop, "cancel": run.cancel}[word]()
            if word == "detach":
                written.set()
            if word != "cancel":
                bench.release.set()
            if word != "detach":
                async for _ in run:
                    pass
        result = await run.wait()
    assert (result.status, result.output) == (status, said)
    assert finished in observations(result)[0]
    assert bench.interrupted == (word == "cancel")
    assert len(bench.backend.requests) == (2 if word == "detach" else 1)
    if word != "detach":
        assert (await agent.resume(result.run_id)).output == "done"
    assert bench.ran == [0]
    assert "limit" not in kinds(result) or word != "detach"


# -- detach ---------------------------------------------------------------------------------------


async def test_leaving_without_detach_cancels_and_waits() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0), forever], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group) as run:
                await begins(run)
            assert bench.interrupted, "it has ended when the block is left"
            assert run.result.status is RunStatus.cancelled
            assert not group.cancel_scope.cancel_called
    assert bench.backend.left == 1


async def test_detached_within_a_group_the_block_is_left_at_once() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group) as run:
                await begins(run)
                run.detach()
            assert not run.ended.is_set()
            with pytest.raises(ConfigurationError, match="not ended"):
                _ = run.result
            bench.release.set()
            result = await run.wait()
            assert result is await run.wait()
            assert run.result is result
            assert result.output == "done"
            assert observations(result) == ["worked 0"]


async def test_detached_without_a_group_the_block_waits() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with agent.stream("task") as run:
            await begins(run)
            run.detach()
            bench.release.set()
    assert run.result.output == "done"


@pytest.mark.parametrize("word", ["stop", "cancel"])
@pytest.mark.parametrize("whose", ["stream", "token"])
async def test_a_detached_run_can_still_be_ended(word: str, whose: str) -> None:
    bench, reached = Bench(), anyio.Event()
    token = CancelToken()
    agent = bench.agent(["Well", reached.set, forever])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group, cancel=token) as run:
                run.detach()
            await reached.wait()
            getattr(run if whose == "stream" else token, word)()
            result = await run.wait()
            status = RunStatus.stopped if word == "stop" else RunStatus.cancelled
            assert (result.output, result.status) == ("Well", status)


async def test_a_body_that_raises_after_it_has_detached() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            runs: list[RunStream[Any]] = []

            async def body() -> None:
                async with agent.stream("task", within=group) as run:
                    runs.append(run)
                    await begins(run)
                    run.detach()
                    raise ValueError("mine")

            with pytest.raises(ValueError, match="mine"):
                await body()
            bench.release.set()
            assert (await runs[0].wait()).output == "done"


async def test_a_body_that_raises_without_detaching() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            runs: list[RunStream[Any]] = []

            async def body() -> None:
                async with agent.stream("task", within=group) as run:
                    runs.append(run)
                    await begins(run)
                    raise ValueError("mine")

            with pytest.raises(ValueError, match="mine"):
                await body()
            assert runs[0].result.status is RunStatus.cancelled
            assert bench.interrupted


async def test_the_group_of_a_detached_run_is_cancelled() -> None:
    """The run is over, says so to who waits for it, and can be gone on with."""
    bench = Bench()
    runs: list[RunStream[Any]] = []
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group) as run:
                await begins(run)
                run.detach()
            runs.append(run)
            group.cancel_scope.cancel()
        with pytest.raises(LingAgentError, match="resume"):
            await runs[0].wait()
    assert bench.interrupted
    resumed = await agent.resume(runs[0].run_id)
    assert (resumed.output, bench.ran) == ("done", [0])


async def test_the_group_is_cancelled_while_the_last_event_waits_for_its_reader() -> None:
    """The run has ended: its result is there, and there is nothing to go on with."""
    agent = Bench().agent(["done"])
    with anyio.fail_after(GUARD):
        async with (
            anyio.create_task_group() as group,
            agent.stream("task", within=group) as run,
        ):
            async for event in run:
                if isinstance(event, StepFinished):
                    break
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope(shield=True):
                group.cancel_scope.cancel()
                await run.ended.wait()
                assert run.result.output == "done"


async def test_a_detached_run_that_fails_tells_who_waits() -> None:
    reached = anyio.Event()
    backend = PacedBackend([until(reached), BackendUnavailable("gone")])
    agent = Agent(backend, planning="off")
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group) as run:
                run.detach()
            reached.set()
            with pytest.raises(BackendUnavailable, match="gone"):
                await run.wait()
            assert not group.cancel_scope.cancel_called, "the application's group goes on"


async def test_a_run_that_cannot_begin_leaves_the_group_alone() -> None:
    agent = Agent(PacedBackend(["x"]), planning="off")
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            with pytest.raises(ConfigurationError, match="empty"):
                async with agent.stream("", within=group):
                    pass
            assert not group.cancel_scope.cancel_called


async def test_a_detached_run_has_its_session_for_itself_until_it_ends() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"], ["later"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group, session="s") as run:
                await begins(run)
                run.detach()
            with pytest.raises(ConfigurationError, match="not ended"):
                await agent.run("next", session="s")
            bench.release.set()
            await run.wait()
            assert (await agent.run("next", session="s")).output == "later"


async def test_cancel_of_a_detached_run_from_another_thread() -> None:
    bench = Bench()
    agent = bench.agent([call("work", n=0)], ["done"])
    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            async with agent.stream("task", within=group) as run:
                await begins(run)
                run.detach()
            await anyio.to_thread.run_sync(run.cancel)
            assert (await run.wait()).status is RunStatus.cancelled


async def test_a_tool_in_a_thread_is_told_of_a_cancel_and_not_of_a_stop() -> None:
    seen: list[bool] = []
    begun = threading.Event()
    go_on = threading.Event()

    @tool
    def slow(ctx: RunContext[None]) -> str:
        """Be slow."""
        begun.set()
        assert go_on.wait(GUARD)
        seen.append(ctx.cancelled)
        return "slow"

    token = CancelToken()
    backend = PacedBackend([call("slow"), forever])
    agent = Agent(backend, tools=[slow], planning="off")
    results: list[RunResult] = []

    async def run() -> None:
        results.append(await agent.run("task", cancel=token))

    with anyio.fail_after(GUARD):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await anyio.to_thread.run_sync(begun.wait, GUARD)
            token.stop()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            go_on.set()
    assert seen == [False]
    assert results[0].status is RunStatus.stopped
    assert [m.content for m in results[0].trajectory.messages() if isinstance(m, ToolMessage)] == [
        "slow"
    ]
