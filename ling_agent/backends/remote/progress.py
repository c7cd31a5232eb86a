"""`Progress`: how far llama-server is with a long prompt, as its streams say.

Asked with ``return_progress``, it sends ``prompt_progress`` before the first token: once at the
beginning and after each batch (llama.cpp #15827, #18305). Other servers say nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base import PrefillChunk
from .jsons import Json, as_object

_KEY = "prompt_progress"


class Progress:
    """Reads the progress of one answer; a prompt of one batch has none."""

    def __init__(self) -> None:
        self._told = False

    def take(self, event: Json) -> PrefillChunk | None:
        """What an event says of the prompt, if anything new."""
        if _KEY not in event:
            return None
        told = as_object(event[_KEY])
        done, total, cached = told.get("processed"), told.get("total"), told.get("cache", 0)
        if not (isinstance(done, int) and isinstance(total, int) and isinstance(cached, int)):
            return None
        if not self._told and not cached < done < total:
            return None
        self._told = True
        return PrefillChunk(done, total)


def is_progress(events: Sequence[Any]) -> bool:
    """Whether all of these say that the first token is still to come."""
    return bool(events) and all(_KEY in as_object(event) for event in events)
