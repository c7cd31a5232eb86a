"""`Dialogue`: an agent that works in turns, its calls carried out by somebody else.

The agent runs as ever; only the handlers of its tools do nothing themselves. Each puts its call
down as the agent's next move, and waits for the observation that comes back with the next turn::

    next("cancel my flight") ──► a run begins ──► handler of get_user ──► Call(get_user, …)
    next(Observation(…))     ──► the handler returns, the run goes on ──► Call(cancel, …)
    next(Observation(…))     ──► the handler returns, the run ends    ──► "It is cancelled."
    next("thank you")        ──► the next run of the same session     ──► …
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import anyio
import anyio.abc

from ...agent import Agent
from ...errors import ContextOverflow, HermesError, ToolError
from ...memory import Trajectory
from ...memory.exchange import from_openai_messages
from ...messages import SystemMessage
from ...results import RunResult, RunStatus
from ...tools import Tool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A move of the agent: a call that somebody has to carry out; its arguments have been checked.

    Attributes:
        id: Unique within the dialogue.
        name: Of one of the tools.
        arguments: As JSON types.
    """

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of the call that was the last move."""

    text: str
    is_error: bool = False


class NoAnswer(Exception):  # noqa: N818 - the run has ended as runs may end
    """Raised when a run of the agent ended without anything to say.

    Args:
        status: How it ended.
        error: Why it has failed, if it has.
    """

    def __init__(self, status: RunStatus, error: Exception | None) -> None:
        why = f": {error}" if error is not None else ""
        super().__init__(f"the agent's run ended as {status} without an answer{why}")
        self.status = status


class MakesAgent(Protocol):
    """Makes the agent from tools and instructions."""

    def __call__(self, tools: Sequence[Tool[..., Any]], instructions: str) -> Agent[str]: ...


class Dialogue:
    """One conversation with one agent; used by one party, in turns.

    Args:
        make: Makes the agent.
        tools: OpenAI tool objects.
        instructions: The agent's system prompt.
        observe: Makes what the model reads of an observation that is JSON; None leaves all as is.

    Attributes:
        agent: The agent.
        results: Of its runs, in order: one for each text that it was told.
    """

    def __init__(
        self,
        make: MakesAgent,
        tools: Sequence[Mapping[str, Any]],
        instructions: str,
        observe: Callable[[Any], Any] | None = None,
    ) -> None:
        self.agent = make([self._tool(schema["function"]) for schema in tools], instructions)
        self.results: list[RunResult[str]] = []
        self._instructions = instructions
        self._group: anyio.abc.TaskGroup | None = None
        self._observe = observe
        self._session = "dialogue"
        self._calls = 0
        self._move = _Slot[Call | str | Exception]()
        self._observation = _Slot[Observation]()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Turns are taken in here; a run that waits at the end is cancelled."""
        async with anyio.create_task_group() as self._group:
            yield
            self._group.cancel_scope.cancel()

    async def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """What was said before, as messages of OpenAI's chat API; once, before the first turn."""
        log = Trajectory()
        log.append("instructions", SystemMessage(self._instructions))
        entries = list(from_openai_messages(log, history))
        store = self.agent.memory.store
        store.append(self._session, entries, status=str(RunStatus.completed))

    async def next(self, heard: str | Observation) -> Call | str:
        """The agent's next move: a call, or what it says.

        Args:
            heard: What it is told, or what came of the call that it made last.

        Raises:
            NoAnswer: A run ended with nothing to say.
            BackendError: The model is gone.
        """
        if isinstance(heard, Observation):
            self._observation.put(heard)
        else:
            assert self._group is not None, "open the dialogue first"
            self._group.start_soon(self._run, heard)
        move = await self._move.take()
        if isinstance(move, Exception):
            raise move
        return move

    def _tool(self, schema: Mapping[str, Any]) -> Tool[..., Any]:
        name: str = schema["name"]

        async def carry_out(**arguments: Any) -> Any:
            self._calls += 1
            self._move.put(Call(f"call-{self._calls}", name, arguments))
            observed = await self._observation.take()
            if observed.is_error:
                raise ToolError(observed.text.removeprefix("Error: "))
            return self._read(observed.text)

        # Exclusive: one move at a time, in the order in which the model wrote them.
        return Tool.from_schema(
            name, schema["description"], schema["parameters"], carry_out, exclusive=True
        )

    def _read(self, text: str) -> Any:
        if self._observe is None:
            return text
        try:
            return self._observe(json.loads(text))
        except ValueError:
            return text

    async def _run(self, told: str) -> None:
        try:
            result = await self.agent.run(told, session=self._session)
        except Exception as error:
            self._move.put(_why(RunStatus.failed, error))
            return
        self.results.append(result)
        self._move.put(_said(result))


def _said(result: RunResult[str]) -> str | Exception:
    """What a run says, also one that a limit has cut; else why it says nothing."""
    return result.output or _why(result.status, result.error)


def _why(status: RunStatus, error: Exception | None) -> Exception:
    """Unreadable answers and a prompt that is too long are the agent's; a model that is gone, or
    whatever else is raised, is not.
    """
    if error is None or isinstance(error, HermesError | ContextOverflow):
        return NoAnswer(status, error)
    return error


class _Slot(Generic[T]):
    """Holds one thing until it is taken."""

    def __init__(self) -> None:
        self._full = anyio.Event()
        self._held: list[T] = []

    def put(self, thing: T) -> None:
        self._held.append(thing)
        self._full.set()

    async def take(self) -> T:
        await self._full.wait()
        self._full = anyio.Event()
        return self._held.pop()
