"""The stream of messages from a server: its end is noticed, and listings are made readable.

The SDK refuses a whole listing for one tool whose description breaks a rule of the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import mcp_types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from .endpoint import Streams


@asynccontextmanager
async def watched(
    streams: AbstractAsyncContextManager[Streams],
    ended: Callable[[], None],
    left_out: Callable[[str], None],
) -> AsyncGenerator[Streams, None]:
    """The same streams, watched.

    Args:
        streams: Of a link.
        ended: Called when the server says nothing more, before anybody else hears of it.
        left_out: Called with a note for each tool that is taken out of a listing.
    """
    async with streams as (read, write):
        yield _Watched(read, ended, left_out), write


class _Watched:
    def __init__(
        self, stream: Any, ended: Callable[[], None], left_out: Callable[[str], None]
    ) -> None:
        self._stream = stream
        self._ended = ended
        self._left_out = left_out

    @property
    def last_context(self) -> Any:
        """Context variables of whoever sent the last message; the SDK looks for it."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return self._readable(await self._stream.receive())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return self._readable(await self._stream.__anext__())
        except StopAsyncIteration:
            self._ended()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._stream.__aexit__(exc_type, exc_val, exc_tb)

    def _readable(self, item: Any) -> Any:
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, mcp_types.JSONRPCResponse):
            tools = message.result.get("tools")
            if isinstance(tools, list):
                entries = cast("list[Any]", tools)
                message.result["tools"] = [e for e in entries if self._can_be_read(e)]
        return item

    def _can_be_read(self, entry: Any) -> bool:
        """Whether the SDK will take the entry, after what can be put right has been."""
        name = "?"
        if isinstance(entry, dict):
            tool = cast("dict[str, Any]", entry)
            name = str(tool.get("name"))
            schema = tool.get("inputSchema")
            if isinstance(schema, dict):
                # Arguments are an object, also where a server forgets to say so.
                cast("dict[str, Any]", schema).setdefault("type", "object")
            if not _is_of_object(tool.get("outputSchema")):
                # It only serves to check results.
                tool.pop("outputSchema", None)
            if isinstance(schema, dict) and not _is_of_object(cast("Any", schema)):
                self._left_out(f"tool '{name}': its inputSchema is not of an object")
                return False
        try:
            mcp_types.Tool.model_validate(entry, by_name=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            self._left_out(f"tool '{name}': its description is not valid: {place}: {first['msg']}")
            return False
        return True


def _is_of_object(schema: Any) -> bool:
    return isinstance(schema, dict) and cast("dict[str, Any]", schema).get("type") == "object"
