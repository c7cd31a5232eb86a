"""What is counted of a model file, without a model: buffers, copies, states, whole files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from ling_agent import ConfigurationError
from ling_agent.backends.gguf import GGUFHeader, TensorInfo
from ling_agent.fit import Load, Verdict, demand_of_file, named_machine, plan, resident
from ling_agent.fit.buffers import Widths, compute_buffer
from ling_agent.fit.resident import cpu_features, repacked_bytes, state_bytes
from ling_agent.fit.whole import BLOCKS, expected_bytes, require_whole

MIB = 1 << 20
Q4_K, Q6_K, F32 = 12, 14, 0


def widths(**changes: int) -> Widths:
    dense = Widths(
        hidden=576,
        feed_forward=1536,
        keys=192,
        heads=9,
        experts=0,
        experts_used=0,
        expert=0,
        vocabulary=49152,
    )
    return replace(dense, **changes)


QWEN = widths(hidden=896, feed_forward=4864, keys=128, heads=14)
MIXTURE = widths(
    hidden=2048, feed_forward=5120, keys=512, heads=16, experts=16, experts_used=8, expert=512
)


@pytest.mark.parametrize(
    ("model", "batch", "window", "flash", "printed"),
    [
        (widths(), 512, 512, True, 14.01),
        (widths(), 512, 2048, True, 15.51),
        (widths(), 512, 8192, True, 21.51),
        (widths(), 128, 2048, True, 3.88),
        (widths(), 2048, 2048, True, 62.05),
        (widths(), 512, 2048, False, 46.38),
        (widths(), 512, 8192, False, 166.38),
        (QWEN, 512, 2048, True, 37.51),
        (QWEN, 512, 8192, True, 43.51),
        (QWEN, 512, 8192, False, 249.26),
        (MIXTURE, 512, 2048, True, 70.07),
        (MIXTURE, 128, 2048, True, 17.52),
    ],
)
def test_the_compute_buffer_is_what_llama_cpp_printed(
    model: Widths, batch: int, window: int, flash: bool, printed: float
) -> None:
    """MiB as llama.cpp 0.3.36's log had them for SmolLM2, Qwen2.5 and a small ``bailingmoe2``."""
    found = compute_buffer(model, batch=batch, window=window, flash_attention=flash)
    assert found / MIB == pytest.approx(printed, abs=0.1)


def header(architecture: str = "qwen2", **numbers: int) -> GGUFHeader:
    """Two layers of 256 with a matrix of Q4_K and one of Q6_K; the embeddings are the output."""
    keys = {f"{architecture}.{key.replace('__', '.')}": value for key, value in numbers.items()}
    tensors = [TensorInfo("token_embd.weight", (256, 1000), Q4_K, 1000 * 144)]
    for layer in range(2):
        tensors += [
            TensorInfo(f"blk.{layer}.attn_q.weight", (256, 256), Q4_K, 256 * 144),
            TensorInfo(f"blk.{layer}.ffn_up.weight", (256, 512), Q6_K, 512 * 210),
            TensorInfo(f"blk.{layer}.attn_norm.weight", (256,), F32, 1024),
        ]
    sizes = {"block_count": 2, "embedding_length": 256, "feed_forward_length": 512}
    sizes |= {"attention.head_count": 4, "attention.head_count_kv": 2, "context_length": 4096}
    keys |= {f"{architecture}.{key}": value for key, value in sizes.items()}
    return GGUFHeader(
        path=Path("model.gguf"),
        size=sum(tensor.size for tensor in tensors) + 4096,
        metadata={"general.architecture": architecture, **keys},
        tensors=tuple(tensors),
    )


def test_copies_are_made_of_what_the_processor_has_kernels_for() -> None:
    assert repacked_bytes(header(), frozenset({"avx2"})) == 2 * 256 * 144
    assert repacked_bytes(header(), frozenset({"asimd"})) == 2 * 256 * 144
    assert repacked_bytes(header(), frozenset({"sse4_2"})) == 0


def test_parts_add_up_and_grow_with_what_they_depend_on() -> None:
    whole = header()
    none: frozenset[str] = frozenset()
    one = resident(whole, n_ctx=1000, features=none)
    assert one.mapped == whole.size - 4096
    assert (
        one.cache == 1024 * 2 * (2 * 2 * 64) * 2
    )  # padded; two layers, two heads, keys and values
    assert one.total == sum(
        (
            one.mapped,
            one.repacked,
            one.cache,
            one.state,
            one.compute,
            one.multiply,
            one.logits,
            one.vocabulary,
            one.runtime,
        )
    )
    four = resident(whole, n_ctx=1000, n_parallel=4, features=none)
    assert four.cache == 4 * one.cache
    assert four.logits == 4 * one.logits == 4 * 1000 * 4
    assert resident(whole, n_ctx=1000, kv_type="q8_0", features=none).cache < one.cache
    assert resident(whole, n_ctx=1000, n_batch=64, features=none).compute < one.compute
    assert resident(whole, n_ctx=1000, features=frozenset({"avx2"})).total > one.total
    # A batch is never longer than what the context holds.
    assert resident(whole, n_ctx=256, n_batch=4096) == resident(whole, n_ctx=256, n_batch=256)


def test_recurrent_layers_have_a_state_and_no_cache() -> None:
    plain = header()
    assert state_bytes(plain) == 0
    mamba = header("mamba", ssm__inner_size=512, ssm__state_size=16, ssm__conv_kernel=4)
    assert state_bytes(mamba) == 2 * (512 * 16 + 3 * 512) * 4
    assert resident(mamba, n_ctx=4096).cache == 0


def test_features_of_the_processor(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t\t: fpu avx2 f16c\n")
    assert cpu_features(info) == {"fpu", "avx2", "f16c"}
    assert cpu_features(tmp_path / "none")  # a guess, where Linux is not


def test_a_file_is_planned_tensor_by_tensor() -> None:
    found = plan(demand_of_file(header()), named_machine("rtx-4090"), Load(4096))
    assert found.verdict is Verdict.FITS
    assert found.weights == header().size - 4096
    assert found.on_cards == found.weights  # the embeddings are the output, too
    assert found.in_ram == 1000 * 144
    with pytest.raises(ConfigurationError, match=r"beyond what model\.gguf has: 4,096"):
        plan(demand_of_file(header()), named_machine("rtx-4090"), Load(4097))


def test_blocks_are_ggmls() -> None:
    """`gguf` is llama.cpp's own package; it is not installed with ours."""
    for kind, block in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == block


def test_a_file_that_ends_early_is_found() -> None:
    whole = header()
    require_whole(whole)
    *first, last = whole.tensors
    cut = replace(whole, tensors=(*first, replace(last, size=last.size - 1)))
    with pytest.raises(ConfigurationError, match=r"is cut short: blk\.1\.attn_norm\.weight has"):
        require_whole(cut)
    with pytest.raises(ConfigurationError, match="names no tensor"):
        require_whole(replace(whole, tensors=()))
    unknown = replace(last, type=999, size=0)
    assert expected_bytes(unknown) == 1  # a type of the future: at least it is there
