"""What ways to load a model onto a GPU cost; ``python -m benchmarks.gpu_loads --model FILE``.

One engine after the other in this process: whole on the card, a smaller cache, experts on the CPU,
some layers there, all of them; then one that cannot fit, whose answer is printed. Speeds are those
of one prompt and of one answer, drawn at temperature 1, so that a model with random weights does
not repeat itself and with that its experts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ling_agent import Sampling, catalog
from ling_agent.backends import Chunk, Finished
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.generation import GenerationRequest
from ling_agent.backends.embedded.settings import EngineSettings
from ling_agent.errors import BackendUnavailable

from .report import header

PROMPT = "Tell of ships, storms and harbours, of winds from every side. "
_GIB = 1 << 30


def ways(layers: int) -> dict[str, dict[str, Any]]:
    """The settings that are tried, by what they are."""
    return {
        "whole on the card": {},
        "flash attention off": {"flash_attention": False},
        "cache in q8_0": {"kv_type": "q8_0"},
        "experts of half the layers on the CPU": {"n_cpu_moe": layers // 2},
        "all experts on the CPU": {"n_cpu_moe": layers},
        "half the layers on the card": {"n_gpu_layers": layers // 2},
        "CPU alone": {"n_gpu_layers": 0},
    }


def measure(engine: Engine, tokens: int) -> tuple[float, float]:
    """Prompt and answer tokens per second."""
    seen: list[Chunk | BaseException] = []
    for text in ("warm up", PROMPT * 60):
        sampling = Sampling(temperature=1.0, max_tokens=tokens)
        engine.start(GenerationRequest(text, seen.append, sampling=sampling, conversation=text[:4]))
        while not engine.idle:
            engine.tick()
    end = seen[-1]
    if not isinstance(end, Finished):
        raise RuntimeError(f"no answer: {end!r}")
    usage = end.usage
    return usage.prefill_tokens_per_second or 0.0, usage.decode_tokens_per_second or 0.0


def row(path: Path, what: str, options: dict[str, Any], tokens: int) -> str:
    """Load, measure and free; a line of the table."""
    print(f"{what} …", file=sys.stderr, flush=True)
    settings: dict[str, Any] = {"n_ctx": 8192, "n_parallel": 1, **options}
    engine = Engine(EngineSettings(path, **settings))
    try:
        taken = "" if engine.model.gpu is None else f"{_taken(engine) / _GIB:.1f}"
        prompt, answer = measure(engine, tokens)
    finally:
        engine.close()
    shown = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "defaults"
    return f"| {what} | `{shown}` | {taken} | {prompt:,.0f} | {answer:.1f} |"


def _taken(engine: Engine) -> int:
    from ling_agent.backends.embedded.devices import gpus, together

    now = together(gpus(engine.model.lib))
    assert engine.model.gpu is not None
    return engine.model.gpu.free - (now.free if now is not None else 0)


def main() -> None:
    """Parse the command line, measure, print a table and the answer to what cannot fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--model", required=True, help="alias or path of a .gguf")
    parser.add_argument("--tokens", type=int, default=64, help="length of the answer")
    options = parser.parse_args()
    path = catalog.resolve(options.model)
    first = Engine(EngineSettings(path, n_ctx=1024, n_parallel=1))
    card, layers = first.model.gpu, first.model.header.layers
    first.close()
    if card is None:
        sys.exit("error: this llama.cpp has no GPU: build it as docs/gpu.md says")
    rows = [row(path, what, way, options.tokens) for what, way in ways(layers).items()]
    print(header(f"Ways to load {path.name} on {card.name}", "llama-cpp-python"))
    print(
        "\n| | settings | GiB on the card | prompt tok/s | answer tok/s |\n|---|---|---:|---:|---:|"
    )
    print("\n".join(rows))
    # Caches alone that are a tenth larger than the card.
    n_ctx = int(card.total * 1.1 / (64 * first.model.header.kv_bytes())) // 256 * 256 + 256
    try:
        Engine(EngineSettings(path, n_ctx=n_ctx, n_parallel=64)).close()
    except BackendUnavailable as error:
        print(f"\n64 conversations of {n_ctx:,} tokens: `{error}`")
    else:
        sys.exit(f"error: 64 conversations of {n_ctx:,} tokens fit, which was not expected")


if __name__ == "__main__":
    main()
