"""Facts about model families: which template they were trained on and how they stop.

A profile is data, not behaviour. It is chosen by the model's name, by the GGUF's own metadata or by
the caller: `Agent(profile="ling-2.6")`, or ``"ling-2.6:thinking"`` with thinking switched on.
"""

from __future__ import annotations

import difflib

from ..errors import ConfigurationError
from .detection import name_words, profile_for_gguf, profile_for_name
from .families import (
    ALIASES,
    CHATML,
    HERMES2,
    HERMES3,
    LING1,
    LING2,
    LING3,
    LING25,
    LING26,
    PLAIN,
    PROFILES,
    QWEN3,
    RING25,
    RING26,
)
from .profile import Dialect, Profile, SamplingAdvice, Switch, TemplateName, Thinking

__all__ = [
    "ALIASES",
    "CHATML",
    "HERMES2",
    "HERMES3",
    "LING1",
    "LING2",
    "LING3",
    "LING25",
    "LING26",
    "PLAIN",
    "PROFILES",
    "QWEN3",
    "RING25",
    "RING26",
    "Dialect",
    "Profile",
    "SamplingAdvice",
    "Switch",
    "TemplateName",
    "Thinking",
    "get_profile",
    "name_words",
    "profile_for_gguf",
    "profile_for_name",
]

_SWITCHES = {"thinking": True, "no-thinking": False}


def get_profile(name: str) -> Profile:
    """The profile of that name, of that id of a model, or of a name of an earlier version.

    ``:thinking`` and ``:no-thinking`` behind it switch that, where the family can be switched.

    Raises:
        ConfigurationError: None is known, and the message has the nearest names and all of them; or
            the family cannot be switched.
    """
    base, _, switch = name.lower().partition(":")
    base = ALIASES.get(base, base)
    by_model = (profile for profile in PROFILES.values() if base in profile.models)
    profile = PROFILES.get(base) or next(by_model, None)
    if profile is None or (switch and switch not in _SWITCHES):
        raise ConfigurationError(_unknown(name, base))
    return profile.with_thinking(_SWITCHES[switch]) if switch else profile


def _unknown(name: str, base: str) -> str:
    ids = [model for profile in PROFILES.values() for model in profile.models]
    near = difflib.get_close_matches(base, [*PROFILES, *ALIASES, *ids], n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near and base not in near else ""
    known = ", ".join([*ALIASES, *PROFILES])
    return (
        f"unknown profile {name!r}; {hint}known: {known}, with :thinking or :no-thinking behind it"
    )
