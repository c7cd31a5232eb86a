"""Entries for the tests of stores."""

from __future__ import annotations

import os

from ling_agent import Trajectory
from ling_agent.memory import Entry
from ling_agent.messages import ToolMessage, UserMessage


def log(length: int, text: str = "text") -> list[Entry]:
    """A task and observations, all different, that do not compress to nothing."""
    trajectory = Trajectory()
    trajectory.append("task", UserMessage(text), task=text)
    for step in range(1, length):
        message = ToolMessage(f"call_{step}_0", "read", f"{step} {text} {os.urandom(150).hex()}")
        trajectory.append("observation", message, step=step)
    return list(trajectory)


def observation(text: str, *, after: int = 0) -> Entry:
    """One observation, as the entry behind so many others."""
    message = ToolMessage("call_1_0", "read", text)
    return Entry(after, after - 1 if after else None, 1, "observation", message)
