"""`VLLMBackend`: a model that vLLM serves."""

from __future__ import annotations

from typing import ClassVar

from .remote.backend import RemoteBackend
from .remote.facts import Kind


class VLLMBackend(RemoteBackend):
    """A model that a vLLM server serves: ``vllm:http://localhost:8000``.

    Start it with ``--enable-auto-tool-choice --tool-call-parser hermes`` and
    ``--enable-prompt-tokens-details``. Calls are held to their schema by a structural tag.
    """

    scheme: ClassVar[Kind] = "vllm"
