"""Checks of a store."""

from __future__ import annotations

from abc import ABC, abstractmethod

import anyio
import anyio.to_thread
import pytest

from ...errors import StoreError
from ...memory import Store, Trajectory
from ...messages import AssistantMessage, UserMessage


def _trajectory(task: str) -> Trajectory:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage(task), task=task)
    trajectory.append("assistant", AssistantMessage("Grüße 🎉\u2028\ud83d"), step=1, tokens=7)
    return trajectory


class StoreConformance(ABC):
    """The checks of a store: subclass it as ``Test…`` and implement `make`.

    The tests are async because agents call their store from inside an event loop.
    """

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def make(self) -> Store:
        """A new store without anything in it; called once for each test."""

    @pytest.fixture
    def store(self) -> Store:
        """The store that is tested."""
        return self.make()

    async def test_gives_back_what_was_saved(self, store: Store) -> None:
        """Entry by entry, until it is saved anew; the store does not change with a fork."""
        first, second = _trajectory("first"), _trajectory("second")
        saved = list(first)
        store.save("a", first)
        store.save("b", second)
        assert "a" in store, "what was saved is not in the store"
        assert list(store.load("a")) == saved, "what was loaded is not what was saved"
        store.load("a").fork().append("note", UserMessage("more"))
        assert list(store.load("a")) == saved, "a fork is not for itself"
        longer = first.fork()
        longer.append("note", UserMessage("more"))
        store.save("a", longer)
        assert list(store.load("a")) == list(longer), "saving again does not replace"
        assert list(store.load("b")) == list(second), "saving one run changed another"

    async def test_says_what_it_does_not_have(self, store: Store) -> None:
        """`StoreError`, and not contained; anything may be asked for."""
        assert "a" not in store, "a run that was never saved is in the store"
        assert 5 not in store, "what is no run id is in the store"
        try:
            store.load("a")
        except StoreError:
            return
        except Exception as error:
            raise AssertionError(
                f"load of an unknown run raised {error!r}, which is no StoreError"
            ) from error
        raise AssertionError("load of an unknown run did not raise StoreError")

    async def test_is_used_from_several_threads(self, store: Store) -> None:
        """As agents do whose runs are in different event loops."""
        names = [f"run {number}" for number in range(16)]
        failed: list[Exception] = []

        def save(name: str) -> None:
            try:
                for _ in range(8):
                    store.save(name, _trajectory(name))
                    store.load(name)
            except Exception as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(anyio.to_thread.run_sync, save, name)
        if failed:
            raise AssertionError(f"in another thread: {failed[0]!r}") from failed[0]
        kept = [store.load(name)[0].data["task"] for name in names]
        assert kept == names, f"runs that were saved at once got mixed up: {kept}"
