"""Each number has a source, sizes follow from shapes, names are found in any spelling."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, get_args

import pytest

from ling_agent import ConfigurationError, facts
from ling_agent.facts.reading import data

NUMBERS = (int, float)


def entries() -> list[tuple[str, dict[str, Any]]]:
    found = [("memory", data()["memory"])]
    for table in ("model", "format", "gpu"):
        found += [(f"{table} {name}", row) for name, row in data()[table].items()]
    return found


def has_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, dict | list):
        nested: list[Any] = list(value.values() if isinstance(value, dict) else value)  # pyright: ignore
        return any(map(has_number, nested))
    return isinstance(value, NUMBERS)


@pytest.mark.parametrize(("name", "row"), entries(), ids=[name for name, _ in entries()])
def test_every_number_has_a_source(name: str, row: dict[str, Any]) -> None:
    named = [field for fields in row["sources"].values() for field in fields]
    assert len(named) == len(set(named)), "two sources for one field"
    numbers = {field for field, value in row.items() if field != "sources" and has_number(value)}
    if name.startswith("format") and row["capability"] == 0:
        numbers.discard("capability")  # no demand, no source
    assert numbers <= set(named)
    assert set(named) <= set(row)
    assert set(row["sources"]) <= set(facts.sources())


def test_a_number_without_a_source_would_be_found() -> None:
    assert has_number({"a": [1.0]})
    assert not has_number({"a": ["x", True]})


def test_sources_say_how_and_where() -> None:
    used = {source for _, row in entries() for source in row["sources"]}
    used |= {row["source"] for family in data()["serving"].values() for row in family.values()}
    used |= {claim.source for claim in facts.claims()}
    for source in facts.sources().values():
        assert source.how in get_args(facts.How)
        assert source.title
        assert source.id in used, f"{source.id} is used by nothing"
        if source.how != "read":
            continue
        assert source.url or source.id in ("nvidia-smi", "vendor-guides", "gguf-files")


@pytest.mark.parametrize("model", facts.models().values(), ids=lambda model: model.id)
def test_what_the_publisher_states_follows_from_the_shape(model: facts.ModelFacts) -> None:
    stated = round(model.stated["parameters"] * 1e9)
    tolerance = 1e-9 if stated % 10**6 else 0.03  # to the last parameter, or rounded
    assert model.parameters == pytest.approx(stated, rel=tolerance)
    if "active" in model.stated:
        assert model.active_parameters / 1e9 == pytest.approx(model.stated["active"], rel=0.07)
    if "active_without_input" in model.stated:
        active = model.active_parameters - model.shape.embedding
        assert active / 1e9 == pytest.approx(model.stated["active_without_input"], rel=0.01)


def test_the_sizes_of_ling_26_flash() -> None:
    flash = facts.model("ling-2.6-flash")
    assert round(flash.parameters / 1e9, 2) == 104.19
    assert round(flash.active_parameters / 1e9, 3) == 7.449
    assert flash.kv_bytes_per_token == 4608
    assert flash.kv_bytes_per_token * 32 * 1024 == 144 * 2**20
    assert flash.kv_bytes_per_token * 256 * 1024 == 1.125 * 2**30
    assert flash.state_bytes == 56 * 2**20
    sizes = {key: (f.weight_low / 1e9, f.weight_high / 1e9) for key, f in flash.formats.items()}
    assert sizes["bf16"] == (pytest.approx(208.4, abs=0.05), pytest.approx(208.4, abs=0.05))
    assert sizes["fp8"] == (pytest.approx(104, abs=0.3), pytest.approx(108, abs=0.3))
    assert sizes["int4"] == (pytest.approx(52, abs=0.3), pytest.approx(63, abs=0.3))
    assert sizes["iq2_xs"][1] == pytest.approx(30, abs=0.3)


@pytest.mark.parametrize(
    ("spelling", "gpu"),
    [
        ("rtx-4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("Tesla T4", "t4"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000"),
    ],
)
def test_a_card_is_found_in_any_spelling(spelling: str, gpu: str) -> None:
    assert facts.gpu(spelling).id == gpu


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("ling-2.6-flash", "ling-2.6-flash"),
        ("Ling-2.6-flash", "ling-2.6-flash"),
        ("inclusionAI/Ling-2.6-flash", "ling-2.6-flash"),
        ("qwen2.5-coder-7b", "qwen2.5-7b"),
    ],
)
def test_a_model_is_found_in_any_spelling(spelling: str, model: str) -> None:
    assert facts.model(spelling).id == model


def test_no_two_entries_share_a_name() -> None:
    for kind in (facts.models(), facts.gpus()):
        names = [
            re.sub(r"[^a-z0-9.]", "", name.lower())
            for entry in kind.values()
            for name in {entry.id, *entry.aliases}
        ]
        assert len(names) == len(set(names))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown model 'ling-2.6-flsh'.*ling-2.6-flash"):
        facts.model("ling-2.6-flsh")
    with pytest.raises(ConfigurationError, match=r"unknown GPU 'rtx 4095'.*rtx-4090"):
        facts.gpu("rtx 4095")
    with pytest.raises(ConfigurationError, match=r"unknown GPU ''\. Known: "):
        facts.gpu("")


def test_servers_and_formats_belong_together() -> None:
    for model in facts.models().values():
        assert set(model.servers) == {"vllm", "sglang", "llama.cpp", "ollama"}
        assert model.formats
        for found in model.formats.values():
            assert set(found.servers) <= set(model.servers)
            assert 0 < found.weight_low <= found.weight_high == found.weight_bytes
            assert found.is_gguf == ("llama.cpp" in found.servers)
        assert model.native_context <= model.max_context
        assert (model.yarn_factor == 1.0) == (model.native_context == model.max_context)


def test_ling_25_and_26_are_not_in_mainline_llama_cpp() -> None:
    supported = {
        name: model.servers["llama.cpp"].supported for name, model in facts.models().items()
    }
    assert {name for name, runs in supported.items() if not runs} == {
        "ling-2.5-1t",
        "ring-2.5-1t",
        "ling-2.6-flash",
        "ling-2.6-1t",
        "ring-2.6-1t",
    }


def test_importing_the_package_reads_no_facts() -> None:
    code = (
        "import sys, ling_agent, ling_agent.cli.main\n"
        "print([name for name in sys.modules if name.startswith(("
        "'ling_agent.facts', 'ling_agent.fit', 'ling_agent.market'))])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "[]"
