"""The engine on tiny models: whatever is cached, copied, batched or cancelled, answers stay.

The weights are random, so the text means nothing; that it depends on every token of the prompt is
what makes these tests worth something (see ``test_synthetic``).
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ling_agent import Sampling
from ling_agent.backends import TextChunk
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.settings import EngineSettings
from ling_agent.backends.embedded.snapshots import Bytes
from ling_agent.errors import BackendUnavailable, ConfigurationError, ContextOverflow

from . import synthetic
from .conftest import Load
from .support import Talk, begin, finish, generate, user

pytestmark = pytest.mark.model

SYSTEM = "<|im_start|>system\n" + "Be brief, exact and kind. " * 6 + "<|im_end|>\n"
SHORT = Sampling(max_tokens=8)
KINDS = ["dense", "hybrid", "recurrent", "moe"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_step_evaluates_only_what_is_new(load: Load, kind: str) -> None:
    engine = load(kind)
    talk = Talk("a", SYSTEM + user("Name three colours."))
    first = talk.step(engine, "And one more?")
    second = talk.step(engine, "Thank you.")
    # The last token of an answer that was cut is chosen, and not evaluated.
    known = first.usage.prompt_tokens + first.usage.completion_tokens - 1
    assert second.usage.cached_tokens == known


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_prompt_gives_the_same_answer_from_the_cache(load: Load, kind: str) -> None:
    engine = load(kind)
    prompt = SYSTEM + user("Name three colours.")
    first = generate(engine, prompt, conversation="a")
    again = generate(engine, prompt, conversation="a")
    assert again.text == first.text
    assert again.usage.evaluated_tokens == 1
    assert first.usage.cached_tokens == 0


# Not "moe": the prompt is computed in batches of other sizes, and where they round differently an
# expert of random weights is as good as another.
@pytest.mark.parametrize("kind", ["dense", "hybrid", "recurrent"])
def test_a_prompt_that_turns_off_before_its_end_gives_the_same_answer(
    load: Load, kind: str
) -> None:
    engine = load(kind)
    start = SYSTEM + user("Name three colours.")
    generate(engine, start + "red, green", conversation="a")
    turned = generate(engine, start + "blue, white", conversation="a")
    alone = generate(load(kind), start + "blue, white")
    assert turned.text == alone.text


@pytest.mark.parametrize("kind", ["hybrid", "recurrent"])
def test_a_checkpoint_that_is_refused_is_computed_again(
    load: Load, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, prompt = load(kind), SYSTEM + user("Name three colours.")
    expected = generate(engine, prompt, conversation="a").text
    write_state = engine.model.write_state

    def refused(stream: int, data: Bytes, *, partial: bool = False) -> bool:
        return write_state(stream, data[:8] if partial else data, partial=partial)

    monkeypatch.setattr(engine.model, "write_state", refused)
    again = generate(engine, prompt, conversation="a")
    assert again.text == expected
    assert again.usage.cached_tokens == 0


@pytest.mark.parametrize("kind", KINDS)
def test_system_prompt_and_tools_are_computed_once_for_all_conversations(
    load: Load, kind: str
) -> None:
    engine = load(kind)
    shared = len(engine.model.vocabulary.tokenize(SYSTEM))
    first = generate(engine, SYSTEM + user("One?"), prefix=SYSTEM, conversation="a")
    second = generate(engine, SYSTEM + user("Two?"), prefix=SYSTEM, conversation="b")
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens == shared
    alone = generate(load(kind), SYSTEM + user("Two?"), prefix=SYSTEM)
    assert second.text == alone.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_that_lost_its_slot_goes_on_without_computing_it_again(
    load: Load, kind: str
) -> None:
    engine = load(kind, n_parallel=1)
    talk = Talk("a", SYSTEM + user("Name three colours."))
    first = talk.step(engine, "And one more?")
    generate(engine, user("Something else."), conversation="b")
    second = talk.step(engine, "Thank you.")
    known = first.usage.prompt_tokens + first.usage.completion_tokens - 1
    assert second.usage.cached_tokens == known


def test_a_thousand_steps_of_sixteen_conversations_are_those_of_each_alone(load: Load) -> None:
    rounds, names = 63, [f"talk {number}" for number in range(16)]
    engine = load(n_ctx=2048, n_parallel=4)
    talks = {name: Talk(name, SYSTEM + user(name)) for name in names}
    answers: dict[str, list[str]] = {name: [] for name in names}
    shuffled = random.Random(1)
    for _ in range(rounds):
        for name in shuffled.sample(names, len(names)):
            answer = talks[name].step(engine, "on", sampling=Sampling(max_tokens=4), prefix=SYSTEM)
            answers[name].append(answer.text)
    assert sum(map(len, answers.values())) >= 1000
    for name in names:
        alone, talk = load(n_ctx=2048, n_parallel=4), Talk(name, SYSTEM + user(name))
        for text in answers[name]:
            answer = talk.step(alone, "on", sampling=Sampling(max_tokens=4), prefix=SYSTEM)
            assert answer.text == text
        alone.close()


def test_answers_at_the_same_time_are_complete_and_each_of_its_own_prompt(load: Load) -> None:
    engine = load(n_parallel=3)
    prompts = [user(f"What is {number} plus {number}?") for number in range(7)]
    together = [begin(engine, prompt, conversation=prompt) for prompt in prompts]
    finish(engine)
    for prompt, answer in zip(prompts, together, strict=True):
        assert answer.usage.completion_tokens > 0
        assert answer.usage.prompt_tokens == len(engine.model.vocabulary.tokenize(prompt))
        # Batches of another size round differently: a near tie may fall the other way.
        assert answer.text[:1] == generate(engine, prompt).text[:1]


def test_a_long_prompt_does_not_stall_the_others(load: Load) -> None:
    engine = load(n_batch=64, n_parallel=2)
    quick = begin(engine, user("Quick."), sampling=Sampling(max_tokens=40))
    for _ in range(4):
        engine.tick()
    before = len(quick.chunks)
    slow = begin(engine, user("word " * 120))
    while not slow.chunks and not engine.idle:
        engine.tick()
    # It got a token with each piece of the long prompt, of an eighth of a batch.
    assert len(quick.chunks) - before >= 20
    finish(engine)
    assert slow.usage.completion_tokens > 0


def test_more_requests_than_slots_wait_for_their_turn(load: Load) -> None:
    engine = load(n_parallel=1)
    answers = [begin(engine, user(f"{n}"), sampling=SHORT, conversation=str(n)) for n in range(3)]
    finish(engine)
    assert [answer.usage.completion_tokens for answer in answers] == [8, 8, 8]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [1, 5])
def test_a_cancelled_answer_leaves_its_sequence_usable(load: Load, kind: str, after: int) -> None:
    engine = load(kind)
    prompt = SYSTEM + user("Count.")
    whole = generate(engine, prompt, conversation="a").text
    cut = generate(engine, prompt, conversation="a", cancel_after=after)
    assert whole.startswith(cut.text)
    assert generate(engine, prompt, conversation="a").text == whole


def test_a_request_that_is_cancelled_while_it_waits_is_never_begun(load: Load) -> None:
    engine = load(n_parallel=1)
    first = begin(engine, user("One."), conversation="a")
    second = begin(engine, user("Two."), conversation="b")
    second.cancelled.set()
    finish(engine)
    assert first.usage.completion_tokens > 0
    assert second.chunks == []


def test_cancelling_one_answer_leaves_the_other_as_it_was(load: Load) -> None:
    engine = load(n_parallel=2)
    kept = begin(engine, user("Kept."), conversation="a")
    dropped = begin(engine, user("Dropped."), conversation="b", cancel_after=3)
    finish(engine)
    assert kept.usage.completion_tokens == 32
    assert len(dropped.chunks) == 3


def test_two_requests_of_one_conversation_at_once_do_not_disturb_each_other(load: Load) -> None:
    engine = load()
    prompt = user("Hello.")
    both = [begin(engine, prompt, conversation="a") for _ in range(2)]
    finish(engine)
    assert both[0].text == both[1].text
    assert generate(engine, prompt, conversation="a").usage.evaluated_tokens == 1


def test_an_error_in_a_callers_function_reaches_the_caller_and_nobody_else(load: Load) -> None:
    engine = load()

    def broken(_: str) -> bool:
        raise RuntimeError("mine")

    good = begin(engine, user("Good."), conversation="a")
    bad = begin(engine, user("Bad."), conversation="b", stop_when=broken)
    finish(engine)
    assert good.usage.completion_tokens == 32
    with pytest.raises(BackendUnavailable, match=r"the embedded engine failed: .*mine"):
        _ = bad.end


def test_stop_when_ends_an_answer_with_that_piece(load: Load) -> None:
    engine = load()
    seen: list[str] = []

    def third(piece: str) -> bool:
        seen.append(piece)
        return len(seen) == 3

    answer = generate(engine, user("Stop."), stop_when=third)
    assert answer.text == "".join(seen)
    assert answer.end.finish_reason == "stop"


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_weighed_and_nothing_is_generated(load: Load, kind: str) -> None:
    engine, prompt = load(kind), SYSTEM + user("Is red a colour?")
    words = ("yes", "no", "yes", "a longer text")
    weighed = generate(engine, prompt, conversation="a", weigh=words)
    weights = weighed.end.weights
    assert (weighed.text, weighed.end.finish_reason) == ("", "stop")
    assert weighed.usage.completion_tokens == 0
    assert len(weights) == len(words)
    assert weights[0] == weights[2]
    assert all(weight < 0 for weight in weights)
    again = generate(engine, prompt, conversation="a", weigh=words)
    assert again.end.weights == pytest.approx(weights, abs=1e-3)
    assert again.usage.evaluated_tokens == 1
    # The prompt behind it goes on as if nobody had asked.
    after = generate(engine, prompt, conversation="a").text
    assert after == generate(load(kind), prompt).text


def test_all_words_together_are_certain_and_the_first_is_the_likeliest(load: Load) -> None:
    engine, prompt = load(), SYSTEM + user("Is red a colour?")
    vocabulary = engine.model.vocabulary
    pieces = {vocabulary.piece(token) for token in range(vocabulary.size)}
    texts = [piece.decode() for piece in pieces if piece.isascii()]
    words = tuple(text for text in texts if text and len(vocabulary.tokenize(text)) == 1)
    weights = generate(engine, prompt, weigh=words).end.weights
    total = sum(math.exp(weight) for weight in weights)
    assert 0 < total <= 1 + 1e-6
    first = generate(engine, prompt, sampling=Sampling(max_tokens=1)).text
    if first in words:
        assert words[weights.index(max(weights))] == first


def test_words_are_weighed_whatever_else_is_asked_for(load: Load) -> None:
    engine, prompt = load(), SYSTEM + user("Is red a colour?")
    tools = ({"type": "function", "function": {"name": "now"}},)
    free = generate(engine, prompt, weigh=("yes", "no")).end
    held = generate(engine, prompt, weigh=("yes", "no"), tools=tools, choice="required").end
    assert held.weights == pytest.approx(free.weights, abs=1e-3)
    assert held.notes == ()


def test_max_tokens_ends_an_answer_as_length(load: Load) -> None:
    answer = generate(load(), user("Hello."), sampling=Sampling(max_tokens=3))
    assert answer.end.finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_the_window_ends_an_answer_as_length(load: Load) -> None:
    engine = load(n_ctx=256)
    prompt = user("x" * 150)
    answer = generate(engine, prompt, sampling=Sampling(max_tokens=1000))
    assert answer.end.finish_reason == "length"
    assert answer.usage.total_tokens == 256


def test_a_prompt_that_does_not_fit_is_refused(load: Load) -> None:
    with pytest.raises(ContextOverflow) as caught:
        generate(load(), user("word " * 3000))
    assert caught.value.context_window == 1024


def test_every_byte_and_script_survives_tokens_and_pieces(load: Load) -> None:
    engine = load()
    text = "Grüße 🎉 日本語 \u2028 <tool_call> \t\r\n " + "".join(map(chr, range(1, 256)))
    tokens = engine.model.vocabulary.tokenize(text)
    assert b"".join(map(engine.model.vocabulary.piece, tokens)).decode() == text


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln 🎉👩‍👩‍👧", "日本語と中文，混在", "\u00ad\u2028\U0010ffff"]
)
def test_no_piece_of_an_answer_breaks_a_character(load: Load, text: str) -> None:
    # The tiny vocabulary has a token for each byte and none for a character of several.
    schema = {"type": "object", "properties": {"x": {"const": text}}, "required": ["x"]}
    long = Sampling(max_tokens=200)
    answer = generate(load(), user("Say it."), answer_schema=schema, sampling=long)
    assert json.loads(answer.text) == {"x": text}
    pieces = [chunk.text for chunk in answer.chunks if isinstance(chunk, TextChunk)]
    assert len(pieces) > len(text)
    assert "\ufffd" not in "".join(pieces)
    cut = generate(load(), user("Say it."), answer_schema=schema, sampling=Sampling(max_tokens=9))
    assert answer.text.startswith(cut.text.rstrip("\ufffd"))


def test_sampling_is_reproducible_by_its_seed(load: Load) -> None:
    engine = load()
    warm = Sampling(temperature=1.5, top_p=0.95, top_k=50, min_p=0.01, max_tokens=16, seed=7)
    texts = [generate(engine, user("Hi."), sampling=warm).text for _ in range(2)]
    other = generate(engine, user("Hi."), sampling=Sampling(temperature=1.5, max_tokens=16, seed=8))
    assert texts[0] == texts[1]
    assert other.text != texts[0]


def test_the_numbers_add_up(load: Load) -> None:
    engine = load()
    generate(engine, SYSTEM + user("One?"), prefix=SYSTEM, conversation="a")
    usage = generate(engine, SYSTEM + user("Two?"), prefix=SYSTEM, conversation="b").usage
    assert usage.cached_tokens is not None
    assert usage.evaluated_tokens == usage.prompt_tokens - usage.cached_tokens
    assert usage.evaluated_tokens is not None
    assert usage.prefill_tokens_per_second is not None
    assert usage.decode_tokens_per_second is not None
    assert usage.constrained_tokens == usage.forced_tokens == 0
    total = usage + usage
    assert total.evaluated_tokens == usage.evaluated_tokens * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_is_taken_up_by_another_engine(load: Load, kind: str, tmp_path: Path) -> None:
    first, talk = load(kind), Talk("run", SYSTEM + user("Name three colours."))
    talk.step(first, "And one more?")
    first.save_state("run", tmp_path / "run.state")
    second = load(kind)
    assert second.load_state("run", tmp_path / "run.state") == ""
    expected = generate(first, talk.prompt, conversation="run")
    resumed = generate(second, talk.prompt, conversation="run")
    assert resumed.text == expected.text
    assert resumed.usage.cached_tokens == expected.usage.cached_tokens
    assert resumed.usage.cached_tokens


def test_a_state_of_another_model_or_other_settings_is_refused_and_computed_again(
    load: Load, tmp_path: Path
) -> None:
    engine, path = load(), tmp_path / "run.state"
    prompt = user("Hello.")
    text = generate(engine, prompt, conversation="run").text
    engine.save_state("run", path)
    assert "another model file" in load("moe").load_state("run", path)
    other = load(n_ctx=512)
    assert "n_ctx=1024" in other.load_state("run", path)
    assert generate(other, prompt, conversation="run").text == text
    with pytest.raises(Exception, match="no state of the run 'unknown'"):
        engine.save_state("unknown", path)


def test_a_state_that_is_saved_in_the_middle_of_an_answer_is_that_of_its_own_tokens(
    load: Load, tmp_path: Path
) -> None:
    engine, path = load(), tmp_path / "run.state"
    generate(engine, SYSTEM + user("A long way round. " * 10), conversation="run")
    turned = SYSTEM + user("Another way.")
    begin(engine, turned, conversation="run")
    for _ in range(6):
        engine.tick()
    engine.save_state("run", path)
    finish(engine)
    other = load()
    assert other.load_state("run", path) == ""
    resumed = generate(other, turned, conversation="run")
    assert resumed.text == generate(load(), turned).text
    assert resumed.usage.cached_tokens


def test_a_state_whose_answer_is_no_exact_text_can_be_saved(load: Load, tmp_path: Path) -> None:
    engine, prompt = load(), user("Hello.")
    # Warm enough for bytes that are no character.
    wild = Sampling(temperature=3.0, max_tokens=60)
    answer = generate(engine, prompt, conversation="run", sampling=wild)
    assert "\ufffd" in answer.text
    engine.save_state("run", tmp_path / "run.state")
    other = load()
    assert other.load_state("run", tmp_path / "run.state") == ""
    assert generate(other, prompt, conversation="run").usage.evaluated_tokens == 1


def test_a_state_that_is_loaded_is_kept_however_large_it_is(load: Load, tmp_path: Path) -> None:
    engine, path = load(), tmp_path / "run.state"
    generate(engine, user("Hello."), conversation="run")
    engine.save_state("run", path)
    other = load()
    other.slots.budget = 1
    assert other.load_state("run", path) == ""
    assert generate(other, user("Hello."), conversation="run").usage.evaluated_tokens == 1


def test_a_state_is_not_loaded_into_a_run_that_is_at_work(load: Load, tmp_path: Path) -> None:
    engine, path = load(), tmp_path / "run.state"
    expected = generate(engine, user("Hello."), conversation="run").text
    engine.save_state("run", path)
    answer = begin(engine, user("Hello."), conversation="run")
    assert "is at work" in engine.load_state("run", path)
    finish(engine)
    assert answer.text == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ctx": 10}, "n_ctx must be at least 64"),
        ({"n_parallel": 0}, "n_parallel must be between"),
        ({"kv_type": "f12"}, "unknown kv_type 'f12'; known: f32, f16"),
        ({"kv_type": "q8_0", "flash_attention": False}, "needs flash attention"),
        ({"n_cpu_moe": -1}, "n_cpu_moe must not be negative"),
        ({"n_batch": 0}, "n_batch must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    settings: dict[str, int | str | bool], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EngineSettings(Path("x.gguf"), **settings)  # pyright: ignore[reportArgumentType]


def test_the_reason_of_a_failure_is_told_whoever_had_the_log_before(
    load: Load, tmp_path: Path
) -> None:
    lib = load().model.lib
    elsewhere = lib.llama_log_callback(print)
    lib.llama_log_set(elsewhere, None)
    broken = tmp_path / "broken.gguf"
    synthetic.write_dense(broken)
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(BackendUnavailable, match=r"could not load .*(corrupted|not within|bounds)"):
        Engine(EngineSettings(broken))


@pytest.mark.parametrize("settings", [{"kv_type": "q8_0"}, {"n_cpu_moe": 2}, {"n_batch": 1}])
def test_other_settings_compute_too(load: Load, settings: dict[str, int | str]) -> None:
    kind = "moe" if "n_cpu_moe" in settings else "dense"
    assert generate(load(kind, **settings), user("Hello.")).usage.completion_tokens == 32


FLAT = """
import resource, sys
from pathlib import Path
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.settings import EngineSettings
from tests.backends.embedded.support import Talk, user

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

engine = Engine(EngineSettings(Path(sys.argv[1]), n_ctx=1024, n_threads=1))
system = "<|im_start|>system\\n" + "Be brief. " * 20 + "<|im_end|>\\n"
sizes = []
for run in range(550):
    talk = Talk(f"run {run}", system + user(f"task {run}"))
    for step in range(3):
        talk.step(engine, "on", prefix=system)
    if run in (49, 549):
        sizes.append(resident())
print(sizes[1] / sizes[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_500_runs(tiny_models: dict[str, Path]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FLAT, str(tiny_models["dense"])],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parents[3],
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 1.05
