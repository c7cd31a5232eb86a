"""Checks of a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from ...errors import StoreError
from ...memory import Store, Trajectory
from ...messages import AssistantMessage, UserMessage

MakeStore = Callable[[], Store]
StoreCheck = Callable[[MakeStore], Awaitable[None]]


def _trajectory(task: str) -> Trajectory:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage(task), task=task)
    trajectory.append("assistant", AssistantMessage("Grüße 🎉\u2028\ud83d"), step=1, tokens=7)
    return trajectory


async def gives_back_what_was_saved(make: MakeStore) -> None:
    """Entry by entry, until it is saved anew; what is done to a fork is nothing to the store."""
    store, first, second = make(), _trajectory("first"), _trajectory("second")
    store.save("a", first)
    store.save("b", second)
    assert "a" in store, "what was saved is not in the store"
    assert list(store.load("a")) == list(first), "what was loaded is not what was saved"
    store.load("a").fork().append("note", UserMessage("more"))
    assert list(store.load("a")) == list(first), "a fork is not for itself"
    longer = first.fork()
    longer.append("note", UserMessage("more"))
    store.save("a", longer)
    assert list(store.load("a")) == list(longer), "saving again does not replace"
    assert list(store.load("b")) == list(second), "saving one run changed another"


async def says_what_it_does_not_have(make: MakeStore) -> None:
    """`StoreError`, and not contained; anything may be asked for."""
    store = make()
    assert "a" not in store
    assert 5 not in store, "what is no run id is not in the store either"
    try:
        store.load("a")
    except StoreError:
        return
    raise AssertionError("load of an unknown run did not raise StoreError")


async def is_used_from_several_threads(make: MakeStore) -> None:
    """As agents do whose runs are in different event loops."""
    store = make()
    names = [f"run {number}" for number in range(16)]

    def save(name: str) -> None:
        for _ in range(8):
            store.save(name, _trajectory(name))
            store.load(name)

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(anyio.to_thread.run_sync, save, name)
    assert [store.load(name)[0].data["task"] for name in names] == names


STORE_CHECKS: tuple[StoreCheck, ...] = (
    gives_back_what_was_saved,
    says_what_it_does_not_have,
    is_used_from_several_threads,
)
