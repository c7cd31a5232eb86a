"""Facts about models, number formats, servers and graphics cards, each with its source.

>>> from ling_agent import facts
>>> facts.model("ling-2.6-flash").formats["fp8"].repository
'inclusionAI/Ling-2.6-flash-fp8'
>>> facts.gpu("NVIDIA GeForce RTX 4090").id
'rtx-4090'

The one data file is ``facts.toml``. Sizes are bytes, windows tokens, bandwidths bytes a second.

`models()` and `gpus()` are everything by id, in a fixed order; `model(name)` and `gpu(name)` find
one by id, title or alias. `ModelFacts.formats` has `FormatFacts` by id (``bf16``, ``fp8``,
``int4``, ``nvfp4``, ``q8_0``, ``q4_k_m``, ``iq4_nl``, ``iq2_xs`` …), `ModelFacts.servers` has
`ServerFacts` by name (``vllm``, ``sglang``, ``llama.cpp``, ``ollama``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

from ..errors import ConfigurationError
from .reading import all_claims, all_gpus, all_models, all_sources, ram_bandwidth
from .shape import Shape
from .tables import Claim, FormatFacts, GpuFacts, How, ModelFacts, ServerFacts, Source

__all__ = [
    "Claim",
    "FormatFacts",
    "GpuFacts",
    "How",
    "ModelFacts",
    "ServerFacts",
    "Shape",
    "Source",
    "claims",
    "gpu",
    "gpus",
    "model",
    "models",
    "ram_bandwidth",
    "sources",
]

_MAKERS = re.compile(r"\b(?:nvidia|geforce|tesla|quadro|generation)\b")
_Entry = TypeVar("_Entry", ModelFacts, GpuFacts)


def models() -> Mapping[str, ModelFacts]:
    """Every model that there are facts about, by id."""
    return all_models()


def gpus() -> Mapping[str, GpuFacts]:
    """Every graphics card that there are facts about, by id."""
    return all_gpus()


def sources() -> Mapping[str, Source]:
    """Where the numbers are from, by id."""
    return all_sources()


def claims() -> tuple[Claim, ...]:
    """What pages of others say and arithmetic refutes."""
    return all_claims()


def model(name: str) -> ModelFacts:
    """The model of that name: id, title, alias or repository, in any spelling.

    Raises:
        ConfigurationError: None is known; the message has the nearest names and the whole list.
    """
    found = _find(name.rpartition("/")[2], all_models())
    return found or _unknown("model", name, all_models())


def gpu(name: str) -> GpuFacts:
    """The card of that name: ``rtx-4090``, ``4090``, ``NVIDIA GeForce RTX 4090``.

    Raises:
        ConfigurationError: None is known; the message has the nearest names and the whole list.
    """
    found = _find(name, all_gpus())
    return found or _unknown("GPU", name, all_gpus())


def _find(name: str, entries: Mapping[str, _Entry]) -> _Entry | None:
    wanted = _key(name)
    for entry in entries.values():
        names = (entry.id, entry.title, *entry.aliases)
        if wanted in map(_key, names):
            return entry
    return None


def _key(name: str) -> str:
    """What spellings of a name share: no maker, no space, no dash."""
    return re.sub(r"[^a-z0-9.]", "", _MAKERS.sub(" ", name.lower()))


def _unknown(what: str, name: str, entries: Mapping[str, _Entry]) -> _Entry:
    spelt = {
        _key(each): entry.id for entry in entries.values() for each in (entry.id, *entry.aliases)
    }
    near = difflib.get_close_matches(_key(name), spelt, n=3, cutoff=0.5)
    names = list(dict.fromkeys(spelt[each] for each in near))[:2]
    hint = f" Did you mean {' or '.join(names)}?" if names else ""
    raise ConfigurationError(f"unknown {what} {name!r}.{hint} Known: {', '.join(entries)}")
