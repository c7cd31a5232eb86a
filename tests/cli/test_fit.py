"""``ling-agent fit``: tables, JSON, exit codes, one-line errors, the marketplace."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ling_agent.cli.main import main
from tests.examples.marketplace_search.test_marketplace_clore import KEY, Api, api

__all__ = ["api"]  # a fixture: the loopback stand-in for the marketplace


@pytest.fixture(autouse=True)
def no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without nvidia-smi and without an account, whatever the machine has."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CLORE_API_KEY", "CLORE_API_URL"):
        monkeypatch.delenv(name, raising=False)


def asked(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    code = main(["fit", *line.split()])
    out, err = capsys.readouterr()
    return code, out, err


def parsed(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    code, out, _ = asked(capsys, f"{line} --json")
    return {**json.loads(out), "code": code}


def test_every_format_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(
        capsys,
        "--model ling-2.6-flash --gpu rtx-4090 --ram 64 --context 262144 --concurrency 4",
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "Ling-2.6-flash on RTX 4090, 64 GB of system memory: "
        "a window of 262,144 tokens, 4 sequences"
    )
    rows = {line.split("  ")[0]: line for line in lines if "  " in line}
    assert "does not fit" in rows["BF16"]
    assert "does not fit" in rows["INT4"]
    assert "fits with experts in system memory" in rows["IQ4_NL GGUF"]
    assert "an upper bound" in out
    assert "need a fork's build" in out
    assert "No released server runs this model in a format that fits." in out


def test_json_has_the_sizes_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(capsys, "--model ling-2.6-flash --gpu h100 --gpus 2 --quant fp8")
    [plan] = found["formats"]
    assert found["code"] == 0
    assert found["machine"] == "2 x H100 SXM"
    assert plan["verdict"] == "fits"
    assert plan["kv_cache"] == 32768 * 4608
    assert plan["linear_state"] == 56 * 2**20
    assert plan["largest_context"] == 262_144
    assert list(found["commands"]) == ["vllm", "sglang"]
    assert found["commands"]["vllm"].startswith("vllm serve inclusionAI/Ling-2.6-flash-fp8 ")
    assert "--tensor-parallel-size 2" in found["commands"]["vllm"]
    assert "inclusionAI/Ling-2.6-flash-fp8" in found["commands"]["sglang"]


@pytest.mark.parametrize("quant", ["int4", "fp8", "bf16"])
def test_what_does_not_fit_is_exit_code_1(capsys: pytest.CaptureFixture[str], quant: str) -> None:
    code, out, err = asked(capsys, f"--model ling-2.6-flash --gpu rtx-4090 --quant {quant}")
    assert (code, err) == (1, "")
    assert "does not fit" in out


def test_the_command_is_for_the_largest_format_that_fits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = parsed(capsys, "--model ling-mini-2.0 --gpu rtx-4090")
    verdicts = {plan["format"]: plan["verdict"] for plan in found["formats"]}
    assert verdicts["bf16"] == "does not fit"
    assert verdicts["q8_0"] == "fits"
    assert "Q8_0" in found["commands"]["llama.cpp"]
    exact = parsed(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --quant q4_k_m")
    assert exact["embedded"] == "ling-agent chat --backend llamacpp:ling-mini-2.0"


def test_an_odd_number_of_cards_gets_a_command_that_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = parsed(capsys, "--model ling-3.0-flash --gpu rtx-4090 --gpus 5")
    assert [plan["verdict"] for plan in found["formats"]][2:] == ["fits", "fits"]
    assert "llama.cpp" in found["commands"]  # 32 heads do not divide among 5 cards


def test_this_machine_without_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    found = parsed(capsys, "--model qwen2.5-coder-0.5b --ram 16")
    assert found["machine"] == "CPU"
    assert found["ram"] == 16 * 10**9
    verdicts = {plan["format"]: plan["verdict"] for plan in found["formats"]}
    assert verdicts == {"bf16": "does not run there", "q4_k_m": "fits"}


def test_a_type_of_cache_leaves_the_formats_that_have_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = parsed(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --kv-type q8_0")
    assert {plan["format"] for plan in found["formats"]} == {"q8_0", "q4_k_m", "q4_0"}


def write_model(path: Path) -> None:
    """A model file of a mixture with two layers, whose tensors are zeros."""
    writer = gguf.GGUFWriter(str(path), "bailingmoe2")
    writer.add_block_count(2)
    writer.add_context_length(8192)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    writer.add_expert_feed_forward_length(32)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (100, 64),
        "output.weight": (100, 64),
    }
    for layer in range(2):
        shapes[f"blk.{layer}.attn_q.weight"] = (64, 64)
        shapes[f"blk.{layer}.ffn_up_exps.weight"] = (4, 32, 64)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small model.gguf"
    write_model(path)
    return path


def test_a_file_is_computed_from_its_tensors(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--model", str(model), "--ram", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [plan] = found["formats"]
    experts = 2 * 4 * 32 * 64 * 4
    rows = 100 * 64 * 4
    assert plan["weights"] == 2 * rows + 2 * 64 * 64 * 4 + experts
    assert plan["kv_cache"] == 8192 * 2 * 2 * (16 + 16) * 2
    assert found["resident"]["mapped"] == plan["weights"]
    assert found["context"] == 8192
    assert f"'{model}'" in found["commands"]["llama.cpp"]
    assert found["embedded"] == f"ling-agent chat --backend 'llamacpp:{model}'"


def test_a_file_on_a_card(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model", str(model), "--gpu", "l4"]) == 0
    out = capsys.readouterr().out
    assert "--n-gpu-layers 999" in out
    assert "mapped from the file" not in out  # that is for the processor


def test_a_file_in_a_processor_shows_its_parts(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--model", str(model), "--ram", "8"]) == 0
    out = capsys.readouterr().out
    assert "mapped from the file" in out
    assert "MiB  resident" in out


@pytest.mark.parametrize("size", [0, 3, 40, 400, -1])
def test_a_file_cut_short_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    whole = model.stat().st_size
    os.truncate(model, size if size >= 0 else whole - 1000)
    assert main(["fit", "--model", str(model)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("ling-agent: error: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--model ling-2.6-flsh", "unknown model 'ling-2.6-flsh'. Did you mean ling-2.6-flash"),
        ("--model ling-mini-2.0 --gpu 4095", "unknown GPU '4095'. Did you mean rtx-4090"),
        ("--model ling-mini-2.0 --gpu 4090 --gpus 0", "--gpus 0 makes no machine"),
        ("--model ling-mini-2.0 --gpus 2", "--gpus needs --gpu"),
        ("--model qwen3-8b --gpu 4090 --quant nvfp4", "NVFP4 needs compute capability 10"),
        ("--model ling-2.6-flash --gpu b200 --quant nvfp4", "is not known in 'nvfp4'"),
        ("--model ling-2.6-flash --gpu h100 --context 262145", "is beyond what Ling-2.6-flash has"),
        ("--model qwen3-8b --gpu h100 --concurrency 0", "0 sequences at once cannot be"),
        ("--model qwen3-8b --gpu h100 --kv-type q3", "has no cache of type 'q3'"),
        ("--model qwen3-8b --gpu h100 --ram 0", "--ram 0 is no size"),
        ("--model nowhere.gguf", "no model file at nowhere.gguf"),
        ("--model qwen3-8b --quant bf16 --ram 64", "BF16 needs a graphics card"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    code, out, err = asked(capsys, line)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


@pytest.fixture
def market(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("CLORE_API_KEY", KEY)
    monkeypatch.setenv("CLORE_API_URL", api.url)
    return api


def test_the_cheapest_offer(market: Api, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--model ling-mini-2.0 --gpu rtx-4090 --quant q4_k_m --market"
    code, out, err = asked(capsys, line)
    assert (code, err) == (0, "")
    assert "Cheapest offer: " in out
    found = parsed(capsys, line)["market"]
    assert found["gpu"].endswith("RTX 4090")
    assert found["verdict"] == "fits"
    assert [request[0] for request in market.asked] == ["/v1/marketplace"] * 2
    free = [
        server
        for server in market.answers["/v1/marketplace"]["servers"]
        if not server["rented"] and "RTX 4090" in server["specs"]["gpu"]
    ]
    cheapest = min(server["price"]["usd"]["on_demand_usd"] for server in free)
    assert found["usd_per_hour"] == pytest.approx(cheapest / 24, abs=1e-4)


def test_no_offer_is_told(market: Api, capsys: pytest.CaptureFixture[str]) -> None:
    market.answers["/v1/marketplace"] = {"code": 0, "servers": [], "my_servers": []}
    code, out, err = asked(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --market")
    assert (code, err) == (0, "")
    assert "No offer is free on which it fits." in out


def test_a_market_that_fails_is_one_line_and_the_plan_stands(
    market: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    market.answers["/v1/marketplace"] = {"code": 3, "message": "invalid token"}
    code, out, err = asked(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --market")
    assert code == 2
    assert "Q4_K_M GGUF" in out
    assert err == (
        "ling-agent: error: --market: The marketplace could not be read: invalid token\n"
    )
    found = parsed(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --market")
    assert found["market"] is None
    assert "invalid token" in found["market_error"]
    assert found["formats"]


def test_without_a_key_the_plan_stands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(capsys, "--model ling-mini-2.0 --gpu rtx-4090 --market")
    assert code == 2
    assert "Q4_K_M GGUF" in out
    assert err == (
        "ling-agent: error: --market: set CLORE_API_KEY to the key of your Clore.ai account\n"
    )


def test_a_model_in_parts_is_added_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes: list[int] = []
    for number in (1, 2):
        part = tmp_path / f"model-{number:05}-of-00002.gguf"
        write_model(part)
        assert main(["fit", "--model", str(part), "--ram", "8", "--json"]) == (number % 2) * 2
        out = capsys.readouterr().out
        sizes += [json.loads(out)["formats"][0]["weights"]] if out else []
    part.rename(tmp_path / "alone.gguf")
    assert main(["fit", "--model", str(tmp_path / "alone.gguf"), "--ram", "8", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["formats"][0]["weights"]
    assert sizes == [2 * alone]


def test_a_copy_of_a_file_elsewhere_gives_the_same(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of a file says nothing: its header does."""
    copy = tmp_path / "no-suffix"
    shutil.copyfile(model, copy)
    answers: list[Any] = []
    for path in (model, copy):
        assert main(["fit", "--model", str(path), "--ram", "8", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["resident"])
    assert answers[0] == answers[1]
