"""What is chosen for a wish, and what is said when nothing does."""

from __future__ import annotations

import re

import pytest

from ling_agent import facts, recipes
from ling_agent.errors import ConfigurationError

from .support import made_for


@pytest.mark.parametrize(
    ("gpu", "gpus", "format_"),
    [("h100", 4, "bf16"), ("h100", 2, "fp8"), ("h100", 1, "int4"), ("h200", 2, "bf16")],
)
def test_the_largest_format_that_fits(gpu: str, gpus: int, format_: str) -> None:
    assert made_for("vllm", gpu=gpu, gpus=gpus).launch.format == format_


def test_names_may_be_spelt_as_people_do() -> None:
    made = made_for("llama-server", "Ling-mini-2.0", gpu="NVIDIA GeForce RTX 4090", quant="Q4_K_M")
    assert (made.server, made.launch.model.id) == ("llama.cpp", "ling-mini-2.0")
    assert made.gpu is not None
    assert (made.gpu.id, made.launch.format) == ("rtx-4090", "q4_k_m")


def test_whole_on_the_card_before_larger_and_beside_it() -> None:
    made = made_for("llama.cpp", "qwen3-30b-a3b", gpu="rtx-4090")
    assert (made.launch.format, made.launch.cpu_experts) == ("q4_k_m", 0)


def test_experts_go_to_system_memory_where_the_card_is_full() -> None:
    made = made_for("llama.cpp", "ling-flash-2.0", quant="q4_k_m", gpu="rtx-4090")
    layers = facts.model("ling-flash-2.0").layers
    assert 0 < made.launch.cpu_experts <= layers


def test_there_has_to_be_enough_of_it() -> None:
    with pytest.raises(ConfigurationError, match="does not fit 1 × RTX 4090"):
        made_for("llama.cpp", "ling-flash-2.0", quant="q4_k_m", gpu="rtx-4090", ram=16)


def test_a_window_that_nobody_asked_for_is_made_to_fit() -> None:
    made = made_for("vllm", "qwen2.5-7b", quant="bf16", gpu="l4")
    assert recipes.make(made_wish(made)).launch == made.launch
    native = facts.model("qwen2.5-7b").native_context
    assert made.launch.context <= native


def made_wish(made: recipes.Recipe) -> recipes.Wish:
    """The wish of a recipe with everything given."""
    launch = made.launch
    gpu = None if made.gpu is None else made.gpu.id
    return recipes.Wish(
        made.server,
        launch.model.id,
        quant=launch.format,
        gpu=gpu,
        gpus=launch.gpus,
        context=launch.context,
        concurrency=launch.parallel,
        port=launch.port,
    )


def test_the_claims_that_arithmetic_refutes_are_refused() -> None:
    for claim in facts.claims():
        with pytest.raises(ConfigurationError, match=r"does not fit .*; what would: --"):
            made_for("vllm", claim.model, quant=claim.format, gpu=claim.gpu, gpus=claim.gpus)


def test_what_would_fit_does() -> None:
    with pytest.raises(ConfigurationError) as caught:
        made_for("vllm", quant="fp8", gpu="h100")
    ways = str(caught.value).partition("what would: ")[2].split(" or ")
    assert {"--quant int4", "--gpus 2", "--gpu h200 --gpus 1"} <= set(ways)
    assert made_for("vllm", quant="int4", gpu="h100")
    assert made_for("vllm", quant="fp8", gpu="h100", gpus=2)
    assert made_for("vllm", quant="fp8", gpu="h200")
    assert "--server llama.cpp --model ling-mini-2.0" in ways
    assert made_for("llama.cpp", "ling-mini-2.0", gpu="h100")


@pytest.mark.parametrize(
    ("server", "model", "wish", "message"),
    [
        ("ollama", "ling-2.6-flash", {}, "Ollama does not run Ling-2.6-flash (no Ling"),
        ("ollama", "ling-2.6-flash", {}, "--server vllm or --server sglang"),
        ("llama.cpp", "ling-2.6-flash", {}, "llama-server does not run Ling-2.6-flash (not in"),
        ("llama.cpp", "ling-2.6-flash", {}, "--model ling-mini-2.0"),
        ("embedded", "ling-2.6-1t", {}, "the embedded engine does not run Ling-2.6-1T"),
        ("vlm", "ling-2.6-flash", {}, "unknown server 'vlm'. Did you mean vllm?"),
        ("vllm", "ling-2.6-flsh", {}, "ling-2.6-flash"),
        ("vllm", "ling-2.6-flash", {"gpu": "rtx-4091"}, "rtx-4090"),
        ("vllm", "ling-2.6-flash", {"quant": "iq4_nl"}, "vLLM does not load iq4_nl"),
        ("vllm", "ling-2.6-flash", {"quant": "int5"}, "Did you mean int4?"),
        ("llama.cpp", "ling-mini-2.0", {"quant": "bf16"}, "--quant q4_k_m"),
        ("llama.cpp", "ling-mini-2.0", {"quant": "bf16"}, "--server vllm"),
        ("embedded", "ling-mini-2.0", {"port": 8000}, "--port 8000"),
        ("embedded", "ling-mini-2.0", {"context": 65_536}, "--context 32768"),
        ("ollama", "qwen3-8b", {"context": 65_536}, "--context 32768"),
    ],
)
def test_what_cannot_be_is_told(
    server: str, model: str, wish: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        made_for(server, model, **wish)
    assert "\n" not in str(caught.value)


def test_without_cards_nothing_is_said_about_memory() -> None:
    made = made_for("vllm")
    assert made.gpu is None
    assert "Whether it fits was not computed: name the cards with --gpu." in made.notes
    assert made.launch.format == "bf16"
