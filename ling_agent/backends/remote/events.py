"""The events of an answer on their way from a transport to a reader: checked, peeked at, or one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from ..base import Chunk
from .jsons import as_object
from .transport import Transport


async def once(answer: Any) -> AsyncGenerator[list[Any], None]:
    """An answer in one piece, as a stream of one batch."""
    yield [answer]


async def checked(
    batches: AsyncIterator[list[Any]], transport: Transport
) -> AsyncGenerator[Any, None]:
    """The events one by one.

    Raises:
        BackendError: One of them is an error.
    """
    async for batch in batches:
        for answer in batch:
            check(answer, transport)
            yield answer


def check(answer: Any, transport: Transport) -> None:
    """Errors come as events, too, once a stream has begun.

    Raises:
        BackendError: This is one.
    """
    event = as_object(answer)
    if not event:
        raise transport.words.bad_event(ValueError("not an object"))
    if event.get("error") or event.get("object") == "error":
        raise transport.words.in_stream(event.get("error") or event)


async def begun(chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    """The same chunks, once the first of them is there: an error in its place is raised here."""
    first = await anext(chunks, None)
    return _with_first(first, chunks)


async def _with_first(
    first: Chunk | None, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[Chunk, None]:
    async with aclosing(chunks):
        if first is not None:
            yield first
        async for chunk in chunks:
            yield chunk
