"""The embedded backend on the real model: requests, sharing, calls, states, errors."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import anyio
import pytest

from ling_agent import Agent, Sampling, Tool, catalog
from ling_agent.backends import (
    Backend,
    Chunk,
    Finished,
    LlamaCppBackend,
    ModelRequest,
    NamedTool,
    TextChunk,
)
from ling_agent.backends.embedded.settings import EngineSettings
from ling_agent.backends.embedded.thread import EngineThread
from ling_agent.demonstrations import IN_PYTHON
from ling_agent.errors import BackendUnavailable, ConfigurationError
from ling_agent.hermes import parse
from ling_agent.messages import SystemMessage, UserMessage
from ling_agent.profiles import CHATML
from ling_agent.testing.conformance import BackendConformance

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> Path:
    path = catalog.cached_path("qwen2.5-coder-0.5b")
    assert path is not None, "run `ling-agent models pull qwen2.5-coder-0.5b` (`make test` does)"
    return path


WITHOUT = """
import sys
sys.modules[sys.argv[2]] = None
from ling_agent import Agent, ConfigurationError
from ling_agent.backends import LlamaCppBackend
try:
    Agent(LlamaCppBackend(sys.argv[1])).run_sync("Hello.")
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize("missing", ["numpy", "llama_cpp", "llama_cpp.llama_cpp", "llguidance"])
def test_without_the_extra_the_error_says_how_to_get_it(model: Path, missing: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(model), missing],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "pip install 'ling-agent[llamacpp]'" in ended.stdout, ended.stderr
    assert ended.stdout.count("\n") == 1


def nothing() -> None:
    """A handler that is never called."""


def test_schemas_that_cannot_be_constrained_are_reported_when_the_agent_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = Tool.from_schema(
        "odd",
        "An odd one.",
        {"type": "object", "properties": {"x": {"not": {"type": "string"}}}},
        nothing,
    )
    Agent("llamacpp:qwen2.5-coder-0.5b", tools=[odd])
    (record,) = caplog.records
    assert record.name == "ling_agent.agent"
    assert "the arguments of odd cannot be constrained" in record.getMessage()
    assert "not" in record.getMessage()


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
async def test_messages_that_other_conversations_begin_with_are_computed_once(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    cached: list[int] = []
    for task in ("What is 3 plus 3?", "Name a colour.", "Name a bird."):
        chunks: list[Chunk] = []
        request = ModelRequest(
            (SystemMessage("Be short."), *IN_PYTHON, UserMessage(task)),
            sampling=Sampling(max_tokens=4),
            conversation=task,
            shared=1 + len(IN_PYTHON),
        )
        async with backend.stream(request) as stream:
            chunks = [chunk async for chunk in stream]
        assert isinstance(chunks[-1], Finished)
        cached.append(chunks[-1].usage.cached_tokens or 0)
    shown = await backend.count_tokens("".join(message.content for message in IN_PYTHON))
    assert shown is not None
    assert cached[0] < 50 < shown < cached[1] == cached[2]


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
    monkeypatch.setattr("ling_agent.backends.embedded.model.available_memory", lambda: 100 << 20)
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


SEARCH: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "search_marketplace",
        "description": "Search GPU offers.",
        "parameters": {
            "type": "object",
            "properties": {
                "gpu": {"type": "string"},
                "max_price": {"type": "number"},
                "sort": {"enum": ["price", "score"]},
            },
            "required": ["gpu", "max_price", "sort"],
        },
    },
}
OTHER: dict[str, object] = {"type": "function", "function": {"name": "now", "description": "Time."}}


async def ask(backend: LlamaCppBackend, text: str, **options: object) -> tuple[str, Finished]:
    """Text and end of an answer to a question with both tools at hand."""
    request = ModelRequest(
        (UserMessage(text),),
        tools=(OTHER, SEARCH),
        **options,  # pyright: ignore[reportArgumentType]
    )
    async with backend.stream(request) as stream:
        chunks = [chunk async for chunk in stream]
    end = chunks[-1]
    assert isinstance(end, Finished)
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)), end


@pytest.mark.anyio
async def test_a_call_that_the_model_writes_without_tags_satisfies_its_schema(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    text, end = await ask(backend, "Use the tool: the cheapest RTX 4090 below half a dollar.")
    (call,) = parse(text, tools=[OTHER, SEARCH], bare_json=True).calls
    assert call.name == "search_marketplace"
    assert set(call.arguments) == {"gpu", "max_price", "sort"}
    assert set(call.repairs) <= {"code_fence", "bare_json"}
    assert end.usage.constrained_tokens > end.usage.forced_tokens > 0


@pytest.mark.anyio
@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_a_required_call_comes_whatever_was_asked(model: Path, temperature: float) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    sampling = Sampling(temperature=temperature, seed=3, max_tokens=300)
    for choice in ("required", NamedTool("search_marketplace")):
        text, end = await ask(backend, "Say hello.", tool_choice=choice, sampling=sampling)
        calls = parse(text, tools=[OTHER, SEARCH]).calls
        assert text.startswith('<tool_call>\n{"name": "')
        # Drawn at 1.5 a string may have no end.
        assert calls or (temperature and end.finish_reason == "length")
        if isinstance(choice, NamedTool):
            assert {call.name for call in calls} <= {choice.name}


@pytest.mark.anyio
async def test_an_answer_in_words_has_no_call(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    text, _ = await ask(
        backend, "Use the tool: find an RTX 4090.", tool_choice="none", sampling=Sampling()
    )
    assert text.strip()
    assert text.lstrip()[0] not in "{[`<"
    assert "<tool_call>" not in text


@pytest.mark.anyio
async def test_an_answer_schema_holds_the_answer_in_words(model: Path) -> None:
    backend = LlamaCppBackend(str(model), n_ctx=2048)
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "millions": {"type": "number"}},
        "required": ["city", "millions"],
    }
    request = ModelRequest((UserMessage("The largest city of Japan?"),), answer_schema=schema)
    async with backend.stream(request) as stream:
        text = "".join([chunk.text async for chunk in stream if isinstance(chunk, TextChunk)])
    answer = json.loads(text)
    assert set(answer) == {"city", "millions"}


@pytest.mark.anyio
async def test_free_text_is_the_same_with_and_without_the_constraint(model: Path) -> None:
    for sampling in (Sampling(max_tokens=48), Sampling(temperature=0.8, top_p=0.9, max_tokens=48)):
        texts = {
            (await ask(backend, "Write a poem about rain, no tool.", sampling=sampling))[0]
            for backend in (
                LlamaCppBackend(str(model), n_ctx=2048),
                LlamaCppBackend(str(model), n_ctx=2048, constrained=False),
            )
        }
        assert len(texts) == 1


@pytest.mark.anyio
async def test_a_resumed_run_goes_on_from_its_saved_state(model: Path, tmp_path: Path) -> None:
    first = LlamaCppBackend(str(model), n_ctx=2048)
    request = ModelRequest((UserMessage("word " * 300),), conversation="run")
    async with first.stream(request) as stream:
        chunks = [chunk async for chunk in stream]
    await first.save_state("run", tmp_path / "run.state")
    # Another number of threads makes it another engine.
    second = LlamaCppBackend(str(model), n_ctx=2048, n_threads=1)
    assert await second.load_state("run", tmp_path / "run.state") == ""
    async with second.stream(request) as stream:
        again = [chunk async for chunk in stream]
    assert isinstance(chunks[-1], Finished)
    assert isinstance(again[-1], Finished)
    assert again[-1].usage.evaluated_tokens == 1
    other = LlamaCppBackend(str(model), n_ctx=1024)
    assert "n_ctx=2048" in await other.load_state("run", tmp_path / "run.state")
