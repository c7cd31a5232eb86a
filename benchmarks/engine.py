"""What the embedded engine costs beside what it does; ``python -m benchmarks.engine``.

Every row is a ratio of two measurements in this one run, taken in turn; a figure is the median of
the rounds. The greedy texts of both sides are equally long, so that both pay for the same cache.
``--model`` takes an alias of the catalogue or a file; on a GPU build everything goes to the GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ling_agent import Agent, Sampling, Usage, catalog
from ling_agent.backends import Chunk, Finished, LlamaCppBackend, NamedTool
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.generation import GenerationRequest
from ling_agent.backends.embedded.settings import EngineSettings
from ling_agent.backends.embedded.thread import EngineThread, Question

from .bare_llama import BareLoop
from .report import circumstances, header

T = TypeVar("T")

TASK = "Write a long story about a ship in a storm."
STORY = f"<|im_start|>user\n{TASK}<|im_end|>\n<|im_start|>assistant\n"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "search_marketplace",
        "description": "Search GPU offers.",
        "parameters": {
            "type": "object",
            "properties": {
                "gpu_model": {"enum": ["RTX 4090", "RTX 5090", "A100 80GB", "H100"]},
                "max_price_per_day": {"type": "integer", "minimum": 0, "maximum": 1000},
                "sort_by": {"enum": ["price", "reliability", "bandwidth"]},
                "note": {"type": "string", "maxLength": 24},
                "only_available": {"type": "boolean"},
            },
            "required": [
                "gpu_model", "max_price_per_day", "sort_by", "note", "only_available",
            ],
            "additionalProperties": False,
        },
    },
}  # fmt: skip
CALL = (
    f"<|im_start|>system\n<tools>{json.dumps(TOOL)}</tools><|im_end|>\n"
    "<|im_start|>user\nFind a cheap RTX 4090, at most 12 dollars a day.<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report; ``bound`` is what the ratio has to keep, None for a mere report."""

    what: str
    value: float
    bound: str
    detail: str


class Bench:
    """One model, asked in its engine's own thread.

    Args:
        path: The GGUF file.
        tokens: Length of the texts that are decoded.
        rounds: Of each measurement.
    """

    def __init__(self, path: Path, *, tokens: int, rounds: int, n_batch: int) -> None:
        self.path, self.tokens, self.rounds = path, tokens, rounds
        self.options: dict[str, Any] = {"n_ctx": 8192, "n_parallel": 4, "n_batch": n_batch}
        self.thread = EngineThread.shared(EngineSettings(path, **self.options))
        self.bare = self.ask(self._bare)

    def _bare(self, engine: Engine) -> BareLoop:
        settings = engine.model.settings
        return BareLoop(self.path, n_ctx=8192, n_batch=settings.n_batch, n_threads=settings.threads)

    def ask(self, work: Callable[[Engine], T]) -> T:
        """Run something in the engine's thread."""
        future: Future[T] = Future()
        self.thread.put(Question(work, future))
        return future.result()

    def on_bare(self, work: Callable[[BareLoop], T]) -> T:
        """Run something on the bare loop, in the same thread.

        Two threads that compute in turn would have two teams of OpenMP threads, more than there
        are cores, and all of them would wait for each other slowly.
        """
        return self.ask(lambda _: work(self.bare))


def answer(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Usage]:
    """Compute requests together and alone in the engine; what each has cost."""
    chunks: list[list[Chunk | BaseException]] = [[] for _ in requests]
    for request, seen in zip(requests, chunks, strict=True):
        object.__setattr__(request, "put", seen.append)
        engine.start(request)
    while not engine.idle:
        engine.tick()
    ends = [seen[-1] for seen in chunks]
    for end in ends:
        if not isinstance(end, Finished):
            raise RuntimeError(f"no answer: {end!r}")
    return [end.usage for end in ends if isinstance(end, Finished)]


def request(prompt: str, tokens: int, **options: Any) -> GenerationRequest:
    """A greedy request."""
    return GenerationRequest(
        prompt, lambda _: None, sampling=Sampling(max_tokens=tokens), **options
    )


def speed(usage: Usage) -> float:
    """Decoded tokens per second."""
    return usage.completion_tokens / usage.decode_seconds


# -- the rows ---------------------------------------------------------------------------------


def free_text(bench: Bench) -> Row:
    """Free text with the lazy constraint on and off."""

    def one(engine: Engine, constrained: bool) -> float:
        asked = request(STORY, bench.tokens, tools=(TOOL,), bare_json=True, constrained=constrained)
        return speed(answer(engine, [asked])[0])

    pairs = [
        (bench.ask(lambda e: one(e, True)), bench.ask(lambda e: one(e, False)))
        for _ in range(bench.rounds)
    ]
    value = statistics.median(on / off for on, off in pairs)
    off = statistics.median(pair[1] for pair in pairs)
    return Row("free text, lazy constraint on / off", value, "≥ 0.97", f"{off:.1f} tok/s off")


def inside_calls(bench: Bench) -> Row:
    """A call under its schema against the same tokens decoded one by one."""

    def call(engine: Engine) -> tuple[Usage, list[int]]:
        asked = request(
            CALL, 300, tools=(TOOL,), choice=NamedTool("search_marketplace"), conversation="call"
        )
        usage = answer(engine, [asked])[0]
        known = engine.slots.known("call")
        assert known is not None
        return usage, known.tokens

    ratios: list[float] = []
    detail = ""
    for _ in range(bench.rounds):
        usage, tokens = bench.ask(call)
        prompt, made = tokens[: usage.prompt_tokens], tokens[usage.prompt_tokens :]
        bench.on_bare(lambda bare, prompt=prompt: bare.prefill(prompt))
        seconds = bench.on_bare(lambda bare, made=made: bare.given(made))
        ratios.append(seconds / usage.decode_seconds)
        counts = f"{usage.completion_tokens} tokens, {usage.forced_tokens} forced"
        detail = f"{counts}, {speed(usage):.1f} tok/s"
    return Row(
        "inside a call / the same text unconstrained", statistics.median(ratios), "≥ 1.15", detail
    )


def agent_speed(bench: Bench) -> Row:
    """An agent's answer against the bare loop."""
    backend = LlamaCppBackend(str(bench.path), **bench.options)
    agent = Agent(backend, planning="off", sampling=Sampling(max_tokens=bench.tokens))
    tokens = bench.ask(lambda engine: engine.model.vocabulary.tokenize(STORY))
    ratios: list[float] = []
    detail = ""
    for _ in range(bench.rounds):
        usage = agent.run_sync(TASK).usage
        count = usage.completion_tokens
        bench.on_bare(lambda bare: bare.prefill(tokens))
        bare = count / bench.on_bare(lambda bare, count=count: bare.free(count))
        ratios.append(speed(usage) / bare)
        detail = f"{bare:.1f} tok/s bare"
    return Row("agent's decode / a bare loop", statistics.median(ratios), "≥ 0.97", detail)


def later_steps(bench: Bench) -> Row:
    """Tokens that later steps evaluate against those that are new in their prompts."""
    observation = "<tool_response>\n" + json.dumps([{"id": 7, "price": 0.42}] * 8)

    def run(engine: Engine) -> tuple[int, int]:
        prompt, evaluated, new, before = CALL, 0, 0, 0
        for step in range(6):
            asked = request(prompt, 48, tools=(TOOL,), conversation="steps", bare_json=True)
            usage = answer(engine, [asked])[0]
            known = engine.slots.known("steps")
            assert known is not None
            if step:
                evaluated += usage.evaluated_tokens or 0
                new += usage.prompt_tokens - before
            before = usage.prompt_tokens + usage.completion_tokens
            prompt = (
                f"{known.text}<|im_end|>\n<|im_start|>user\n{observation}\n</tool_response>"
                "<|im_end|>\n<|im_start|>assistant\n"
            )
        return evaluated, new

    evaluated, new = bench.ask(run)
    return Row("later steps: evaluated / new tokens", evaluated / new, "≤ 1.02", f"{new} new")


def resumed(bench: Bench) -> Row:
    """A saved state taken up again against a fresh prefill of 4,000 tokens."""
    text = bench.ask(lambda engine: _of_length(engine, 4000))

    def compare(engine: Engine, path: Path) -> tuple[float, float]:
        # A prompt that begins like no other, so that nothing is reused.
        mark = f"{time.perf_counter_ns()} "
        prompt = f"<|im_start|>user\n{mark}{text}<|im_end|>\n<|im_start|>assistant\n"
        fresh = answer(engine, [request(prompt, 1, conversation=f"fresh {mark}")])[0]
        engine.save_state(f"fresh {mark}", path)
        started = time.perf_counter()
        refused = engine.load_state(f"resumed {mark}", path)
        if refused:
            raise RuntimeError(refused)
        again = answer(engine, [request(prompt, 1, conversation=f"resumed {mark}")])[0]
        if again.evaluated_tokens != 1:
            raise RuntimeError("the state was not used")
        return fresh.prefill_seconds, time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.state"
        pairs = [bench.ask(lambda e: compare(e, path)) for _ in range(min(bench.rounds, 3))]
        size = path.stat().st_size / 1e6
    value = statistics.median(fresh / resumed for fresh, resumed in pairs)
    fresh, back = pairs[-1]
    detail = f"{fresh * 1e3:,.0f} ms against {back * 1e3:,.0f} ms, {size:.0f} MB"
    return Row("prefill of 4,000 tokens / resume from disk", value, "≥ 10", detail)


def _of_length(engine: Engine, tokens: int) -> str:
    words = "the sea was wild and the night was long, and nobody on board had slept. "
    each = len(engine.model.vocabulary.tokenize(words))
    return words * (tokens // each + 1)


def at_once(bench: Bench, *, on_gpu: bool) -> Row:
    """Four answers together against one alone, decoded tokens per second."""

    def several(engine: Engine, count: int) -> float:
        asked = [request(STORY, bench.tokens, conversation=f"at once {n}") for n in range(count)]
        usages = answer(engine, asked)
        seconds = max(usage.decode_seconds for usage in usages)
        return sum(usage.completion_tokens for usage in usages) / seconds

    bench.ask(lambda e: several(e, 4))  # their prompts are in the cache from here on
    pairs = [
        (bench.ask(lambda e: several(e, 4)), bench.ask(lambda e: several(e, 1)))
        for _ in range(bench.rounds)
    ]
    value = statistics.median(four / one for four, one in pairs)
    return Row(
        "4 runs at once / one, total decode",
        value,
        "≥ 2.5" if on_gpu else "",
        f"{statistics.median(pair[0] for pair in pairs):.1f} tok/s together",
    )


def own_grammar(bench: Bench) -> Row:
    """llama-cpp-python's own grammar of the same schema against its own free decoding."""
    schema = json.dumps(TOOL["function"]["parameters"])
    tokens = bench.ask(lambda engine: engine.model.vocabulary.tokenize(CALL))
    ratios: list[float] = []
    detail = ""
    for _ in range(bench.rounds):
        bench.on_bare(lambda bare: bare.prefill(tokens))
        count, seconds = bench.on_bare(lambda bare: bare.with_grammar(schema, 200))
        bench.on_bare(lambda bare: bare.prefill(tokens))
        free = bench.on_bare(lambda bare, count=count: bare.free(count))
        ratios.append(free / seconds)
        detail = f"{count} tokens, {count / seconds:.1f} tok/s"
    return Row("llama-cpp-python's own grammar / free", statistics.median(ratios), "", detail)


def measure(bench: Bench, *, on_gpu: bool) -> list[Row]:
    """All rows, with progress on standard error."""
    rows: list[Row] = []
    parts: Mapping[str, Callable[[], Row]] = {
        "free text": lambda: free_text(bench),
        "calls": lambda: inside_calls(bench),
        "agent": lambda: agent_speed(bench),
        "later steps": lambda: later_steps(bench),
        "resume": lambda: resumed(bench),
        "at once": lambda: at_once(bench, on_gpu=on_gpu),
        "own grammar": lambda: own_grammar(bench),
    }
    for name, part in parts.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        rows.append(part())
    return rows


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="alias or path of a .gguf")
    parser.add_argument("--tokens", type=int, default=128, help="length of decoded texts")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement")
    parser.add_argument("--n-batch", type=int, default=512, help="prompt tokens in one go")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    path = catalog.resolve(options.model)
    bench = Bench(path, tokens=options.tokens, rounds=options.rounds, n_batch=options.n_batch)
    gpu = bench.ask(lambda engine: engine.model.gpu)
    rows = measure(bench, on_gpu=gpu is not None)
    bench.on_bare(lambda bare: bare.close())
    versions = ("llama-cpp-python", "llguidance")
    on = gpu.name if gpu is not None else "CPU"
    if options.json:
        values = {row.what: {"value": row.value, "detail": row.detail} for row in rows}
        print(
            json.dumps({**circumstances(*versions), "model": path.name, "on": on, "rows": values})
        )
        return
    print(header(f"Embedded engine, {path.name} on {on}", *versions))
    print("\n| | ratio | bound | |\n|---|---:|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.value:.2f} | {row.bound} | {row.detail} |")


if __name__ == "__main__":
    main()
