"""The command lines: what every server has to be told about a model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ling_agent import facts, recipes
from ling_agent.errors import ConfigurationError

from .support import every_recipe, made_for, option

OPTIONS = Path(__file__).with_name("llama_server_options.txt")


def test_there_is_a_recipe_for_every_model_that_a_server_runs() -> None:
    models = {made.launch.model.id for made in every_recipe().values()}
    assert models == set(facts.models())


def test_vllm_is_told_about_tools_and_the_cache() -> None:
    words = made_for("vllm", quant="fp8").command
    assert words[:3] == ["vllm", "serve", "inclusionAI/Ling-2.6-flash-fp8"]
    assert option(words, "--tool-call-parser") == "hermes"
    assert option(words, "--served-model-name") == "ling-2.6-flash"
    assert {"--trust-remote-code", "--enable-auto-tool-choice"} <= set(words)
    assert "--no-enable-prefix-caching" in words
    assert "--no-enable-prefix-caching" not in made_for("vllm", "qwen3-8b").command


def test_sglang_reads_hermes_calls_with_qwen() -> None:
    words = made_for("sglang", quant="bf16", gpus=4).command
    assert option(words, "--tool-call-parser") == "qwen"
    assert option(words, "--tp-size") == "4"
    assert "--trust-remote-code" in words


@pytest.mark.parametrize("model", ["ring-2.6-1t", "ling-3.0-flash"])
@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_the_other_dialect_has_its_parser(server: str, model: str) -> None:
    assert option(made_for(server, model).command, "--tool-call-parser") == "ling3"


def test_no_command_has_a_reasoning_parser_an_open_port_or_a_key() -> None:
    for name, made in every_recipe().items():
        words = made.command
        assert not {"--reasoning-parser", "--reasoning-format"} & set(words), name
        assert option(words, "--host") in (None, "127.0.0.1"), name
        assert not [word for word in words if "api-key" in word.lower()], name


def test_three_cards_get_layers_each_four_share_them() -> None:
    three = made_for("vllm", quant="int4", gpus=3).command
    assert option(three, "--pipeline-parallel-size") == "3"
    assert "--tensor-parallel-size" not in three
    assert option(made_for("vllm", quant="int4", gpus=4).command, "--tensor-parallel-size") == "4"
    assert option(made_for("sglang", quant="int4", gpus=3).command, "--pp-size") == "3"


def test_the_window_of_256k_needs_yarn() -> None:
    published = dict(facts.model("ling-2.6-flash").rope_scaling)
    assert published["factor"] == 2.0

    for server, name, key in (
        ("vllm", "--hf-overrides", "rope_parameters"),
        ("sglang", "--json-model-override-args", "rope_scaling"),
    ):
        words = made_for(server, quant="bf16", context=262_144).command
        given = json.loads(option(words, name) or "")
        assert given == {"max_position_embeddings": 262_144, key: published}

    for server in ("vllm", "sglang"):
        words = made_for(server, quant="bf16", context=131_072).command
        assert not [word for word in words if "override" in word]


def test_yarn_of_llama_server() -> None:
    words = made_for("llama.cpp", "ling-mini-2.0", quant="q4_k_m", context=131_072).command
    assert option(words, "--rope-scaling") == "yarn"
    assert option(words, "--rope-scale") == "4"
    assert option(words, "--yarn-orig-ctx") == "32768"


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_table_without_its_base_is_not_given(server: str) -> None:
    """It would stand in place of the model's own, and the server would have no base."""
    assert "rope_theta" not in facts.model("qwen3-8b").rope_scaling
    with pytest.raises(ConfigurationError, match=r"is known for .*: --context 32768"):
        made_for(server, "qwen3-8b", quant="bf16", context=131_072)


def test_llama_server_divides_its_context() -> None:
    words = made_for("llama.cpp", "ling-mini-2.0", context=8192, concurrency=4).command
    assert option(words, "--ctx-size") == "32768"
    assert option(words, "--parallel") == "4"


def test_llama_server_takes_a_repository_or_a_file() -> None:
    words = made_for("llama.cpp", "ling-mini-2.0", quant="q4_k_m").command
    assert option(words, "--hf-repo") == "inclusionAI/Ling-mini-2.0-GGUF:Q4_K_M"
    words = made_for("llama.cpp", "ling-mini-2.0", quant="q8_0").command
    assert option(words, "--model") == "Ling-mini-2.0-Q8_0.gguf"


def test_options_of_llama_server_are_documented_ones() -> None:
    known = set(OPTIONS.read_text("utf-8").split("\n"))
    used = {
        word
        for made in every_recipe().values()
        if "llama-server" in made.command[0]
        for word in made.command
        if word.startswith("-")
    }
    assert {"--n-cpu-moe", "--ctx-size", "--yarn-orig-ctx"} <= used
    assert used - known == set()


def test_the_command_alone_equals_the_recipe() -> None:
    line = recipes.command("ling-2.6-flash", server="vllm", format="fp8", gpus=2, context=65_536)
    made = made_for("vllm", quant="fp8", gpus=2, context=65_536)
    assert shlex.split(line) == made.command


def test_the_command_alone_takes_facts_and_what_the_planner_found() -> None:
    line = recipes.command(
        facts.model("ling-flash-2.0"),
        server="llama.cpp",
        format="q4_k_m",
        context=16_384,
        concurrency=2,
        port=8123,
        cpu_experts=20,
    )
    words = shlex.split(line)
    assert option(words, "--n-cpu-moe") == "20"
    assert option(words, "--port") == "8123"
    assert option(words, "--ctx-size") == "32768"


@pytest.mark.parametrize(
    ("server", "format_", "message"),
    [
        ("llama.cpp", "iq4_nl", "llama-server does not run Ling-2.6-flash"),
        ("vllm", "iq4_nl", "vLLM does not load iq4_nl"),
        ("vllm", "int5", "no int5 of Ling-2.6-flash is known"),
    ],
)
def test_the_command_alone_is_refused_where_it_would_not_run(
    server: str, format_: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recipes.command("ling-2.6-flash", server=server, format=format_)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"gpus": -1}, "--gpus -1"),
        ({"context": 0}, "--context 0"),
        ({"concurrency": 0}, "--concurrency 0"),
        ({"port": 70_000}, "--port 70000"),
        ({"port": 0}, "--port 0"),
        ({"context": 300_000}, "at most 262,144 tokens, not 300,000: --context 262144"),
    ],
)
def test_numbers_that_make_no_sense(wish: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        made_for("vllm", "ling-2.6-flash", quant="fp8", **wish)
