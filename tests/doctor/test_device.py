"""The device check on a build for a GPU; the card is a stand-in, as this machine may have none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ling_agent import extras
from ling_agent.backends import LlamaCppBackend
from ling_agent.backends.embedded.devices import GPU
from ling_agent.doctor import embedded_checks
from ling_agent.doctor.embedded_checks import device
from ling_agent.doctor.probe import EmbeddedProbe
from tests.backends.embedded import synthetic

pytestmark = pytest.mark.anyio

GIB = 1 << 30


@pytest.fixture
def probe(tmp_path: Path) -> EmbeddedProbe:
    path = synthetic.write_dense(tmp_path / "dense.gguf")
    return EmbeddedProbe(LlamaCppBackend(str(path)), "nonce")


def stand_in_cards(patch: pytest.MonkeyPatch, *names: str) -> None:
    cards = [GPU(name, 20 * GIB, 24 * GIB) for name in names]
    library = SimpleNamespace(llama_supports_gpu_offload=lambda: True)
    patch.setattr(extras, "require", lambda *_, **__: library)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    patch.setattr(embedded_checks, "gpus", lambda _: cards)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_card_that_there_are_facts_about_bounds_the_speed(
    probe: EmbeddedProbe, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_cards(monkeypatch, *["NVIDIA GeForce RTX 4090"] * count)
    verdict = await device(probe)
    assert verdict.status == "ok"
    assert "NVIDIA GeForce RTX 4090, 24.0 GiB" in verdict.seen
    assert probe.bound is not None
    assert "RTX 4090" in probe.bound.how
    assert ("2 x" in probe.bound.how) == (count == 2)


@pytest.mark.parametrize("names", [["Some GPU"], ["NVIDIA L4", "NVIDIA H200"], []])
async def test_other_cards_bound_nothing(
    probe: EmbeddedProbe, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_cards(monkeypatch, *names)
    assert (await device(probe)).status == "ok"
    assert probe.bound is None
