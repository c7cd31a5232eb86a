"""Tiny models with random weights, written once for all tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.settings import EngineSettings

from . import synthetic
from .vocabularies import PLAIN_TAGS, SPECIAL_TAGS, Loaded
from .vocabularies import load as load_vocabulary

Load = Callable[..., Engine]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("synthetic")
    return {
        "dense": synthetic.write_dense(folder / "dense.gguf"),
        "hybrid": synthetic.write_hybrid(folder / "hybrid.gguf"),
        "recurrent": synthetic.write_recurrent(folder / "recurrent.gguf"),
        "moe": synthetic.write_moe(folder / "moe.gguf"),
    }


@pytest.fixture
def load(tiny_models: dict[str, Path]) -> Iterator[Load]:
    """Loads a tiny model; engines are freed behind the test."""
    engines: list[Engine] = []

    def load(name: str = "dense", **settings: int | str | None) -> Engine:
        options: dict[str, int | str | None] = {"n_ctx": 1024, "n_threads": 1, **settings}
        engines.append(Engine(EngineSettings(tiny_models[name], **options)))  # pyright: ignore[reportArgumentType]
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module", params=[SPECIAL_TAGS, PLAIN_TAGS])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """A real vocabulary: with tags as tokens of their own, and without."""
    return load_vocabulary(str(request.param))
