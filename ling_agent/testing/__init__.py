"""For tests of code that uses agents: a scripted model in place of a real one."""

from __future__ import annotations

from .scripted import Reply, ScriptedBackend

__all__ = ["Reply", "ScriptedBackend"]
