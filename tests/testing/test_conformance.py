"""The conformance checks: what comes with the package passes, and each check finds its fault."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from ling_agent import Trajectory
from ling_agent.backends import Backend, Chunk, Finished, ModelInfo, ModelRequest, TextChunk
from ling_agent.memory import InMemoryStore
from ling_agent.testing import Reply, ScriptedBackend
from ling_agent.testing.conformance import BACKEND_CHECKS, STORE_CHECKS, BackendCheck, StoreCheck
from ling_agent.testing.conformance.backends import (
    answers_again_after_it_was_left,
    answers_several_at_once,
    continues_and_stops_where_it_is_told,
    describes_itself,
    ends_with_what_it_cost,
    lets_itself_be_cancelled,
    works_again_after_it_was_closed,
    works_in_another_event_loop,
)
from ling_agent.testing.conformance.stores import (
    gives_back_what_was_saved,
    says_what_it_does_not_have,
)

pytestmark = pytest.mark.anyio


def scripted(**options: Any) -> ScriptedBackend:
    return ScriptedBackend([Reply("Hello you.", chunk_size=3)] * 4, **options)


@pytest.mark.parametrize("renders_prompts", [False, True])
@pytest.mark.parametrize("check", BACKEND_CHECKS, ids=lambda check: check.__name__)
async def test_the_scripted_backend(check: BackendCheck, renders_prompts: bool) -> None:
    await check(lambda: scripted(renders_prompts=renders_prompts))


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_the_store_in_memory(check: StoreCheck) -> None:
    await check(InMemoryStore)


class Faulty(Backend):
    """A scripted backend with one fault."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._inner = scripted(renders_prompts=True)
        self._busy = False
        self._closed = False
        self._descriptions = 0
        self._loop: object = None
        self.renders_prompts = True

    @property
    def name(self) -> str:
        return "faulty"

    async def describe(self) -> ModelInfo:
        self._descriptions += self._fault == "changes"
        return ModelInfo("faulty", 100 + self._descriptions)

    async def aclose(self) -> None:
        self._closed = True

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        if self._fault == "ignores the prefill":
            request = dataclasses.replace(request, prefill="")
        if self._fault == "goes on":
            request = dataclasses.replace(request, stop_when=None)
        loop = anyio.lowlevel.current_token()
        self._loop = self._loop or loop
        ends = self._closed and self._fault == "stays closed"
        ends = ends or (self._busy and self._fault in ("stays busy", "one at a time"))
        ends = ends or (self._loop != loop and self._fault == "one loop")
        self._busy = True
        async with self._inner.stream(request) as chunks, aclosing(self._pass(chunks)) as passed:
            yield self._nothing() if ends else passed
        self._busy = self._fault == "stays busy"

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
                if isinstance(chunk, Finished) and self._fault == "no usage":
                    chunk = dataclasses.replace(
                        chunk, usage=dataclasses.replace(chunk.usage, requests=0)
                    )
                yield chunk
            if self._fault == "text behind the end":
                yield TextChunk("more")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("changes", describes_itself),
        ("no end", ends_with_what_it_cost),
        ("no usage", ends_with_what_it_cost),
        ("text behind the end", ends_with_what_it_cost),
        ("stays busy", answers_again_after_it_was_left),
        ("swallows cancellation", lets_itself_be_cancelled),
        ("one at a time", answers_several_at_once),
        ("one loop", works_in_another_event_loop),
        ("stays closed", works_again_after_it_was_closed),
        ("ignores the prefill", continues_and_stops_where_it_is_told),
        ("goes on", continues_and_stops_where_it_is_told),
    ],
)
async def test_a_backend_with_a_fault_is_found_out(fault: str, check: BackendCheck) -> None:
    await check(lambda: Faulty(""))
    with pytest.raises(AssertionError):
        await check(lambda: Faulty(fault))


class Forgetful(InMemoryStore):
    """Keeps the first that it is given, and has an answer for everything."""

    def save(self, run_id: str, trajectory: Trajectory) -> None:
        if run_id not in self:
            super().save(run_id, trajectory)

    def load(self, run_id: str) -> Trajectory:
        return super().load(run_id) if run_id in self else Trajectory()


@pytest.mark.parametrize("check", [gives_back_what_was_saved, says_what_it_does_not_have])
async def test_a_store_with_a_fault_is_found_out(check: StoreCheck) -> None:
    with pytest.raises(AssertionError):
        await check(Forgetful)
