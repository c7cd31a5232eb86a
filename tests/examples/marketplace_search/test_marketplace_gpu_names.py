"""Every spelling of a GPU means the same model, and neighbours are not confused."""

from __future__ import annotations

import pytest

from examples.marketplace_search.gpu_names import find_gpu, gpu_key, is_any, short_name, split_count
from ling_agent import ToolError

KNOWN = ["RTX 4090", "RTX 4070", "RTX 4070 Ti", "RTX A6000", "A100", "H100", "L40S", "MI300X"]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("RTX-4090", "RTX 4090"),
        ("RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("geforce 4090 24GB", "RTX 4090"),
        ("RTX 4090s", "RTX 4090"),
        ("RTX 4090 GPUs", "RTX 4090"),
        ("4070ti", "RTX 4070 Ti"),
        ("RTX 4070 Ti", "RTX 4070 Ti"),
        ("4070", "RTX 4070"),
        ("A6000", "RTX A6000"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("a100 80 GB pcie", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("l40s", "L40S"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_spellings(text: str, model: str) -> None:
    assert find_gpu(text, KNOWN) == model


def test_an_unknown_model_names_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(ToolError) as caught:
        find_gpu("RTX 9090", KNOWN)
    message = str(caught.value)
    assert "no GPU model 'RTX 9090'" in message
    assert "Did you mean RTX 4090" in message
    assert "RTX A6000" in message


@pytest.mark.parametrize("text", ["RTX 409", "40900", "L40", "toaster"])
def test_a_part_of_a_name_is_not_the_name(text: str) -> None:
    with pytest.raises(ToolError):
        find_gpu(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("2x NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090", 2),
        ("8 x H100", "H100", 8),
        ("4xA100", "A100", 4),
        ("RTX 3090 x2", "RTX 3090", 2),
        ("RTX 3090", "RTX 3090", None),
        ("4090", "4090", None),
    ],
)
def test_counts(text: str, name: str, count: int | None) -> None:
    assert split_count(text) == (name, count)


def test_short_names_and_keys() -> None:
    assert short_name("1x NVIDIA GeForce RTX 4090") == "RTX 4090"
    assert short_name("Tesla V100-SXM2-32GB") == "V100"
    assert gpu_key("RTX 6000 Ada Generation") == "6000ada"
    assert gpu_key("RTX 4070 Ti SUPER") != gpu_key("RTX 4070 Ti")


@pytest.mark.parametrize("text", [None, "", "any", " Any ", "all"])
def test_any(text: str | None) -> None:
    assert is_any(text)


def test_a_model_is_not_any() -> None:
    assert not is_any("4090")
