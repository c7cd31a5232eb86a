"""Which profile a model has: by what it is called, or by the metadata of its file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from .families import (
    CHATML,
    HERMES2,
    HERMES3,
    LING1,
    LING2,
    LING3,
    LING25,
    LING26,
    PLAIN,
    QWEN3,
    RING25,
    RING26,
)
from .profile import Profile

_LING = {"1": LING1, "2": LING2, "2.0": LING2, "2.5": LING25, "2.6": LING26, "3": LING3}
_RING = {"2.5": RING25, "2.6": RING26}
# Ring 2.0 was published with a template that ends no turn; it works with that of Ling 2.0
# (read: llama.cpp #22280).
_RING2 = dataclasses.replace(LING2, thinks=True, models=())
_HERMES = {"2": HERMES2, "3": HERMES3}
_FAMILY = re.compile(r"(ling|ring|hermes|qwen)v?(\d(?:\.\d+)?)?")
_VERSION = re.compile(r"v?(\d(?:\.\d+)?)")
_UNDERSCORED = re.compile(r"_(\d)_(\d)_")
_FIRST_LING = {"lite", "plus"}


def profile_for_gguf(metadata: Mapping[str, str]) -> Profile:
    """The profile that fits a GGUF's metadata: its architecture and chat template, then its names.

    Unknown families get ``plain``: most small models with Hermes tools were tuned on ChatML.
    """
    architecture = metadata.get("general.architecture", "")
    template = metadata.get("tokenizer.chat_template", "")
    names = (metadata.get(f"general.{key}", "") for key in ("name", "basename", "finetune"))
    named = profile_for_name(*names)
    if architecture.startswith("bailingmoe") or "<role>ASSISTANT</role>" in template:
        return _ling(architecture, template, named)
    if "You are a function calling AI model" in template:
        return named if named in (HERMES2, HERMES3) else HERMES3
    if "You are Qwen" in template or architecture == "qwen2":
        return CHATML
    if architecture in ("qwen3", "qwen3moe"):
        return PLAIN if "<function=" in template else QWEN3
    return PLAIN if named.template.startswith("ling") else named


def _ling(architecture: str, template: str, named: Profile) -> Profile:
    """The generation of a Ling; its name counts where the marks of the file leave a choice."""
    if architecture == "bailingmoe3" or "<arg_key>" in template:
        return RING26 if named is RING26 else LING3
    if architecture == "bailingmoe" and "<|role_end|>" not in template:
        return LING1
    if named in (LING25, LING26, RING25, _RING2):
        return named
    return LING26 if "detailed thinking on" in template else LING2


def profile_for_name(*names: str) -> Profile:
    """The profile that fits a served model, as far as its names tell; else ``plain``.

    Args:
        names: What it is served as and what it was loaded from; see `name_words`.
    """
    for name in names:
        words = _words(_UNDERSCORED.sub(r"_\1.\2_", name))
        # Its distillations are called after the model that was taught.
        found = None if "deepseek" in words else _by_words(words)
        if found is not None:
            return found
    return PLAIN


def _by_words(words: Sequence[str]) -> Profile | None:
    """By the last word that names a family: makers are called so, too, and stand in front."""
    for at in range(len(words) - 1, -1, -1):
        match = _FAMILY.fullmatch(words[at])
        if match:
            return _family(match[1], match[2] or "", words[at + 1 :], words)
    return None


def _family(name: str, version: str, behind: Sequence[str], words: Sequence[str]) -> Profile | None:
    if name == "qwen":
        if version.startswith("3"):
            return QWEN3 if version == "3" and "coder" not in behind else None
        return CHATML
    versions = [match[1] for word in behind if (match := _VERSION.fullmatch(word))]
    version = version or (versions[0] if versions else "")
    if name == "hermes":
        return _HERMES.get(version.partition(".")[0])
    if name == "ring":
        return _RING.get(version) or (
            _RING2 if "inclusionai" in words or version == "2.0" else None
        )
    if not version:
        return LING1 if _FIRST_LING & set(behind) else LING2
    return _LING.get(version) or _LING.get(version.partition(".")[0]) or LING2


def name_words(*names: str) -> set[str]:
    """The words of model names, in lower case: ``org/Ling-2.6-flash`` -> org, ling, 2.6, flash.

    Of a path, which begins with a slash, only the last part counts.
    """
    return {word for name in names for word in _words(name)}


def _words(name: str) -> list[str]:
    """The same of one name, in their order."""
    shown = name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name
    return [word for word in re.split(r"[-_/:\s]+", shown.lower()) if word]
