"""Which model a served name means, in which format, and how fast a card lets it be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ling_agent import facts
from ling_agent.doctor.advice import DoctorKind
from ling_agent.doctor.known import (
    Cards,
    file_bound,
    known_format,
    known_model,
    served_bound,
    yarn_advice,
)
from tests.backends.embedded.test_fit import header_of, ling

FLASH = facts.model("ling-2.6-flash")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("inclusionAI/Ling-2.6-flash", "ling-2.6-flash"),
        ("inclusionAI/Ling-2.6-flash-fp8", "ling-2.6-flash"),
        ("/models/Ling-2.6-flash-int4/", "ling-2.6-flash"),
        ("Qwen2.5-Coder-0.5B-Instruct-GPTQ-Int4", "qwen2.5-coder-0.5b"),
        ("qwen3:8b", "qwen3-8b"),
        ("ling-mini-2.0", "ling-mini-2.0"),
        ("ling-2.6", None),
        ("linguist-7b", None),
        ("m", None),
        ("", None),
    ],
)
def test_a_served_name_means_a_model_or_none(name: str, model: str | None) -> None:
    found = known_model(name)
    assert (found.id if found else None) == model


def test_the_first_name_that_is_known_counts() -> None:
    found = known_model("my-model", "/weights/ling-flash-2.0")
    assert found is facts.model("ling-flash-2.0")


@pytest.mark.parametrize(
    ("name", "quantization", "form"),
    [
        ("Ling-2.6-flash", "", "bf16"),
        ("Ling-2.6-flash-fp8", "", "fp8"),
        ("Ling-2.6-flash", "fp8", "fp8"),
        ("Ling-2.6-flash-int4", "compressed-tensors", "int4"),
        ("Ling-2.6-flash-AWQ", "", "int4"),
        ("Ling-2.6-flash", "modelopt_fp4", None),
    ],
)
def test_its_format_is_told_by_the_name_or_by_the_server(
    name: str, quantization: str, form: str | None
) -> None:
    found = known_format(FLASH, [name], quantization, default="bf16")
    assert (found.id if found else None) == form


def test_the_format_of_a_gguf_is_told_by_its_name_alone() -> None:
    mini = facts.model("ling-mini-2.0")
    path = "/models/Ling-mini-2.0-Q4_K_M.gguf"
    assert known_model("served", path) is mini
    assert known_format(mini, ["served", path]) is mini.formats["q4_k_m"]
    assert known_format(mini, ["ling-mini-2.0"]) is None


def test_a_bound_is_bandwidth_over_what_is_read_for_a_token() -> None:
    card = facts.gpu("h200")
    one = served_bound(FLASH, FLASH.formats["fp8"], Cards(card))
    read = FLASH.active_parameters - FLASH.shape.embedding
    assert one.tokens_per_second == pytest.approx(card.bandwidth / read)
    two = served_bound(FLASH, FLASH.formats["bf16"], Cards(card, 2))
    assert two.tokens_per_second == pytest.approx(one.tokens_per_second)
    assert one.told(one.tokens_per_second / 4).endswith("this is 25% of it")


def test_of_a_file_the_experts_that_a_token_uses_are_read() -> None:
    card = facts.gpu("rtx-4090")
    dense = header_of({"blk.0.ffn_up.weight": 700, "output.weight": 300}, block_count=1)
    assert file_bound(dense, Cards(card)).tokens_per_second == card.bandwidth / 1000
    sparse = header_of(
        {"blk.0.attn_q.weight": 500, "blk.0.ffn_up_exps.weight": 4000, "output.weight": 300},
        block_count=1,
        expert_count=8,
        expert_used_count=2,
    )
    assert file_bound(sparse, Cards(card)).tokens_per_second == card.bandwidth / 1800
    assert file_bound(ling(), Cards(card)).how.startswith(Path("model.gguf").name)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("vllm", '--max-model-len 262144 --hf-overrides \'{"max_position_embeddings": 262144, '),
        ("vllm", '"rope_parameters": {"rope_type": "yarn", "factor": 2.0'),
        ("sglang", "--context-length 262144 --json-model-override-args '{\"max_position_emb"),
        ("sglang", '"rope_scaling": {"rope_type": "yarn", "factor": 2.0'),
        ("llama-server", "--rope-scale 2 --yarn-orig-ctx 131072"),
        ("ollama", "YaRN with factor 2 over 131072"),
    ],
)
def test_the_setting_for_a_longer_window_is_that_of_the_server(kind: DoctorKind, says: str) -> None:
    assert says in yarn_advice(FLASH, kind)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_table_that_the_server_refuses_is_not_given(kind: DoctorKind) -> None:
    """It names no base; `tests/servers` shows what the servers take."""
    said = yarn_advice(facts.model("qwen2.5-7b"), kind)
    assert said == "YaRN with factor 4 over 32768, or a window of at most 32768"


def test_without_a_published_setting_none_is_made_up() -> None:
    assert yarn_advice(facts.model("hermes-3-8b"), "vllm") == ""
