"""`Launch`: what a server is started with, and how a command line is written."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import ConfigurationError
from ..facts import ModelFacts
from ..profiles import get_profile

ServerName = Literal["vllm", "sglang", "llama.cpp", "ollama", "systemd", "embedded"]

SERVERS: tuple[ServerName, ...] = get_args(ServerName)

HOST = "127.0.0.1"
"""Nobody but this machine reaches a server that was started by a recipe as it is."""

KEY = "LING_AGENT_API_KEY"
"""Variable with the server's key. The client reads the same one; no file holds its value."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a server is started with.

    Attributes:
        model: The facts of the model.
        format: A key of `ModelFacts.formats`: ``bf16``, ``fp8``, ``int4``, ``q4_k_m``, …
        gpus: Cards that share the model.
        context: Context window of one sequence in tokens.
        port: TCP port on which the server listens; 0 where there is none.
        parallel: Sequences that are answered at the same time; None leaves it to the server.
        cpu_experts: Layers, from the first, whose experts stay in system memory (llama.cpp).
    """

    model: ModelFacts
    format: str
    gpus: int
    context: int
    port: int
    parallel: int | None = None
    cpu_experts: int = 0

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--gpus", self.gpus, 1),
            ("--context", self.context, 1),
            ("--concurrency", 1 if self.parallel is None else self.parallel, 1),
        ):
            if value < least:
                raise ConfigurationError(f"{option} {value}: give a number from {least} on")
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"--port {self.port}: give a port from 1 to 65535")
        longest = self.model.max_context
        if self.context > longest:
            raise ConfigurationError(
                f"{self.model.title} has a context window of at most {longest:,} tokens, "
                f"not {self.context:,}: --context {longest}"
            )

    def on_port(self, port: int) -> Launch:
        """The same on another port."""
        return dataclasses.replace(self, port=port)

    @property
    def served(self) -> str:
        """The name under which the model is served: the client detects the profile from it."""
        return self.model.id

    @property
    def arg_keys(self) -> bool:
        """Whether the model writes its calls with ``<arg_key>`` in place of JSON."""
        return get_profile(self.model.profile).dialect == "arg_key"

    @property
    def lightning(self) -> bool:
        """Whether it has the linear layers of Ling 2.5 and 2.6."""
        return self.model.shape.linear == "lightning"

    @property
    def stretched(self) -> bool:
        """Whether the window is longer than the model's own, so that YaRN is needed."""
        return self.context > self.model.native_context

    @property
    def weights(self) -> str:
        """The repository of the weights.

        Raises:
            ConfigurationError: None is known.
        """
        repository = self.model.formats[self.format].repository
        if not repository:
            raise ConfigurationError(
                f"no repository with {self.format} weights of {self.model.title} is known here"
            )
        return repository

    def splits_layers(self) -> bool:
        """Whether each layer can be shared by the cards: their number has to divide the heads."""
        return self.model.shape.heads % self.gpus == 0


class Raw(str):
    """A piece of shell that is not to be quoted."""

    __slots__ = ()


def one_line(words: Iterable[str]) -> str:
    """A command as one line of shell."""
    return shlex.join(words)


def several_lines(words: Sequence[str], *, indent: str = "    ") -> str:
    """A command as shell, one option a line; words of the type `Raw` are not quoted."""
    groups = (" ".join(_word(word) for word in group) for group in by_option(words))
    return f" \\\n{indent}".join(groups)


def by_option(words: Sequence[str]) -> list[list[str]]:
    """The words split before each ``--option``: first the program, then options and values."""
    groups: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--") and groups[-1]:
            groups.append([])
        groups[-1].append(word)
    return groups


def _word(word: str) -> str:
    return str(word) if isinstance(word, Raw) else shlex.quote(word)
