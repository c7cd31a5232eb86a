"""The families: one profile each. What is not public is left out, never guessed.

Windows are those of the models in `ling_agent.facts`; a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .profile import Profile, SamplingAdvice, Thinking

_LING_STOP = ("<|role_end|>", "<|endoftext|>")
_CHATML_STOP = ("<|im_end|>", "<|endoftext|>")

# Ling-V2's README (chat) and the vendor's guide (calls), see docs/ling.md.
_LING_CHAT = SamplingAdvice(temperature=0.7, top_p=0.8, repetition_penalty=1.05)
_LING_CALLS = SamplingAdvice(temperature=0.1, repetition_penalty=1.05)

LING1 = Profile(
    "ling-1",
    "ling1",
    ("<|endoftext|>",),
    "",
    thinks=False,
    native_context=65_536,
    max_context=65_536,
    models=("ling-lite",),
    source="read: chat template of inclusionAI/Ling-lite; it knows no tools",
)
"""Ling-lite and Ling-plus: no end token behind a turn, and no tools in the template."""

LING2 = Profile(
    "ling-2.0",
    "ling2",
    _LING_STOP,
    "<|role_end|>",
    thinks=False,
    chat_sampling=_LING_CHAT,
    call_sampling=_LING_CALLS,
    native_context=32_768,
    max_context=131_072,
    yarn_factor=4.0,
    models=("ling-mini-2.0", "ling-flash-2.0", "ling-1t"),
    source="read: tokenizer_config.json of inclusionAI/Ling-V2",
)
"""Ling-mini-2.0, Ling-flash-2.0 and Ling-1T, with thinking off as their template has it."""

_SYSTEM_SWITCH = Thinking("system", None, ("ling2.5", "ling2.5-thinking"))

LING25 = Profile(
    "ling-2.5",
    "ling2.5",
    _LING_STOP,
    "<|role_end|>",
    thinks=False,
    thinking=_SYSTEM_SWITCH,
    chat_sampling=_LING_CHAT,
    call_sampling=_LING_CALLS,
    native_context=262_144,
    max_context=1_048_576,
    yarn_factor=4.0,
    models=("ling-2.5-1t",),
    source="read: ms-swift uses the template of 2.0; SGLang cookbook, Ling-2.6: the switch",
)
"""Ling-2.5-1T."""

LING26 = Profile(
    "ling-2.6",
    "ling2.5",
    _LING_STOP,
    "<|role_end|>",
    thinks=False,
    thinking=_SYSTEM_SWITCH,
    chat_sampling=_LING_CHAT,
    call_sampling=_LING_CALLS,
    native_context=131_072,
    max_context=262_144,
    yarn_factor=2.0,
    models=("ling-2.6-flash", "ling-2.6-1t"),
    source="read: ms-swift uses the template of 2.0; SGLang cookbook, Ling-2.6: the switch",
)
"""Ling-2.6-flash and Ling-2.6-1T."""

RING25 = Profile(
    "ring-2.5",
    "ling2.5-thinking",
    _LING_STOP,
    "<|role_end|>",
    thinking=Thinking("always"),
    native_context=131_072,
    max_context=262_144,
    yarn_factor=2.0,
    models=("ring-2.5-1t",),
    source="inferred: the template of Ling 2.5 with thinking on; its own is not public",
)
"""Ring-2.5-1T. Its calls are JSON (SGLang's cookbook reads them with the parser ``qwen``)."""

RING26 = Profile(
    "ring-2.6",
    "ling3-thinking",
    _LING_STOP,
    "<|role_end|>",
    dialect="arg_key",
    thinking=Thinking("always"),
    native_context=131_072,
    max_context=262_144,
    yarn_factor=2.0,
    models=("ring-2.6-1t",),
    source="inferred: calls as Ling 3.0 has them (read: SGLang cookbook, Ring-2.6-1T)",
)
"""Ring-2.6-1T."""

# As the vendor's cookbook calls Ling-3.0-flash with thinking on; without it nothing is known.
_LING3_THINKING = SamplingAdvice(temperature=0.6, top_p=0.95)

LING3 = Profile(
    "ling-3.0",
    "ling3",
    _LING_STOP,
    "<|role_end|>",
    dialect="arg_key",
    thinking=Thinking(
        "enable_thinking", False, ("ling3", "ling3-thinking"), (SamplingAdvice(), _LING3_THINKING)
    ),
    native_context=131_072,
    max_context=262_144,
    models=("ling-3.0-flash", "ling-3.0-tiny"),
    source="read: inclusionai-ling-3.0-flash.jinja of llama.cpp",
)
"""Ling-3.0-flash and Ling-3.0-tiny. Thinking is off here, as for every Ling; the template's own
default is on."""

CHATML = Profile(
    "qwen2.5",
    "chatml",
    _CHATML_STOP,
    "<|im_end|>\n",
    # generation_config.json of Qwen2.5-3B and Coder-32B-Instruct; the 0.5B has a penalty of 1.1.
    chat_sampling=SamplingAdvice(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05),
    native_context=32_768,
    max_context=131_072,
    yarn_factor=4.0,
    models=("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "qwen2.5-7b"),
    source="read: chat template in the GGUF of Qwen2.5-Coder-0.5B-Instruct",
)
"""Qwen2.5 and Qwen2.5-Coder; what a backend has that says nothing of its model."""

# Model card, Best Practices.
_QWEN3_INSTANT = SamplingAdvice(temperature=0.7, top_p=0.8, top_k=20, min_p=0.0)
_QWEN3_THINKING = SamplingAdvice(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0)

QWEN3 = Profile(
    "qwen3",
    "qwen3",
    _CHATML_STOP,
    "<|im_end|>\n",
    thinking=Thinking(
        "enable_thinking",
        None,
        ("qwen3-no-thinking", "qwen3"),
        (_QWEN3_INSTANT, _QWEN3_THINKING),
    ),
    chat_sampling=_QWEN3_THINKING,
    native_context=32_768,
    max_context=131_072,
    yarn_factor=4.0,
    models=("qwen3-8b", "qwen3-30b-a3b"),
    source="read: chat template of Qwen/Qwen3-0.6B",
)
"""Qwen3 as first published; it thinks unless it is switched."""

HERMES2 = Profile(
    "hermes-2",
    "hermes",
    _CHATML_STOP,
    "<|im_end|>\n",
    source="read: template ``tool_use`` of NousResearch/Hermes-2-Pro-Llama-3-8B",
)
"""Hermes 2 Pro and Theta. The window is that of the model it was made from."""

HERMES3 = Profile(
    "hermes-3",
    "hermes",
    _CHATML_STOP,
    "<|im_end|>\n",
    native_context=131_072,
    max_context=131_072,
    models=("hermes-3-8b",),
    source="read: template ``tool_use`` of NousResearch/Hermes-3-Llama-3.1-8B",
)
"""Hermes 3 on Llama 3.1."""

PLAIN = Profile(
    "plain",
    "plain",
    _CHATML_STOP,
    "<|im_end|>\n",
    models=("smollm2-135m",),
    source="read: ChatML as vLLM has it; the section for tools is Qwen's",
)
"""Any other model: ChatML without a system text of its own, calls as Hermes has them."""

_ALL = (
    *(LING1, LING2, LING25, LING26, RING25, RING26, LING3),
    *(CHATML, QWEN3, HERMES2, HERMES3, PLAIN),
)
PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _ALL})
"""Every profile by its name."""

ALIASES: Mapping[str, str] = MappingProxyType({"ling2": "ling-2.0", "chatml": "qwen2.5"})
"""Names of earlier versions."""
