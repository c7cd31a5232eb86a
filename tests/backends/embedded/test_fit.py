"""What is chosen fits, what does not fit is answered with what would."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic_ling import Shape, plan
from benchmarks.synthetic_vocabulary import LING_VOCABULARY
from ling_agent import BackendUnavailable, ConfigurationError
from ling_agent.backends.embedded.fit import (
    Context,
    choose_context,
    gpu_context,
    what_fits,
)
from ling_agent.backends.embedded.system_memory import available_memory
from ling_agent.backends.gguf import KV_TYPES, GGUFHeader, TensorInfo

GIB = 1 << 30
ADVICE = re.compile(r"(n_\w+)=(\d+)")
LING_PER_TOKEN = 20 * 4 * (128 + 128) * 2


def header_of(
    tensors: dict[str, int], architecture: str = "qwen2", size: int | None = None, **numbers: int
) -> GGUFHeader:
    """A header that was never on disk: sizes of tensors by name, numbers by key."""
    keys = {f"{architecture}.{key.replace('__', '.')}": value for key, value in numbers.items()}
    return GGUFHeader(
        path=Path("model.gguf"),
        size=sum(tensors.values()) if size is None else size,
        metadata={"general.architecture": architecture, **keys},
        tensors=tuple(TensorInfo(name, (), 0, bytes_) for name, bytes_ in tensors.items()),
    )


def dense(weights: int = 8 * GIB, layers: int = 32, limit: int = 131072) -> GGUFHeader:
    """Half a GiB of embeddings and of output each, the rest in equal layers."""
    each = (weights - GIB) // layers
    tensors = {f"blk.{layer}.attn_q.weight": each for layer in range(layers)}
    return header_of(
        {"token_embd.weight": GIB // 2, "output.weight": GIB // 2, **tensors},
        block_count=layers,
        context_length=limit,
        embedding_length=4096,
        attention__head_count=32,
        attention__head_count_kv=8,
    )


def ling() -> GGUFHeader:
    """Ling-mini-2.0 as Q4_K_M: true shapes, with the types that llama.cpp's quantiser gives them.

    Bits of a weight: q4_K 4.5, q5_K 5.5, q6_K 6.5625, float32 32.
    """
    more = {1, 4, 7, 10, 13, 16, 17, 18, 19}
    tensors: dict[str, int] = {}
    for tensor in plan(Shape(), LING_VOCABULARY):
        layer = int(tensor.name.split(".")[1]) if tensor.name.startswith("blk.") else None
        bits = 4.5 if tensor.kind == "weight" else 32
        if tensor.name == "output.weight" or ("ffn_down" in tensor.name and layer in more):
            bits = 6.5625
        elif "attn_qkv" in tensor.name:
            bits = 5.5
        tensors[tensor.name] = int(tensor.parameters * bits / 8)
    return header_of(
        tensors,
        architecture="bailingmoe2",
        size=9_911_575_072,
        block_count=20,
        context_length=32768,
        embedding_length=2048,
        attention__head_count=16,
        attention__head_count_kv=4,
        attention__key_length=128,
        attention__value_length=128,
    )


def test_the_tensors_of_ling_add_up_to_the_published_file() -> None:
    assert sum(tensor.size for tensor in ling().tensors) == pytest.approx(ling().size, rel=0.002)
    assert ling().kv_bytes_per_token == LING_PER_TOKEN


# -- memory of the system ---------------------------------------------------------------------


def system(
    folder: Path, available: int | None, group: str = "/", **files: str
) -> tuple[Path, Path]:
    """A procfs and a tree of control groups; names of files have ``__`` for a slash."""
    proc, tree = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    tree.mkdir()
    (proc / "self/cgroup").write_text(f"1:name=systemd:/old\n0::{group}\n")
    if available is not None:
        (proc / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {available} kB\n")
    for name, text in files.items():
        path = tree / name.replace("__", "/").replace("memory_", "memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return proc, tree


def test_without_a_limit_the_system_says_what_is_available(tmp_path: Path) -> None:
    unlimited = {"memory_max": "max\n", "memory_current": "7\n"}
    assert available_memory(*system(tmp_path, 5000, **unlimited)) == 5000 * 1024


def test_a_containers_limit_counts_less_what_it_uses_and_can_give_back(tmp_path: Path) -> None:
    limit = {"memory_max": "9000\n", "memory_current": "4000\n"}
    statistics = "anon 1\ninactive_file 300\nactive_file 5\n"
    assert available_memory(*system(tmp_path, 5000, **limit, memory_stat=statistics)) == 5300


def test_the_limit_of_a_group_above_holds_too(tmp_path: Path) -> None:
    files = {
        "a__memory_max": "800\n",
        "a__memory_current": "100\n",
        "a__b__memory_max": "900\n",
        "a__b__memory_current": "0\n",
    }
    assert available_memory(*system(tmp_path, 5000, "/a/b", **files)) == 700


def test_a_group_outside_of_the_containers_tree_is_left_alone(tmp_path: Path) -> None:
    proc, tree = system(tmp_path, 5000, "/../x")
    (tmp_path / "x").mkdir()
    (tmp_path / "x/memory.max").write_text("1")
    (tmp_path / "x/memory.current").write_text("0")
    assert available_memory(proc, tree) == 5000 * 1024


def test_more_used_than_allowed_is_nothing_and_nothing_known_is_none(tmp_path: Path) -> None:
    (tmp_path / "over").mkdir()
    over = {"memory_max": "10", "memory_current": "20"}
    assert available_memory(*system(tmp_path / "over", 5000, **over)) == 0
    assert available_memory(tmp_path / "none", tmp_path / "none") is None


# -- contexts in the system's memory ----------------------------------------------------------


def choose(
    header: GGUFHeader,
    budget: int | None,
    n_ctx: int | None = None,
    n_parallel: int | None = None,
    kv_type: str = "f16",
) -> Context:
    return choose_context(
        header, n_ctx=n_ctx, n_parallel=n_parallel, budget=budget, kv_type=kv_type
    )


def test_what_is_asked_for_is_taken_even_where_it_does_not_fit() -> None:
    assert choose(ling(), GIB, n_ctx=100_000, n_parallel=9) == Context(100_000, 9)
    assert choose(ling(), GIB, n_ctx=1000) == Context(1000, 1)


def test_with_much_memory_the_window_is_the_models_and_four_are_held() -> None:
    assert choose(ling(), 64 * GIB) == Context(32768, 4)
    assert choose(dense(limit=0), 64 * GIB) == Context(4096, 4)


def test_where_memory_is_not_known_the_window_is_capped() -> None:
    assert choose(dense(), None) == Context(32768, 4)
    assert choose(dense(limit=1000), None) == Context(768, 4)
    assert choose(dense(limit=200), None) == Context(200, 4)


def test_a_window_that_is_not_named_fits_into_three_quarters_in_steps_of_256() -> None:
    model, budget = dense(), 12 * GIB
    found = choose(model, budget)
    room = 9 * GIB - model.size
    assert found.n_ctx * model.kv_bytes_per_token <= room
    assert (found.n_ctx + 256) * model.kv_bytes_per_token > room
    assert found.n_ctx % 256 == 0
    assert found.n_parallel == 1


def test_conversations_take_a_quarter_of_the_memory_at_most() -> None:
    model = dense(weights=2 * GIB, limit=32768)
    each = 32768 * model.kv_bytes_per_token
    assert each == 4 * GIB
    assert [choose(model, total * GIB).n_parallel for total in (16, 32, 48, 64)] == [1, 2, 3, 4]
    assert choose(model, 32 * GIB, kv_type="q8_0").n_parallel == 3


def test_several_conversations_that_are_asked_for_share_the_room() -> None:
    alone, four = choose(dense(), 16 * GIB), choose(dense(), 16 * GIB, n_parallel=4)
    assert four.n_parallel == 4
    assert four.n_ctx == pytest.approx(alone.n_ctx / 4, abs=256)


def test_too_little_memory_is_answered_with_what_would_be_needed() -> None:
    expected = r"^model.gguf needs about 12.4 GiB of memory and 8.0 GiB are available: free some, "
    with pytest.raises(BackendUnavailable, match=expected):
        choose(ling(), 8 * GIB)
    with pytest.raises(BackendUnavailable, match="smaller n_parallel"):
        choose(ling(), 13 * GIB, n_parallel=20)


def test_a_model_without_a_cache_has_its_whole_window() -> None:
    recurrent = header_of({}, "mamba", size=GIB, block_count=24, context_length=1 << 20)
    assert choose(recurrent, 2 * GIB) == Context(1 << 20, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_ctx": 63}, "n_ctx must be at least 64 tokens"),
        ({"n_parallel": 0}, "n_parallel must be at least 1"),
        ({"kv_type": "q3"}, "unknown kv_type 'q3'; known: f32, f16, q8_0"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, int], message: str) -> None:
    arguments = {"n_ctx": None, "n_parallel": None, "kv_type": "f16", **wrong}
    with pytest.raises(ConfigurationError, match=message):
        choose_context(ling(), budget=None, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=message):
        gpu_context(ling(), free=GIB, **arguments)  # type: ignore[arg-type]


# -- contexts on a card -----------------------------------------------------------------------


def on_card(
    header: GGUFHeader,
    gib: float,
    n_ctx: int | None = None,
    n_parallel: int | None = None,
    **more: int,
) -> Context:
    free = int(gib * GIB)
    return gpu_context(header, n_ctx=n_ctx, n_parallel=n_parallel, kv_type="f16", free=free, **more)


def test_ling_on_cards_of_many_sizes() -> None:
    assert on_card(ling(), 23.5) == Context(32768, 4)
    assert on_card(ling(), 15.5) == Context(32768, 4)
    assert on_card(ling(), 14) == Context(32768, 3)
    assert on_card(ling(), 11.5) == Context(32768, 1)
    assert on_card(ling(), 11.5, n_ctx=8192) == Context(8192, 4)
    assert on_card(ling(), 10.5) == Context(11520, 1)


def test_on_a_card_the_window_is_capped_unless_it_is_named() -> None:
    assert on_card(dense(), 70) == Context(32768, 4)
    assert on_card(dense(), 70, n_ctx=100_000).n_ctx == 100_000
    assert on_card(dense(), 1, n_ctx=100_000, n_parallel=9) == Context(100_000, 9)


def test_close_to_the_brim_the_shortest_window_is_tried() -> None:
    assert on_card(ling(), 9.5) == Context(2048, 1)


def test_a_model_that_cannot_fit_is_refused_with_what_would() -> None:
    with pytest.raises(BackendUnavailable, match=r"^model.gguf needs about .* pass n_cpu_moe=\d+$"):
        on_card(ling(), 7.6)


@pytest.mark.parametrize("gib", [1.7, 2.3, 4.3, 5.6, 7.6])
@pytest.mark.parametrize("model", [ling(), dense()])
def test_with_what_is_advised_there_is_a_window_of_use(gib: float, model: GGUFHeader) -> None:
    with pytest.raises(BackendUnavailable) as refused:
        on_card(model, gib)
    advised = {name: int(value) for name, value in ADVICE.findall(str(refused.value))}
    assert on_card(model, gib, **advised).n_ctx >= 4096


def test_experts_and_layers_on_the_cpu_leave_room_for_the_cache() -> None:
    assert on_card(ling(), 7.6, n_cpu_moe=12) == Context(32768, 2)
    assert on_card(ling(), 7.6, n_cpu_moe=20) == Context(32768, 4)
    assert on_card(ling(), 7.6, n_gpu_layers=0) == Context(32768, 4)
    half = on_card(dense(), 7, n_gpu_layers=17)
    assert half.n_ctx * 16 * 8 * 256 * 2 <= (7 - 0.7 - 0.5 - 3.5) * GIB


# -- what would fit ---------------------------------------------------------------------------


def answer(header: GGUFHeader, gib: float, n_ctx: int, n_parallel: int, **more: int) -> str:
    return what_fits(
        header, free=int(gib * GIB), n_ctx=n_ctx, n_parallel=n_parallel, kv_type="f16", **more
    )


def test_ling_asked_for_too_much_on_cards_of_many_sizes() -> None:
    assert answer(ling(), 23.5, 32768, 16) == (
        "needs about 30.1 GiB on the GPU, 23.5 GiB are free: pass n_parallel=10"
    )
    assert answer(ling(), 15.5, 32768, 8).endswith("15.5 GiB are free: pass n_parallel=4")
    assert answer(ling(), 11.5, 32768, 4).endswith("11.5 GiB are free: pass n_parallel=1")
    assert answer(ling(), 11.5, 131072, 1).endswith("pass n_ctx=37888")
    assert answer(ling(), 11.5, 131072, 4).endswith("pass n_ctx=9472")
    assert answer(ling(), 10.4, 131072, 4).endswith("pass n_parallel=1 and n_ctx=8960")
    assert answer(ling(), 7.6, 32768, 1).endswith("7.6 GiB are free: pass n_cpu_moe=9")
    assert answer(ling(), 7.6, 32768, 4).endswith(
        "pass n_cpu_moe=18, or n_parallel=1 and n_cpu_moe=9"
    )


def test_a_quantised_cache_is_proposed_where_nothing_smaller_helps() -> None:
    # 8 GiB of weights less half a GiB of embeddings, and 4,096 tokens at 128 KiB.
    assert answer(dense(), 8.7, 4096, 1).endswith('pass kv_type="q8_0"')
    assert answer(dense(), 8.7, 4096, 2).endswith('pass n_parallel=1 and kv_type="q8_0"')


def test_a_cache_is_quantised_in_whole_blocks_only() -> None:
    model = dense()
    keys = {**model.metadata, "qwen2.attention.key_length": 80, "qwen2.attention.value_length": 176}
    assert "q8_0" not in answer(replace(model, metadata=keys), 8.7, 4096, 1)


def test_all_layers_have_more_than_one_name() -> None:
    for n_gpu_layers in (-1, 33, 999):
        assert on_card(dense(), 9, n_gpu_layers=n_gpu_layers) == on_card(dense(), 9)
        found = answer(dense(), 6, 4096, 1, n_gpu_layers=n_gpu_layers)
        assert found.endswith(": pass n_gpu_layers=21")


def test_a_dense_model_goes_to_the_cpu_by_layers() -> None:
    # 4.9 GiB beside the output, and 0.234 GiB for a layer with its cache: 20, and the output.
    assert answer(dense(), 6, 4096, 1).endswith(": pass n_gpu_layers=21")
    assert re.search(r"pass n_gpu_layers=\d$", answer(dense(), 6, 4096, 1, n_gpu_layers=10))


def test_a_tiny_card_gets_layers_without_experts_or_nothing() -> None:
    assert re.search(r"n_cpu_moe=20 and n_gpu_layers=\d+$", answer(ling(), 0.4, 4096, 1))
    assert answer(ling(), 0.1, 4096, 1).endswith(
        "nothing fits: take a smaller model or a stronger quantisation"
    )


def test_a_model_that_should_have_fitted_is_to_take_less() -> None:
    assert answer(ling(), 23.5, 32768, 4).endswith("23.5 GiB are free: pass n_parallel=3")


def need(header: GGUFHeader, load: dict[str, str | int]) -> float:
    """Bytes on a card, counted anew: layers from the end, the output first, the embeddings not."""
    layers = header.layers
    size, numbers = KV_TYPES[str(load["kv_type"])]
    on_card_layers = int(load["n_gpu_layers"])
    total = 0.0
    for tensor in header.tensors:
        layer = re.match(r"blk\.(\d+)\.", tensor.name)
        if layer is None:
            total += 0 if tensor.name == "token_embd.weight" else tensor.size
        elif int(layer[1]) > layers - on_card_layers and not (
            "_exps" in tensor.name and int(layer[1]) < int(load["n_cpu_moe"])
        ):
            total += tensor.size
    caches = min(on_card_layers - 1, layers)
    row = header.kv_bytes_per_token / 2 / layers * size / numbers
    return total + caches * row * int(load["n_ctx"]) * int(load["n_parallel"])


@settings(deadline=None)
@given(
    mixture=st.booleans(),
    free=st.integers(GIB // 2, 40 * GIB),
    n_ctx=st.integers(1, 512).map(lambda steps: steps * 256),
    n_parallel=st.integers(1, 16),
    kv_type=st.sampled_from(sorted(KV_TYPES)),
    n_cpu_moe=st.integers(0, 20),
    n_gpu_layers=st.none() | st.integers(1, 40),
)
def test_what_is_proposed_fits_and_takes_less(
    mixture: bool,
    free: int,
    n_ctx: int,
    n_parallel: int,
    kv_type: str,
    n_cpu_moe: int,
    n_gpu_layers: int | None,
) -> None:
    model = ling() if mixture else dense()
    asked = {"n_ctx": n_ctx, "n_parallel": n_parallel, "kv_type": kv_type, "n_cpu_moe": n_cpu_moe}
    whole = {**asked, "n_gpu_layers": n_gpu_layers or model.layers + 1}
    asked["n_gpu_layers"] = n_gpu_layers  # type: ignore[assignment]
    text = what_fits(model, free=free, **asked)  # type: ignore[arg-type]
    room = free - min(free // 10, GIB)
    _, _, advice = text.partition(": pass ")
    for alternative in advice.split(", or ") if advice else ():
        pairs = dict(part.split("=") for part in alternative.split(" and "))
        assert pairs
        changed = {k: v.strip('"') if k == "kv_type" else int(v) for k, v in pairs.items()}
        assert need(model, {**whole, **changed}) <= room
        assert need(model, {**whole, **changed}) < need(model, whole)
    if not advice:
        assert text.endswith("nothing fits: take a smaller model or a stronger quantisation")
        least: dict[str, str | int] = {"n_ctx": min(n_ctx, 4096), "n_parallel": 1}
        bottom = {"n_gpu_layers": 1, "n_cpu_moe": 20 if mixture else n_cpu_moe}
        less_than_asked = need(model, whole) * 7 / 8
        assert need(model, {**whole, **least, **bottom}) > min(room, less_than_asked)
