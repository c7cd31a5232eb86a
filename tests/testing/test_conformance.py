"""The conformance classes: what comes with the package passes, and each check finds its faults."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ling_agent import ContextOverflow
from ling_agent.backends import Backend, Chunk, Finished, ModelInfo, ModelRequest, TextChunk
from ling_agent.memory import InMemoryStore, Store
from ling_agent.testing import Reply, ScriptedBackend
from ling_agent.testing.conformance import BackendConformance, StoreConformance
from tests.testing.faulty_store import FaultyStore

WINDOW = 100


def scripted(text: str = "Hello.", **options: Any) -> ScriptedBackend:
    return ScriptedBackend([Reply(text, chunk_size=3)] * 4, **options)


class TestScriptedBackend(BackendConformance):
    def make(self) -> Backend:
        return scripted()


class TestScriptedBackendThatRendersPrompts(BackendConformance):
    def make(self) -> Backend:
        return scripted(renders_prompts=True)


class TestScriptedBackendWithoutAContextWindow(BackendConformance):
    def make(self) -> Backend:
        return scripted(context_window=None)


class TestInMemoryStore(StoreConformance):
    def make(self) -> Store:
        return InMemoryStore()


USAGE: dict[str, dict[str, Any]] = {
    "no requests": {"requests": 0},
    "no prompt": {"prompt_tokens": 0},
    "no answer": {"completion_tokens": 0},
    "a token too many": {"completion_tokens": 17},
    "two tokens": {"completion_tokens": 2},
    "more cached than sent": {"cached_tokens": 1000},
    "negative seconds": {"seconds": -1.0},
    "negative time to the first token": {"prefill_seconds": -1.0},
    "negative time behind it": {"decode_seconds": -1.0},
}
"""What a faulty backend says of its cost."""

TEXTS = {"lets stop texts through": "Hello.<|im_end|>", "loses calls": "", "says nothing": ""}
"""What a faulty backend answers."""


def heedless(stop: Callable[[str], bool], piece: str) -> bool:
    return not stop(piece)


class Faulty(Backend):
    """A scripted backend with one fault."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        window = None if fault == "takes any size" else WINDOW
        self._inner = scripted(
            TEXTS.get(fault, "Hello."), renders_prompts=True, context_window=window
        )
        self._busy = False
        self._closed = False
        self._descriptions = 0
        self._loop: object = None
        self.renders_prompts = True

    @property
    def name(self) -> str:
        return "" if self._fault == "no name" else "faulty"

    async def describe(self) -> ModelInfo:
        self._descriptions += self._fault == "changes"
        window = 0 if self._fault == "no window" else WINDOW
        return ModelInfo("faulty", window + self._descriptions)

    async def count_tokens(self, text: str) -> int | None:
        return 0 if self._fault == "counts nothing" else None

    async def aclose(self) -> None:
        self._closed = True

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        if self._fault == "ignores the prefill":
            request = dataclasses.replace(request, prefill="")
        stop = request.stop_when
        if self._fault == "never asks":
            request = dataclasses.replace(request, stop_when=None)
        if self._fault == "goes on" and stop is not None:
            request = dataclasses.replace(request, stop_when=functools.partial(heedless, stop))
        if self._fault == "knows no tools" and request.tools:
            raise TypeError("tools")
        if self._fault == "knows valid text only":
            request.messages[0].content.encode()
        loop = anyio.lowlevel.current_token()
        self._loop = self._loop or loop
        ends = self._closed and self._fault == "stays closed"
        ends = ends or (self._busy and self._fault in ("stays busy", "one at a time"))
        ends = ends or (self._loop != loop and self._fault == "one loop")
        self._busy = True
        async with self._sized(request) as chunks, aclosing(self._pass(chunks)) as passed:
            yield self._nothing() if ends else passed
        self._busy = self._fault == "stays busy"

    @asynccontextmanager
    async def _sized(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        try:
            async with self._inner.stream(request) as chunks:
                yield chunks
        except ContextOverflow as error:
            if self._fault == "its own errors":
                raise ValueError("too long") from error
            if self._fault != "begins all the same":
                raise
            async with aclosing(self._begin(error)) as chunks:
                yield chunks

    async def _begin(self, error: Exception) -> AsyncGenerator[Chunk, None]:
        yield TextChunk("Hel")
        raise error

    async def _nothing(self) -> AsyncGenerator[Chunk, None]:
        for chunk in list[Chunk]():
            yield chunk

    async def _pass(self, chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
        suppressed = anyio.get_cancelled_exc_class()
        swallows = self._fault == "swallows cancellation"
        with contextlib.suppress(suppressed) if swallows else contextlib.nullcontext():
            async for chunk in chunks:
                if isinstance(chunk, Finished) and self._fault == "no end":
                    return
                yield self._ended(chunk) if isinstance(chunk, Finished) else chunk
            if self._fault == "text behind the end":
                yield TextChunk("more")

    def _ended(self, end: Finished) -> Finished:
        usage = dataclasses.replace(end.usage, **USAGE.get(self._fault, {}))
        lost = self._fault in ("loses calls", "calls that are nowhere")
        return Finished("tool_calls" if lost else end.finish_reason, usage)


BackendCheck = Callable[[BackendConformance, Backend], Awaitable[None]]
Backends = BackendConformance
BACKEND_FAULTS: list[tuple[str, BackendCheck, str]] = [
    ("no name", Backends.test_describes_itself, "name is empty"),
    ("changes", Backends.test_describes_itself, "the same twice"),
    ("no window", Backends.test_describes_itself, "context_window is 0"),
    ("counts nothing", Backends.test_describes_itself, "count_tokens is 0"),
    ("no end", Backends.test_ends_with_what_it_cost, "0 Finished chunks"),
    ("text behind the end", Backends.test_ends_with_what_it_cost, "behind Finished"),
    ("no requests", Backends.test_ends_with_what_it_cost, "usage.requests is 0"),
    ("no prompt", Backends.test_ends_with_what_it_cost, "usage.prompt_tokens is 0"),
    ("no answer", Backends.test_ends_with_what_it_cost, "usage.completion_tokens is 0"),
    ("a token too many", Backends.test_ends_with_what_it_cost, "17, of at most 16"),
    ("more cached than sent", Backends.test_ends_with_what_it_cost, "usage.cached_tokens is 1000"),
    ("negative seconds", Backends.test_ends_with_what_it_cost, "usage.seconds is -1.0"),
    (
        "negative time to the first token",
        Backends.test_ends_with_what_it_cost,
        "usage.prefill_seconds",
    ),
    ("negative time behind it", Backends.test_ends_with_what_it_cost, "usage.decode_seconds"),
    ("two tokens", Backends.test_keeps_to_max_tokens, "2, of at most 1"),
    ("calls that are nowhere", Backends.test_keeps_to_max_tokens, "finish_reason is 'tool_calls'"),
    ("lets stop texts through", Backends.test_leaves_out_stop_texts, "contains the stop texts"),
    ("says nothing", Backends.test_leaves_out_stop_texts, "no text"),
    ("takes any size", Backends.test_refuses_a_prompt_that_does_not_fit, "window of 100"),
    ("its own errors", Backends.test_refuses_a_prompt_that_does_not_fit, "no ContextOverflow"),
    ("begins all the same", Backends.test_refuses_a_prompt_that_does_not_fit, "1 chunks came"),
    ("knows valid text only", Backends.test_raises_backend_errors_only, "no BackendError"),
    ("no end", Backends.test_raises_backend_errors_only, "0 Finished chunks"),
    ("knows no tools", Backends.test_answers_with_calls_as_text, "raised TypeError"),
    ("loses calls", Backends.test_answers_with_calls_as_text, "has no text"),
    ("calls that are nowhere", Backends.test_answers_with_calls_as_text, "there is no call"),
    ("stays busy", Backends.test_answers_again_after_it_was_left, "no answer"),
    ("swallows cancellation", Backends.test_lets_itself_be_cancelled, "swallowed"),
    ("one at a time", Backends.test_answers_several_at_once, "an answer has no end"),
    ("one loop", Backends.test_works_in_another_event_loop, "another thread"),
    ("stays closed", Backends.test_works_again_after_it_was_closed, "no answer after aclose"),
    ("ignores the prefill", Backends.test_continues_and_stops_where_it_is_told, "prefill"),
    ("never asks", Backends.test_continues_and_stops_where_it_is_told, "called 0 times"),
    ("goes on", Backends.test_continues_and_stops_where_it_is_told, "called 2 times"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "check", "message"), BACKEND_FAULTS)
async def test_a_backend_with_a_fault_is_found_out(
    fault: str, check: BackendCheck, message: str
) -> None:
    suite = TestScriptedBackend()
    await check(suite, Faulty(""))
    with pytest.raises(AssertionError, match=message):
        await check(suite, Faulty(fault))


@pytest.mark.anyio
async def test_a_call_in_the_text_conforms() -> None:
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    called = ScriptedBackend([Reply(call, finish_reason="tool_calls")])
    await TestScriptedBackend().test_answers_with_calls_as_text(called)


StoreCheck = Callable[[StoreConformance, Store], Awaitable[None]]
Stores = StoreConformance
STORE_FAULTS: list[tuple[str, StoreCheck, str]] = [
    ("keeps nothing", Stores.test_gives_back_what_was_appended, "not in the store"),
    ("lends its own", Stores.test_gives_back_what_was_appended, "not the caller's"),
    ("has everything", Stores.test_says_what_it_does_not_have, "never kept"),
    ("has numbers", Stores.test_says_what_it_does_not_have, "no run id"),
    ("makes things up", Stores.test_says_what_it_does_not_have, "did not raise"),
    ("its own errors", Stores.test_says_what_it_does_not_have, "no StoreError"),
    ("begins anywhere", Stores.test_appends_all_or_nothing, "do not begin it|did not raise"),
    ("keeps what follows", Stores.test_appends_all_or_nothing, "there are 3 entries, not 2"),
    ("keeps any status", Stores.test_appends_all_or_nothing, "status of a refused append"),
    ("does not see claims", Stores.test_keeps_how_a_run_stands, "somebody has is 'interrupted'"),
    ("forgets the status", Stores.test_keeps_how_a_run_stands, "status for itself was not kept"),
    ("the first first", Stores.test_lists_what_was_written_to_last_first, "order is"),
    ("any clock", Stores.test_lists_what_was_written_to_last_first, "went back"),
    ("forks too much", Stores.test_forks, "not what it was forked from"),
    ("forgets where from", Stores.test_forks, "forked from 'a', not None"),
    ("forks share", Stores.test_forks, "not what it was forked from"),
    ("forks over others", Stores.test_forks, "into a run that is kept did not raise"),
    ("deletes forks", Stores.test_forks_outlive_what_they_came_from, "a deleted run is listed"),
    ("lists what was", Stores.test_forks_outlive_what_they_came_from, "a deleted run is listed"),
    ("the beginning", Stores.test_searches, "not what the hit shows"),
    ("no limit", Stores.test_searches, "limit is not kept"),
    ("searches other runs", Stores.test_searches, "entries with a word are|no StoreError|best"),
    ("understands queries", Stores.test_searches, "raised StoreError"),
    ("searches where it came from", Stores.test_searches_forks, "written after it"),
    ("deletes what is in use", Stores.test_deletes, "somebody has did not raise"),
    ("keeps what was deleted", Stores.test_deletes, "somebody has did not raise"),
    ("anybody may", Stores.test_gives_a_run_to_one_at_a_time, "did not raise"),
    ("one thread claims", Stores.test_gives_a_run_to_one_at_a_time, "two threads at once"),
    ("for ever", Stores.test_gives_a_run_to_one_at_a_time, "not free"),
    ("one thread", Stores.test_is_used_from_several_threads, "in another thread"),
    ("one for all", Stores.test_is_used_from_several_threads, "in another thread"),
    ("long texts are cut", Stores.test_takes_a_big_text, "not what it was"),
    ("searches the beginning", Stores.test_takes_a_big_text, "was not found"),
    ("forgets when closed", Stores.test_works_again_after_it_was_closed, "after close"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "check", "message"), STORE_FAULTS)
async def test_a_store_with_a_fault_is_found_out(
    fault: str, check: StoreCheck, message: str
) -> None:
    suite = TestInMemoryStore()
    await check(suite, FaultyStore(""))
    with pytest.raises(AssertionError, match=message):
        await check(suite, FaultyStore(fault))


@pytest.mark.parametrize(
    ("suite", "found_out"),
    [
        (BackendConformance, [check for _, check, _ in BACKEND_FAULTS]),
        (StoreConformance, [check for _, check, _ in STORE_FAULTS]),
    ],
)
def test_every_check_has_a_fault_that_it_finds(
    suite: type, found_out: list[Callable[..., object]]
) -> None:
    checks = {name for name in vars(suite) if name.startswith("test_")}
    assert checks == {check.__name__ for check in found_out}


OF_A_THIRD_PARTY = """
import pytest
from ling_agent.memory import InMemoryStore
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.conformance import BackendConformance, StoreConformance
from tests.testing.faulty_store import FaultyStore

class TestGood(BackendConformance):
    @pytest.fixture(autouse=True)
    async def _served(self, tmp_path):
        self.text = "Hello."
        yield

    def make(self):
        return ScriptedBackend([self.text] * 4)

class TestBad(BackendConformance):
    def make(self):
        return ScriptedBackend(["Hello.<|im_end|>"] * 4)

class TestStore(StoreConformance):
    def make(self):
        return InMemoryStore()
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_a_third_party_gets_a_test_for_each_check_and_event_loop(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -W error\n")
    (tmp_path / "test_mine.py").write_text(OF_A_THIRD_PARTY)
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    checks = [name for name in vars(BackendConformance) if name.startswith("test_")]
    stores = [name for name in vars(StoreConformance) if name.startswith("test_")]
    passed = 2 * (2 * len(checks) + len(stores)) - 2
    assert f"2 failed, {passed} passed" in ended.stdout, ended.stdout + ended.stderr
    for loop in ("asyncio", "trio"):
        assert f"FAILED test_mine.py::TestBad::test_leaves_out_stop_texts[{loop}]" in ended.stdout
    assert "contains the stop texts ['<|im_end|>']" in ended.stdout


def test_only_the_conformance_classes_need_pytest(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pytest'] = None\nimport ling_agent.testing"
    code += "\nfrom ling_agent import Agent, ConfigurationError"
    code += "\ntry: import ling_agent.testing.conformance"
    code += "\nexcept ConfigurationError as error: print(error)"
    ended = run("-c", code, cwd=tmp_path)
    assert ended.stdout.strip() == (
        "ling_agent.testing.conformance needs pytest, which is not installed: pip install pytest"
    ), ended.stderr
