"""What fits and what does not: the sizes that are known, and the bounds that follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import ConfigurationError, facts
from ling_agent.fit import Card, Load, Machine, Plan, Verdict, demand_of, named_machine, plan

FLASH = facts.model("ling-2.6-flash")


def planned(
    quant: str,
    gpu: str,
    gpus: int = 1,
    *,
    model: str = "ling-2.6-flash",
    context: int = 32768,
    concurrency: int = 1,
    ram: float | None = None,
    kv_type: str = "bf16",
) -> Plan:
    machine = named_machine(gpu, gpus=gpus, ram=ram)
    load = Load(context, concurrency, kv_type)
    return plan(demand_of(facts.model(model), quant), machine, load)


@pytest.mark.parametrize("claim", facts.claims(), ids=lambda claim: f"{claim.format} {claim.gpu}")
def test_what_vendor_pages_claim_does_not_fit(claim: facts.Claim) -> None:
    found = planned(claim.format, claim.gpu, claim.gpus, model=claim.model, context=256)
    assert found.verdict is Verdict.NOT
    # Not for some reserve: the weights alone, at least, are more than the cards have.
    cards = facts.gpu(claim.gpu).memory_bytes * claim.gpus
    assert facts.model(claim.model).formats[claim.format].weight_low > cards


@pytest.mark.parametrize(
    ("quant", "gpu", "gpus"),
    [
        ("bf16", "h100", 4),
        ("bf16", "h200", 2),
        ("fp8", "h100", 2),
        ("fp8", "h200", 1),
        ("int4", "h100", 1),
        ("int4", "rtx-4090", 3),
        ("int4", "rtx-4090", 4),
        ("iq4_nl", "h100", 1),
        ("iq4_nl", "rtx-4090", 3),
        ("iq2_xs", "rtx-5090", 1),
        ("iq2_xs", "a100-40gb", 1),
    ],
)
def test_what_the_facts_say_fits_does(quant: str, gpu: str, gpus: int) -> None:
    assert planned(quant, gpu, gpus).verdict is Verdict.FITS


@pytest.mark.parametrize(
    ("quant", "gpu", "gpus"),
    [("bf16", "h100", 2), ("fp8", "h100", 1), ("int4", "rtx-4090", 1), ("int4", "rtx-4090", 2)],
)
def test_one_size_smaller_does_not(quant: str, gpu: str, gpus: int) -> None:
    found = planned(quant, gpu, gpus, context=256)
    assert found.verdict is Verdict.NOT
    assert found.largest_context == 0
    assert found.decode is None
    assert "GB are usable" in found.reason


def test_one_24_gb_card_needs_64_gb_of_system_memory() -> None:
    found = planned("iq4_nl", "rtx-4090", ram=64)
    assert found.verdict is Verdict.WITH_RAM
    assert 0 < found.cpu_experts < FLASH.layers
    assert found.needed <= found.room
    assert found.in_ram + found.on_cards == found.weights
    less = planned("iq4_nl", "rtx-4090", ram=32)
    assert less.verdict is Verdict.NOT
    assert "would have to be in system memory" in less.reason
    assert planned("iq4_nl", "rtx-4090").verdict is Verdict.WITH_RAM  # as much as it takes


def test_ling_mini_fits_one_24_gb_card_whole() -> None:
    found = planned("q4_k_m", "rtx-4090", model="ling-mini-2.0")
    assert found.verdict is Verdict.FITS
    assert found.weights == 9_911_575_072


def test_decode_from_system_memory_is_bounded_by_its_bandwidth() -> None:
    """80 GB/s of system memory are about 45 tokens a second at best, all experts being there."""
    demand = demand_of(FLASH, "iq4_nl")
    assert 80e9 / demand.read_experts == pytest.approx(45, abs=1)
    card = Card("small", 4 << 30, 10**15, None)  # the rest of the model takes no time there
    found = plan(demand, Machine((card,), None, 80 * 10**9), Load(256))
    assert found.cpu_experts == FLASH.layers
    assert found.decode == pytest.approx(45, abs=1)


def test_decode_is_active_weights_over_bandwidth() -> None:
    found = planned("bf16", "h100", model="hermes-3-8b", context=256)
    shape = facts.model("hermes-3-8b").shape
    read = 2 * (shape.parameters - shape.embedding) + 256 * shape.kv_bytes_per_token
    assert found.decode == pytest.approx(3350e9 / read, rel=1e-6)
    # vLLM's cards read at the same time, llama.cpp's one after the other.
    two = planned("bf16", "h100", 2, model="hermes-3-8b", context=256)
    assert two.decode == pytest.approx(2 * (found.decode or 0))
    one, other = (
        planned("q8_0", "h100", count, model="hermes-3-8b", context=256) for count in (1, 2)
    )
    assert one.decode == other.decode


@given(
    gpu=st.sampled_from(sorted(facts.gpus())),
    gpus=st.integers(1, 8),
    quant=st.sampled_from(sorted(FLASH.formats)),
    context=st.integers(1, 262_144),
    concurrency=st.integers(1, 64),
    ram=st.sampled_from([None, 16.0, 64.0, 256.0]),
)
def test_limits_are_the_limits(
    gpu: str, gpus: int, quant: str, context: int, concurrency: int, ram: float | None
) -> None:
    """What is said to be the largest fits, and one step more does not; so does the verdict."""

    def at(window: int, sequences: int) -> Plan:
        return planned(quant, gpu, gpus, context=window, concurrency=sequences, ram=ram)

    found = at(context, concurrency)
    if found.verdict is Verdict.CANNOT:
        return

    def as_well(other: Plan) -> bool:
        """What fits whole has to stay whole."""
        return other.verdict is Verdict.FITS if found.verdict is Verdict.FITS else other.fits

    assert found.fits == (found.largest_context >= context)
    assert found.fits == (found.largest_concurrency >= concurrency)
    if found.largest_context:
        assert as_well(at(found.largest_context, concurrency))
    if found.largest_context < FLASH.max_context:
        longer = min(found.largest_context + 256, FLASH.max_context)
        assert not as_well(at(longer, concurrency))
    if 0 < found.largest_concurrency < 4096:
        assert as_well(at(context, found.largest_concurrency))
        assert not as_well(at(context, found.largest_concurrency + 1))


def test_more_memory_never_hurts() -> None:
    order = [Verdict.NOT, Verdict.WITH_RAM, Verdict.FITS]
    for quant in ("iq4_nl", "iq2_xs"):
        found = [planned(quant, "rtx-4090", count).verdict for count in range(1, 5)]
        assert [order.index(each) for each in found] == sorted(order.index(each) for each in found)


def test_a_format_that_the_card_does_not_have() -> None:
    found = planned("nvfp4", "rtx-4090", model="qwen3-8b")
    assert found.verdict is Verdict.CANNOT
    assert found.reason.startswith("NVFP4 needs compute capability 10, RTX 4090 has 8.9; ")
    assert planned("nvfp4", "b200", model="qwen3-8b").verdict is Verdict.FITS
    assert planned("bf16", "t4", model="qwen2.5-coder-0.5b").verdict is Verdict.CANNOT


def test_a_cpu_runs_gguf_only() -> None:
    machine = Machine((), 64 * 10**9, 80 * 10**9)
    model = facts.model("ling-mini-2.0")
    assert plan(demand_of(model, "bf16"), machine, Load(4096)).verdict is Verdict.CANNOT
    found = plan(demand_of(model, "q4_k_m"), machine, Load(4096))
    assert found.verdict is Verdict.FITS
    assert found.room == 48 * 10**9


def test_heads_that_do_not_divide_are_told() -> None:
    assert "32 heads do not divide among 3 cards" in planned("int4", "rtx-4090", 3).reason
    assert "divide" not in planned("int4", "rtx-4090", 4).reason
    assert "divide" not in planned("iq4_nl", "rtx-4090", 3).reason


def test_a_quantised_cache_is_smaller() -> None:
    whole = planned("q4_k_m", "rtx-4090", model="ling-mini-2.0")
    small = planned("q4_k_m", "rtx-4090", model="ling-mini-2.0", kv_type="q8_0")
    assert whole.cache == 32768 * 40_960
    assert small.cache == 32768 * 21_760


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 262_145}, r"beyond what Ling-2.6-flash has: 262,144 \(with YaRN\)"),
        ({"context": 0}, "a window of 0 tokens cannot be"),
        ({"concurrency": 0}, "0 sequences at once cannot be"),
        ({"concurrency": 5000}, "5000 sequences at once cannot be"),
        ({"kv_type": "q8_0"}, "BF16 has no cache of type 'q8_0'"),
        ({"gpus": 0}, "--gpus 0 makes no machine"),
        ({"ram": -1.0}, "--ram -1 is no size"),
        ({"ram": float("nan")}, "--ram nan is no size"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        planned("bf16", "h100", **options)  # pyright: ignore[reportArgumentType]


def test_a_format_that_the_model_is_not_known_in() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Ling-2\.6-flash is not known in 'nvfp4'; known:"
    ):
        demand_of(FLASH, "nvfp4")
