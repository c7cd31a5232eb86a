"""The servers' own parsers read every recipe; no server is started for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ling_agent import facts
from scripts.servers.kinds import HERE, KINDS, KindName, clean_environment
from tests.recipes.support import every_recipe, made_for, option, service_of

_VLLM = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
read = []
for words in json.load(sys.stdin):
    parsed = parser.parse_args(words)
    validate_parsed_serve_args(parsed)
    assert parsed.tool_call_parser in ToolParserManager.list_registered(), words
    names = "model_tag tool_call_parser max_model_len tensor_parallel_size hf_overrides"
    read.append({name: getattr(parsed, name) for name in names.split()})
options = sorted(option for action in parser._actions for option in action.option_strings)
print("\\n" + json.dumps([options, read]))
"""

_SGLANG = """
import argparse, json, sys
sys.path.insert(0, sys.argv[1])
import sglang_launch  # what SGLang imports and a machine without a GPU does not have
from sglang.srt.server_args import ServerArgs

parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
read = []
for words in json.load(sys.stdin):
    parsed = parser.parse_args(words)
    names = "model_path tool_call_parser reasoning_parser context_length tp_size api_key"
    read.append({name: getattr(parsed, name) for name in names.split()})
options = sorted(option for action in parser._actions for option in action.option_strings)
print("\\n" + json.dumps([options, read]))
"""

_VLLM_WINDOW = """
import json, sys
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

given = json.load(sys.stdin)
words = [given["folder"], "--skip-tokenizer-init", "--trust-remote-code"]
words += ["--max-model-len", str(given["window"]), "--hf-overrides", given["override"]]
parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
parsed.model = parsed.model_tag
model = AsyncEngineArgs.from_cli_args(parsed).create_model_config()
print("\\n" + json.dumps([model.max_model_len, model.hf_config.rope_parameters]))
"""

_SGLANG_WINDOW = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sglang_launch
from sglang.srt.configs.model_config import ModelConfig

given = json.load(sys.stdin)
model = ModelConfig(
    given["folder"],
    trust_remote_code=True,
    context_length=given["window"],
    model_override_args=given["override"],
)
print("\\n" + json.dumps([model.context_len, model.hf_config.rope_scaling]))
"""

_STAND_IN_CONFIG = {  # the shape of Ling-2.6-flash, as far as it matters for the window
    "architectures": ["BailingMoeV2_5ForCausalLM"],
    "model_type": "bailing_hybrid",
    "auto_map": {"AutoConfig": "configuration_stand_in.StandInConfig"},
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "vocab_size": 157184,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "layer_group_size": 8,
    "max_position_embeddings": 131072,
    "rope_theta": 6000000,
    "partial_rotary_factor": 0.5,
    "torch_dtype": "bfloat16",
}

_LONGER = "max_position_embeddings"

_STAND_IN_CODE = """
from transformers import PretrainedConfig

class StandInConfig(PretrainedConfig):
    model_type = "bailing_hybrid"
"""


def ask(kind: KindName, code: str, given: object, *arguments: str) -> Any:
    """What a program prints last, as JSON, run by the Python of the server's environment."""
    done = subprocess.run(
        [str(KINDS[kind].python), "-W", "ignore", "-c", code, *arguments],
        input=json.dumps(given),
        env=clean_environment() | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def options_in(commands: Sequence[Sequence[str]]) -> set[str]:
    return {word for words in commands for word in words if word.startswith("--")}


def commands_for(kind: KindName) -> list[list[str]]:
    """What follows ``vllm serve``, or SGLang's module, in every recipe; its key included."""
    commands: list[list[str]] = []
    for made in every_recipe().values():
        words = made.command
        if kind == "sglang" and made.server == "sglang":
            commands.append([*words[3:], "--api-key", "a key"])
        elif kind == "vllm" and words[0].rpartition("/")[2] == "vllm":
            commands.append(words[2:])
            if made.server == "vllm":
                commands.append(service_of(made)["command"])
    return commands


def test_its_own_parser_reads_every_recipe(kind: KindName) -> None:
    commands = commands_for(kind)
    assert len(commands) > 20
    code, arguments = (_VLLM, ()) if kind == "vllm" else (_SGLANG, (str(HERE),))

    options, read = ask(kind, code, commands, *arguments)

    # Known as they are written, not as the beginning of a longer name.
    assert options_in(commands) <= set(options)
    for words, parsed in zip(commands, read, strict=True):
        assert parsed["tool_call_parser"] == option(words, "--tool-call-parser")
        if kind == "vllm":
            assert parsed["model_tag"] == words[0]
            assert str(parsed["max_model_len"]) == option(words, "--max-model-len")
        else:
            assert parsed["model_path"] == option(words, "--model-path")
            assert str(parsed["context_length"]) == option(words, "--context-length")
            assert parsed["reasoning_parser"] is None
            assert parsed["api_key"] == "a key"


def test_a_flag_that_it_does_not_know_would_be_seen(kind: KindName) -> None:
    code, arguments = (_VLLM, ()) if kind == "vllm" else (_SGLANG, (str(HERE),))
    wrong = [*commands_for(kind)[0], "--no-such-flag"]
    with pytest.raises(AssertionError, match="no-such-flag"):
        ask(kind, code, [wrong], *arguments)


def test_the_window_of_256k(kind: KindName, tmp_path: Path) -> None:
    """The server takes the override, and needs the part of it that is not published."""
    (tmp_path / "config.json").write_text(json.dumps(_STAND_IN_CONFIG), "utf-8")
    (tmp_path / "configuration_stand_in.py").write_text(_STAND_IN_CODE, "utf-8")
    vllm = kind == "vllm"
    code = _VLLM_WINDOW if vllm else _SGLANG_WINDOW
    name = "--hf-overrides" if vllm else "--json-model-override-args"
    words = made_for(kind, quant="bf16", context=262_144).command
    override = option(words, name) or ""
    given = {"folder": str(tmp_path), "window": 262_144, "override": override}

    window, rope = ask(kind, code, given, str(HERE))

    assert window == 262_144
    published = dict(facts.model("ling-2.6-flash").rope_scaling)
    assert {key: rope[key] for key in published} == published

    rest = {key: value for key, value in json.loads(override).items() if key != _LONGER}
    given["override"] = json.dumps(rest)
    with pytest.raises(AssertionError, match="greater than the derived"):
        ask(kind, code, given, str(HERE))
