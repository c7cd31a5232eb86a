"""The embedded backend on the real model: tokens, cache, stops, cancel, errors."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from ling_agent import Sampling, catalog
from ling_agent.backends import (
    Backend,
    Chunk,
    Finished,
    LlamaCppBackend,
    ModelRequest,
    TextChunk,
)
from ling_agent.backends.llama_cpp import EngineThread
from ling_agent.backends.llama_engine import EngineSettings, Generation, LlamaEngine
from ling_agent.errors import BackendUnavailable, ConfigurationError, ContextOverflow
from ling_agent.messages import UserMessage
from ling_agent.profiles import CHATML
from ling_agent.testing.conformance import BackendConformance

pytestmark = pytest.mark.model

PROMPT = "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def model() -> Path:
    path = catalog.cached_path("qwen2.5-coder-0.5b")
    assert path is not None, "run `ling-agent models pull qwen2.5-coder-0.5b` (`make test` does)"
    return path


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[LlamaEngine]:
    engine = LlamaEngine(EngineSettings(model, n_ctx=2048))
    yield engine
    engine.close()


def generate(
    engine: LlamaEngine, prompt: str, *, cancel_after: int | None = None, **options: object
) -> tuple[str, Generation | None]:
    """Text and end of a generation; greedy, 32 tokens unless the options say otherwise."""
    sampling = options.pop("sampling", Sampling(max_tokens=32))
    assert isinstance(sampling, Sampling)
    cancelled = threading.Event()
    text: list[str] = []
    end: Generation | None = None
    stop = engine.stop_tokens(CHATML.stop)
    for item in engine.generate(
        prompt,
        sampling,
        stop=stop,
        cancelled=cancelled,
        **options,  # pyright: ignore[reportArgumentType]
    ):
        if isinstance(item, Generation):
            end = item
        else:
            text.append(item)
        if cancel_after is not None and len(text) >= cancel_after:
            cancelled.set()
    return "".join(text), end


def test_a_second_prompt_evaluates_only_what_is_new(engine: LlamaEngine) -> None:
    text, end = generate(engine, PROMPT, conversation="a")
    assert end is not None
    assert end.finish_reason == "stop"
    suffix = "<|im_end|>\n<|im_start|>user\nAnd one more?<|im_end|>\n<|im_start|>assistant\n"
    _, second = generate(engine, PROMPT + text + suffix, conversation="a")
    assert second is not None
    kept = end.usage.prompt_tokens + end.usage.completion_tokens
    assert second.usage.cached_tokens == kept
    assert second.usage.prompt_tokens == kept + len(engine.tokenize(suffix))


def test_the_cache_never_changes_an_answer(engine: LlamaEngine) -> None:
    first, _ = generate(engine, PROMPT)
    generate(engine, "<|im_start|>user\nSomething else entirely.<|im_end|>\n")
    again, _ = generate(engine, PROMPT)
    assert again == first


def test_text_with_every_kind_of_character_survives(engine: LlamaEngine) -> None:
    text = "Grüße 🎉 日本語 \u2028 <tool_call> \t\r\n " + "".join(map(chr, range(1, 256)))
    tokens = engine.tokenize(text)
    pieces = b"".join(engine.piece(token) for token in tokens)
    assert pieces.decode("utf-8") == text


def test_stop_when_ends_an_answer_with_that_piece(engine: LlamaEngine) -> None:
    prompt = "<|im_start|>user\nWrite a list of ten colours.<|im_end|>\n<|im_start|>assistant\n"
    long, _ = generate(engine, prompt)
    assert "\n" in long

    def line_ends(piece: str) -> bool:
        return "\n" in piece

    line, end = generate(engine, prompt, stop_when=line_ends)
    assert long.startswith(line)
    assert line.count("\n") >= 1
    assert "\n" not in line.rstrip("\n")
    assert end is not None
    assert end.finish_reason == "stop"


def test_in_words_rules_out_calls_at_the_start(engine: LlamaEngine) -> None:
    prompt = "<|im_start|>user\nReply with only this: {}<|im_end|>\n<|im_start|>assistant\n"
    free, _ = generate(engine, prompt)
    assert free.lstrip()[0] in "{`"
    words, _ = generate(engine, prompt, in_words=True)
    assert words.strip()
    assert words.lstrip()[0] not in "{[`<"


def test_max_tokens_ends_an_answer_as_length(engine: LlamaEngine) -> None:
    _, end = generate(engine, PROMPT, sampling=Sampling(max_tokens=3))
    assert end is not None
    assert end.finish_reason == "length"
    assert end.usage.completion_tokens == 3


def test_sampling_is_reproducible_by_its_seed(engine: LlamaEngine) -> None:
    warm = Sampling(temperature=1.5, top_p=0.95, top_k=50, min_p=0.01, max_tokens=16, seed=7)
    first, _ = generate(engine, PROMPT, sampling=warm)
    again, _ = generate(engine, PROMPT, sampling=warm)
    others = {
        generate(engine, PROMPT, sampling=Sampling(temperature=1.5, max_tokens=16, seed=seed))[0]
        for seed in range(4)
    }
    assert first == again
    assert len(others) > 1


def test_a_cancel_is_noticed_between_two_tokens_and_leaves_the_engine_usable(
    engine: LlamaEngine,
) -> None:
    before, _ = generate(engine, PROMPT)
    text, _ = generate(engine, PROMPT, cancel_after=2)
    assert before.startswith(text)
    assert len(text) < len(before)
    assert generate(engine, PROMPT)[0] == before


def test_a_prompt_that_does_not_fit_is_refused(engine: LlamaEngine) -> None:
    with pytest.raises(ContextOverflow) as caught:
        generate(engine, "word " * 3000)
    assert caught.value.context_window == 2048
    assert caught.value.prompt_tokens > 2048


async def collect(backend: LlamaCppBackend, text: str) -> list[Chunk]:
    request = ModelRequest((UserMessage(text),), sampling=Sampling(max_tokens=16))
    async with backend.stream(request) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.anyio
async def test_concurrent_requests_are_all_answered(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    answers: dict[int, list[Chunk]] = {}

    async def ask(index: int) -> None:
        answers[index] = await collect(backend, f"What is {index} plus {index}?")

    async with anyio.create_task_group() as group:
        for index in range(3):
            group.start_soon(ask, index)
    for chunks in answers.values():
        assert isinstance(chunks[-1], Finished)
        assert any(isinstance(chunk, TextChunk) for chunk in chunks[:-1])


@pytest.mark.anyio
async def test_leaving_a_stream_early_frees_the_engine_for_the_next(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    request = ModelRequest(
        (UserMessage("Count to 1000, one number a line."),), sampling=Sampling(max_tokens=1500)
    )
    async with backend.stream(request) as chunks:
        async for _ in chunks:
            break
    with anyio.fail_after(60):
        assert isinstance((await collect(backend, "Say hi."))[-1], Finished)


@pytest.mark.anyio
async def test_backends_with_equal_settings_share_one_engine(model: Path) -> None:
    first = LlamaCppBackend(str(model), n_ctx=1024)
    second = LlamaCppBackend(str(model), n_ctx=1024)
    await first.describe()
    await second.describe()
    shared = EngineThread.shared(EngineSettings(model, n_ctx=1024))
    reference = weakref.ref(shared)
    del shared
    await first.aclose()
    gc.collect()
    assert reference() is not None
    await second.aclose()
    gc.collect()
    assert reference() is None


@pytest.mark.anyio
async def test_the_backend_counts_by_the_models_tokenizer(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=1024)
    assert await backend.count_tokens("Hello world") == 2
    info = await backend.describe()
    assert info.context_window == 1024
    assert info.profile is CHATML


@pytest.mark.anyio
async def test_missing_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the model file .*no\.gguf"):
        await LlamaCppBackend(str(tmp_path / "no.gguf")).describe()
    foreign = tmp_path / "weights.gguf"
    foreign.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises((BackendUnavailable, ConfigurationError), match="not a GGUF"):
        await LlamaCppBackend(str(foreign)).describe()


def _with_architecture(model: Path, changed: Path, name: bytes) -> Path:
    """The model's header with another architecture of the same length; its weights are a hole."""
    with model.open("rb") as file:
        head = file.read(8 << 20)
    with changed.open("wb") as file:
        file.write(head.replace(b"qwen2", name))
        file.truncate(model.stat().st_size)
    return changed


@pytest.mark.anyio
async def test_an_architecture_that_llama_cpp_does_not_know_is_named(
    model: Path, tmp_path: Path
) -> None:
    changed = _with_architecture(model, tmp_path / "odd.gguf", b"qwenx")
    with pytest.raises(BackendUnavailable, match="does not know the architecture 'qwenx'"):
        await LlamaCppBackend(str(changed), n_ctx=512).describe()


@pytest.mark.anyio
async def test_a_file_that_is_cut_off_is_refused_with_llama_cpps_reason(
    model: Path, tmp_path: Path
) -> None:
    with model.open("rb") as file:
        head = file.read(32 << 20)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(head)
    with pytest.raises(BackendUnavailable, match="could not load"):
        await LlamaCppBackend(str(cut), n_ctx=512).describe()


@pytest.mark.anyio
async def test_too_little_memory_is_answered_with_what_would_be_needed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ling_agent.backends.llama_engine.available_memory", lambda: 100 << 20)
    with pytest.raises(BackendUnavailable, match=r"needs about \d\.\d GiB .* 0\.1 GiB"):
        await LlamaCppBackend(str(model)).describe()


class TestConformance(BackendConformance):
    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    def make(self) -> Backend:
        return LlamaCppBackend(str(self.model), n_ctx=2048)


WORKING_AT_EXIT = """
import sys
from ling_agent import Agent, Limits
from ling_agent.backends import LlamaCppBackend

agent = Agent(LlamaCppBackend(sys.argv[1], n_ctx=8192), planning="off")
agent.run_sync("Say hello.", limits=Limits(max_steps=1))
print(agent.run_sync("word " * 6000, limits=Limits(timeout=0.2)).status)
"""


def test_a_process_may_end_while_the_engine_works(model: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WORKING_AT_EXIT, str(model)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "timeout", "")
