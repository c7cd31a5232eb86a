"""A model's family, by its name and by the metadata of its file."""

from __future__ import annotations

import pytest

from ling_agent.profiles import (
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
    Profile,
    name_words,
    profile_for_gguf,
    profile_for_name,
)

from ..hermes.support import DATA

NAMES: list[tuple[Profile, list[str]]] = [
    (LING1, ["inclusionAI/Ling-lite", "Ling-lite-1.5", "ling_plus", "Ling-Coder-lite"]),
    (LING2, ["ling-mini-2.0", "Ling_mini_2.0", "inclusionAI/Ling-1T", "ling:latest", "Ling-V2"]),
    (LING25, ["inclusionAI/Ling-2.5-1T", "ling2.5"]),
    (LING26, ["ling-2.6-flash", "inclusionAI/Ling-2.6-flash-fp8", "ling_2_6_flash", "Ling-2.6-1T"]),
    (LING3, ["Ling-3.0-flash", "inclusionAI/Ling-3.0-tiny", "ling3", "ling-3.0-flash-fp4"]),
    (RING25, ["inclusionAI/Ring-2.5-1T"]),
    (RING26, ["ring-2.6-1t"]),
    (CHATML, ["qwen2.5-coder-0.5b", "Qwen/Qwen2.5-7B-Instruct", "qwen"]),
    (QWEN3, ["Qwen/Qwen3-8B", "qwen3:4b", "Qwen3-30B-A3B-Instruct-2507"]),
    (HERMES2, ["NousResearch/Hermes-2-Pro-Llama-3-8B", "Nous-Hermes-2-Mixtral"]),
    (HERMES3, ["NousResearch/Hermes-3-Llama-3.1-8B", "hermes3:8b"]),
    (PLAIN, ["starling-7b", "lingua", "smollm2-135m", "Llama-3.1-8B-Instruct", "spring-7b"]),
    (PLAIN, ["Hermes-4-70B", "Qwen3-Coder-30B-A3B", "Qwen/Qwen3.5-4B", "OpenHermes-2.5"]),
    (PLAIN, ["DeepSeek-R1-Distill-Qwen-7B", "ring", ""]),
]


@pytest.mark.parametrize(
    ("profile", "name"),
    [(profile, name) for profile, names in NAMES for name in names],
    ids=lambda value: value.name if isinstance(value, Profile) else value,
)
def test_by_name(profile: Profile, name: str) -> None:
    assert profile_for_name(name) is profile
    assert profile_for_name(name.upper()) is profile


def test_every_name_counts_and_of_a_path_its_end() -> None:
    assert profile_for_name("served", "/models/inclusionAI/Ling-flash-2.0/") is LING2
    assert profile_for_name("m", "/home/ling/qwen") is CHATML
    assert profile_for_name("m", "/home/ling/other") is PLAIN
    assert profile_for_name() is PLAIN


def test_ring_2_is_read_as_one_that_thinks() -> None:
    ring = profile_for_name("inclusionAI/Ring-mini-2.0")
    assert ring.template == LING2.template
    assert ring.thinks


def test_words() -> None:
    assert name_words("org/Ling-2.6-flash", "/a/b_c:latest") == {
        *("org", "ling", "2.6", "flash", "b", "c", "latest")
    }


def gguf(architecture: str = "", template: str = "", name: str = "") -> dict[str, str]:
    texts = {
        "general.architecture": architecture,
        "tokenizer.chat_template": template,
        "general.name": name,
    }
    return {key: text for key, text in texts.items() if text}


LING2_MARKS = "'<role>ASSISTANT</role>' '<|role_end|>'"


@pytest.mark.parametrize(
    ("profile", "metadata"),
    [
        (LING1, gguf("bailingmoe", "'<role>ASSISTANT</role>' 'HUMAN'")),
        (LING1, gguf("bailingmoe", name="Ling lite")),
        (LING2, gguf("bailingmoe2", LING2_MARKS, "Ling Mini 2.0")),
        (LING2, gguf("bailingmoe2")),
        (LING25, gguf("bailing_hybrid", LING2_MARKS, "Ling 2.5 1T")),
        (LING26, gguf("bailing_hybrid", LING2_MARKS, "Ling-2.6-flash")),
        (LING26, gguf("other", f"{LING2_MARKS} 'detailed thinking on'")),
        (LING3, gguf("bailingmoe3")),
        (LING3, gguf("bailingmoe3", name="Ling")),
        (RING26, gguf("bailing_hybrid", f"{LING2_MARKS} <arg_key>", "Ring 2.6 1T")),
        (CHATML, gguf("qwen2", name="Qwen2.5 Coder 0.5B Instruct AWQ")),
        (QWEN3, gguf("qwen3", name="Anything")),
        (QWEN3, gguf("qwen3moe")),
        (PLAIN, gguf("qwen3moe", "<function=")),
        (HERMES2, gguf("llama", "You are a function calling AI model", "Hermes 2 Pro")),
        (HERMES3, gguf("llama", "You are a function calling AI model")),
        (HERMES3, gguf("llama", "<|im_start|>", "Hermes 3 Llama 3.1 8B")),
        (PLAIN, gguf("llama", "<|im_start|>", "Smollm2 135M 8k Lc100K Mix1 Ep2")),
        (PLAIN, gguf("llama", "<|im_start|>", "Ling")),
        (PLAIN, {}),
    ],
)
def test_by_file(profile: Profile, metadata: dict[str, str]) -> None:
    assert profile_for_gguf(metadata) is profile


@pytest.mark.parametrize(
    ("profile", "file"),
    [
        (CHATML, "qwen2.5_chat_template.jinja"),
        (LING3, "ling3_chat_template.jinja"),
        (HERMES3, "hermes_tool_use_template.jinja"),
        (PLAIN, "chatml_template.jinja"),
    ],
)
def test_by_the_official_template_alone(profile: Profile, file: str) -> None:
    template = (DATA / file).read_text(encoding="utf-8")
    assert profile_for_gguf({"tokenizer.chat_template": template}) is profile
