"""The contenders by name: where each is, and which distributions it takes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol

Way = Literal["plain", "streamed"]
WAYS: tuple[Way, ...] = ("plain", "streamed")
BASE = "openai"
OURS = "ling_agent"


class Contender(Protocol):
    """A library set up for the task: each method is one run, and returns its answer."""

    async def plain(self) -> str: ...

    async def streamed(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender that need not be installed.

    Attributes:
        title: What the table calls it.
        module: Module of this package that holds its class, which imports the library when called.
        factory: Name of the class.
        distributions: What has to be installed; the versions of all are told.
    """

    title: str
    module: str
    factory: str
    distributions: tuple[str, ...]

    def versions(self) -> dict[str, str] | None:
        """The installed versions by distribution; None when one is missing."""
        try:
            return {name: importlib.metadata.version(name) for name in self.distributions}
        except importlib.metadata.PackageNotFoundError:
            return None

    def load(self) -> Callable[[str], Contender]:
        """The class; it takes the server's address without ``/v1``."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.factory)


ENTRIES: Mapping[str, Entry] = {
    "asyncio": Entry("asyncio sockets, by hand", "sockets", "Sockets", ()),
    "httpx2": Entry("httpx2, by hand", "clients", "Httpx2", ("httpx2",)),
    BASE: Entry("openai, by hand", "clients", "Openai", ("openai",)),
    OURS: Entry("ling_agent", "ours", "LingAgent", ("ling-agent",)),
    "openai-agents": Entry("openai-agents", "peers", "OpenaiAgents", ("openai-agents",)),
    "pydantic-ai": Entry("pydantic-ai", "peers", "PydanticAi", ("pydantic-ai-slim", "openai")),
    "langgraph": Entry("langgraph", "peers", "Langgraph", ("langgraph", "langchain-openai")),
    "agno": Entry("agno", "peers", "Agno", ("agno", "openai")),
}
PEERS = tuple(name for name, entry in ENTRIES.items() if entry.module == "peers")
