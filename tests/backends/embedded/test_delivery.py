"""From the engine's thread to a reader: order, merging, the end, and readers that leave."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest
import trio

from ling_agent.backends.base import Chunk, Finished, ReasoningChunk, TextChunk
from ling_agent.backends.embedded.delivery import Delivery
from ling_agent.results import Usage

T = TypeVar("T")

END = Finished("stop", Usage())
TIMEOUT = 30  # seconds, after which a test that would wait for ever fails


def texts(chunks: Iterable[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


async def in_thread(work: Callable[[], None]) -> None:
    with anyio.fail_after(TIMEOUT):
        await anyio.to_thread.run_sync(work)


def put_all(delivery: Delivery, *items: Chunk | BaseException) -> Callable[[], None]:
    def work() -> None:
        for item in items:
            delivery.put(item)

    return work


async def read(delivery: Delivery) -> list[Chunk]:
    with anyio.fail_after(TIMEOUT):
        return [chunk async for chunk in delivery]


@pytest.mark.anyio
async def test_items_arrive_in_order_and_the_end_ends_the_iterator() -> None:
    with Delivery() as delivery:
        reasoning = ReasoningChunk("hm")
        await in_thread(put_all(delivery, TextChunk("a"), reasoning, TextChunk("b"), END))
        assert await read(delivery) == [TextChunk("a"), reasoning, TextChunk("b"), END]
        assert await read(delivery) == []


@pytest.mark.anyio
async def test_waiting_texts_are_merged_up_to_what_is_no_text() -> None:
    with Delivery() as delivery:
        pieces = [TextChunk(text) for text in "abc"]
        await in_thread(put_all(delivery, *pieces, ReasoningChunk("r"), *pieces, END))
        assert await read(delivery) == [
            TextChunk("abc"),
            ReasoningChunk("r"),
            TextChunk("abc"),
            END,
        ]


@pytest.mark.anyio
async def test_reasoning_is_not_merged_with_text() -> None:
    with Delivery() as delivery:
        items = [ReasoningChunk("a"), ReasoningChunk("b"), END]
        await in_thread(put_all(delivery, *items))
        assert await read(delivery) == items


@pytest.mark.anyio
async def test_a_text_is_read_before_the_next_is_there() -> None:
    with Delivery() as delivery:
        async with anyio.create_task_group() as group:
            for text in "abc":
                group.start_soon(in_thread, put_all(delivery, TextChunk(text)))
                with anyio.fail_after(TIMEOUT):
                    assert await anext(delivery) == TextChunk(text)


@pytest.mark.anyio
async def test_a_delivered_exception_is_raised_behind_the_text_and_ends_the_iterator() -> None:
    error = ValueError("broken")
    with Delivery() as delivery:
        await in_thread(put_all(delivery, TextChunk("a"), error, TextChunk("b")))
        with anyio.fail_after(TIMEOUT):
            assert await anext(delivery) == TextChunk("a")
            with pytest.raises(ValueError, match="broken") as caught:
                await anext(delivery)
        assert caught.value is error
        assert await read(delivery) == []


@pytest.mark.anyio
async def test_ten_thousand_pieces_arrive_complete() -> None:
    pieces = [f"{number} " for number in range(10_000)]
    with Delivery() as delivery:
        work = put_all(delivery, *map(TextChunk, pieces), END)
        thread = threading.Thread(target=work)
        thread.start()
        chunks = await read(delivery)
        await in_thread(thread.join)
    assert texts(chunks) == "".join(pieces)
    assert chunks[-1] is END


@pytest.mark.anyio
async def test_a_slow_reader_gets_fewer_pieces_and_the_same_text() -> None:
    pieces = [f"{number} " for number in range(100)]
    with Delivery() as delivery:
        chunks: list[Chunk] = []
        for start in range(0, 100, 20):
            await in_thread(put_all(delivery, *map(TextChunk, pieces[start : start + 20])))
            chunks.append(await anext(delivery))
        delivery.put(END)
        chunks += await read(delivery)
    assert len(chunks) == 6
    assert texts(chunks) == "".join(pieces)


@pytest.mark.anyio
async def test_a_reader_that_leaves_cancels_and_what_follows_is_dropped() -> None:
    with Delivery() as delivery:
        await in_thread(put_all(delivery, TextChunk("a")))
        async for chunk in delivery:
            assert chunk == TextChunk("a")
            break
        assert not delivery.cancelled.is_set()
    assert delivery.cancelled.is_set()
    await in_thread(put_all(delivery, TextChunk("b"), END))
    assert await read(delivery) == []


class BrokenError(Exception):
    """Unlike the built-in exceptions it takes weak references."""


@pytest.mark.anyio
async def test_close_drops_what_is_queued_and_what_comes_later() -> None:
    delivery = Delivery()
    errors = [BrokenError(), BrokenError()]
    queued = [weakref.ref(error) for error in errors]
    delivery.put(errors.pop())
    delivery.close()
    delivery.put(errors.pop())
    gc.collect()
    assert [error() for error in queued] == [None, None]
    delivery.close()
    assert await read(delivery) == []


@pytest.mark.anyio
async def test_closing_ends_a_reader_that_waits() -> None:
    delivery = Delivery()
    chunks: list[Chunk] = [END]

    async def reader() -> None:
        chunks[:] = await read(delivery)

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        await anyio.wait_all_tasks_blocked()
        delivery.close()
    assert chunks == []


@pytest.mark.anyio
async def test_cancelling_a_reader_that_waits_cancels_the_engine() -> None:
    delivery = Delivery()

    async def reader() -> None:
        with delivery:
            await anext(delivery)

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        await anyio.wait_all_tasks_blocked()
        assert not delivery.cancelled.is_set()
        group.cancel_scope.cancel()
    assert delivery.cancelled.is_set()


@pytest.mark.anyio
async def test_a_cancelled_wait_loses_nothing() -> None:
    with Delivery() as delivery:
        with anyio.move_on_after(0.01):
            await anext(delivery)
        await in_thread(put_all(delivery, TextChunk("a"), END))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(delivery)
        assert await read(delivery) == [TextChunk("a"), END]


@pytest.mark.anyio
async def test_a_reader_with_a_fast_engine_can_be_cancelled() -> None:
    """Nothing in this loop waits, as the next item is there always."""
    with Delivery() as delivery, anyio.CancelScope() as scope:
        delivery.put(ReasoningChunk("a"))
        async for chunk in delivery:
            delivery.put(chunk)
            scope.cancel()
    assert scope.cancelled_caught


def run_asyncio(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await work()

    return asyncio.run(main())


@pytest.mark.parametrize("run", [run_asyncio, trio.run])
@pytest.mark.parametrize("queued", [0, 1])
def test_putting_after_the_loop_has_ended_cancels(run: Callable[[Any], Any], queued: int) -> None:
    async def leave_without_closing() -> Delivery:
        delivery = Delivery()
        put_all(delivery, *[TextChunk("a")] * queued)()
        return delivery

    delivery: Delivery = run(leave_without_closing)
    assert not delivery.cancelled.is_set()
    thread = threading.Thread(target=put_all(delivery, TextChunk("b"), END), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert delivery.cancelled.is_set()


def test_a_wake_up_that_was_lost_with_its_loop_hides_nothing() -> None:
    async def make() -> Delivery:
        return Delivery()

    loop = asyncio.new_event_loop()
    try:
        delivery = loop.run_until_complete(make())
        delivery.put(TextChunk("a"))  # its wake-up is never run
        assert not delivery.cancelled.is_set()
    finally:
        loop.close()
    delivery.put(TextChunk("b"))
    assert delivery.cancelled.is_set()


def test_a_burst_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon_threadsafe

        def counted(callback: Callable[[], object]) -> object:
            calls.append(callback)
            return call_soon(callback)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        with Delivery() as delivery:
            for burst in range(1, 4):
                put_all(delivery, *[TextChunk("a")] * 1000)()  # the loop stands still meanwhile
                assert len(calls) == burst
                assert await anext(delivery) == TextChunk("a" * 1000)

    asyncio.run(main())


def test_a_reader_that_is_collected_inside_of_put_does_not_stop_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its block is left then in the engine's thread, wherever that is; here at a likely place."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def collected() -> bool:
            delivery.close()
            return False

        monkeypatch.setattr(loop, "is_closed", collected)
        delivery = Delivery()
        work = put_all(delivery, TextChunk("a"), TextChunk("b"))
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(TIMEOUT)  # the loop stands still: the first wake-up is pending
        monkeypatch.undo()
        assert not thread.is_alive()
        assert delivery.cancelled.is_set()

    asyncio.run(main())


def test_it_is_made_in_an_event_loop() -> None:
    with pytest.raises(RuntimeError):
        Delivery()
