"""What a run goes on from: a session that is kept, or the messages of the request alone.

Names of runs that came by HTTP begin with ``http``, so that no client reaches a run or session that
the application has made itself.

=================  ============================  =============================================
                   name of the run               what is kept
=================  ============================  =============================================
with a session     ``http:`` and the session's   the conversation, in the agent's memory
without one        ``http-`` and 32 digits       nothing, but for calls that wait for approval
=================  ============================  =============================================

The messages in front of the task are written into the log before the run begins. A session that is
kept already has its own: of a request that goes on with it only the task counts.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import anyio

from ..agent import Agent
from ..errors import ConfigurationError, StoreError
from ..memory import InMemoryStore, Store, Trajectory
from ..memory.journal import claimed, off_loop
from ..memory.retention import delete_run
from ..results import RunResult, RunStatus
from .ask import Ask
from .refusals import RefusedError, invalid
from .runs import Admitted, busy

SESSION_HEADER = "x-session-id"
_NAME = re.compile(r"[A-Za-z0-9._~:@+-]{1,128}")
_OURS = re.compile(r"http(:[A-Za-z0-9._~:@+-]{1,128}|-[0-9a-f]{32})")


@dataclass(slots=True)
class Conversation:
    """The run of one request.

    Attributes:
        run_id: Its name in the store.
        passing: Whether it belongs to no session.
        waited: Whether it is one that has waited for approval.
    """

    run_id: str
    passing: bool
    waited: bool = False

    @classmethod
    def of(cls, session: str | None) -> Conversation:
        """A run of a session, or one by itself.

        Raises:
            RefusedError: A name that is none.
        """
        if session is None:
            return cls(f"http-{uuid.uuid4().hex}", True)
        if not _NAME.fullmatch(session):
            raise invalid(
                "X-Session-Id: give 1 to 128 characters out of letters, digits and ._~:@+-",
                "X-Session-Id",
            )
        return cls(f"http:{session}", False)

    @classmethod
    def known(cls, run_id: str) -> Conversation:
        """The one that an earlier answer named.

        Raises:
            RefusedError: No name of a run that came by HTTP.
        """
        if not _OURS.fullmatch(run_id):
            raise not_kept()
        return cls(run_id, run_id.startswith("http-"), waited=True)


def not_kept() -> RefusedError:
    """There is no such run."""
    return RefusedError(404, "there is no run of that name that waits", code="run_not_found")


async def prepare(agent: Agent[Any], conversation: Conversation, ask: Ask) -> None:
    """Write what is in front of the task, unless the session has begun already.

    Raises:
        RefusedError: Another process has the session.
        StoreError: The store cannot be used.
    """
    if conversation.passing and not ask.begins_with_more:
        return  # a new name with nothing in front: the run begins by itself
    store, run_id = agent.memory.store, conversation.run_id
    entries = list(ask.log(agent.instructions)) if ask.begins_with_more else []

    def begin() -> None:
        if entries and run_id not in store:
            store.append(run_id, entries, status=str(RunStatus.completed))

    try:
        async with claimed(store, run_id):
            await off_loop(store, begin)
    except ConfigurationError:
        raise busy() from None


async def kept(agent: Agent[Any], conversation: Conversation) -> Trajectory:
    """The log of a run that is to go on.

    Raises:
        RefusedError: There is none, or another process has it.
        StoreError: The store cannot be used.
    """
    store, run_id = agent.memory.store, conversation.run_id

    def load() -> Trajectory:
        if run_id not in store:
            raise not_kept()
        return store.load(run_id)

    try:
        async with claimed(store, run_id):
            return await off_loop(store, load)
    except ConfigurationError:
        raise busy() from None


async def has(agent: Agent[Any], conversation: Conversation) -> bool:
    """Whether an agent's memory has the run."""
    store = agent.memory.store
    return await off_loop(store, lambda: conversation.run_id in store)


class Ending:
    """The end of a run, before its client hears of it: by then the next request may come.

    Args:
        store: The agent's.
        conversation: What the run belongs to.
        admitted: Its place.
    """

    def __init__(self, store: Store, conversation: Conversation, admitted: Admitted) -> None:
        self._store = store
        self._conversation = conversation
        self._admitted = admitted
        self._settled = False

    async def settle(self, result: RunResult | None) -> None:
        """Forget what nobody can ask for any more, and give the place to others."""
        if self._settled:
            return
        self._settled = True
        if not self._stays(result):
            store, run_id = self._store, self._conversation.run_id
            log = result.trajectory if result is not None else None
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                await off_loop(store, lambda: delete_run(store, run_id, log))
        self._admitted.release()

    def _stays(self, result: RunResult | None) -> bool:
        """A session does; else what waits for approval, and what the server's end has cut off.

        A run that has waited before its client came back does so until it has really gone on.
        """
        if not self._conversation.passing:
            return True
        status = result.status if result is not None else None
        if status is RunStatus.needs_approval:
            return True
        if self._conversation.waited and status in (None, RunStatus.cancelled):
            return True
        return self._admitted.shut_down and not isinstance(self._store, InMemoryStore)


@contextlib.asynccontextmanager
async def ending(
    agent: Agent[Any], conversation: Conversation, admitted: Admitted
) -> AsyncGenerator[Ending, None]:
    """The end of the run that the body makes; settled by then, whatever happens."""
    end = Ending(agent.memory.store, conversation, admitted)
    try:
        yield end
    finally:
        await end.settle(None)
