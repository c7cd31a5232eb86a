"""`ToolSource`: where a run gets tools from that are not there before it begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from .decorator import Tool


@runtime_checkable
class ToolSource(Protocol):
    """Something that can be given as one of an agent's ``tools`` and stands for several.

    Each run enters `opened` once, before its first request, and leaves it when it ends. The tools
    that it yields are the run's from its first request to its last, so that prompts keep their
    beginning; a source whose tools change shows that to the next run.
    """

    def opened(self) -> AbstractAsyncContextManager[Sequence[Tool[..., Any]]]:
        """The tools, for as long as the context is open; enter it in the run's own task.

        Raises:
            ConfigurationError: The source cannot work as it is described.
            BackendUnavailable: It cannot be reached now.
        """
        ...


@asynccontextmanager
async def held(sources: Iterable[ToolSource]) -> AsyncGenerator[None, None]:
    """Keep sources open that can be, such as MCP servers: runs then share their connections.

    Args:
        sources: Each is entered once, however often it is there; enter and leave in one task.

    Raises:
        ConfigurationError: A source cannot work as it is described, or is open already.
        BackendUnavailable: It cannot be reached.
    """
    async with AsyncExitStack() as stack:
        for source in {id(source): source for source in sources}.values():
            if isinstance(source, AbstractAsyncContextManager):
                await stack.enter_async_context(source)
        yield
