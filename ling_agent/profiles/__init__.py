"""Facts about model families: which template they were trained on and how they stop.

A profile is data, not behaviour. It is chosen by the catalogue, by the GGUF's own metadata or by
the caller (`Agent(profile=…)`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigurationError

TemplateName = Literal["ling2", "chatml"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How to talk to one family of models.

    Attributes:
        name: The profile's own name.
        template: Which chat template `ling_agent.hermes.render` writes.
        stop: Texts that end an answer; the tokens that the GGUF marks as end of generation end it
            as well.
        turn_end: What the template puts after an assistant message; it follows a generated text
            when the next prompt is rendered.
        bare_json: Whether the family writes calls without tags (measured for Qwen2.5-Coder).
        thinks: Whether some of the family reason before they answer, inside ``<think>``.
    """

    name: str
    template: TemplateName
    stop: tuple[str, ...]
    turn_end: str
    bare_json: bool = True
    thinks: bool = True


LING2 = Profile("ling2", "ling2", ("<|role_end|>", "<|endoftext|>"), "<|role_end|>", thinks=False)
"""Ling 2.0, 2.5 and 2.6, with thinking off as the official template of inclusionAI/Ling-V2 does."""

CHATML = Profile("chatml", "chatml", ("<|im_end|>", "<|endoftext|>"), "<|im_end|>\n")
"""Qwen2.5, Qwen2.5-Coder and other ChatML models with Hermes tools."""

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (LING2, CHATML)}


def get_profile(name: str) -> Profile:
    """The profile of that name; `ConfigurationError` lists the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(sorted(PROFILES))
        raise ConfigurationError(f"unknown profile {name!r}; known: {known}") from None


def profile_for_gguf(metadata: Mapping[str, str]) -> Profile:
    """The profile that fits a GGUF's metadata: its architecture first, then its chat template.

    Unknown families get ``chatml``: it is what most small models with Hermes tools were tuned on.
    """
    architecture = metadata.get("general.architecture", "")
    template = metadata.get("tokenizer.chat_template", "")
    if architecture.startswith("bailingmoe") or "<role>HUMAN</role>" in template:
        return LING2
    return CHATML


def profile_for_name(*names: str) -> Profile:
    """The profile that fits a served model, as far as its names tell.

    Args:
        names: What it is served as and what it was loaded from; see `name_words`.
    """
    return LING2 if "ling" in name_words(*names) else CHATML


def name_words(*names: str) -> set[str]:
    """The words of model names, in lower case: ``org/Ling-2.6-flash`` -> org, ling, 2.6, flash.

    Of a path, which begins with a slash, only the last part counts.
    """
    words: set[str] = set()
    for name in names:
        shown = name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name
        words.update(filter(None, re.split(r"[-_/:\s]+", shown.lower())))
    return words
