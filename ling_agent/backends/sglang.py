"""`SGLangBackend`: a model that SGLang serves."""

from __future__ import annotations

from typing import ClassVar

from .remote.backend import RemoteBackend
from .remote.facts import Kind


class SGLangBackend(RemoteBackend):
    """A model that an SGLang server serves: ``sglang:http://localhost:30000``.

    Start it with ``--tool-call-parser qwen`` and ``--enable-cache-report``, and for Ling without
    ``--reasoning-parser``. Calls are held to their schema by ``strict`` tools.
    """

    scheme: ClassVar[Kind] = "sglang"
