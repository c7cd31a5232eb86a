"""The tiny models are what their names say, run in llama.cpp, and heed the whole prompt."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import synthetic_ling as ling
from benchmarks.synthetic_vocabulary import LING_VOCABULARY, ling_vocabulary
from ling_agent.backends.gguf import read_gguf_header

from . import synthetic

Logits = NDArray[np.float32]
lib: Any = pytest.importorskip("llama_cpp.llama_cpp")

PROMPT = "<|im_start|>user\nTell me a tale of a fox.<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Kind:
    """A function that writes a model, and what llama.cpp says of it."""

    write: Callable[[Path], Path]
    hybrid: bool = False
    recurrent: bool = False


KINDS = {
    "dense": Kind(synthetic.write_dense),
    "hybrid": Kind(synthetic.write_hybrid, hybrid=True),
    "moe": Kind(synthetic.write_moe),
    "recurrent": Kind(synthetic.write_recurrent, recurrent=True),
}


@dataclass(frozen=True)
class Loaded:
    """A model in llama.cpp."""

    kind: Kind
    path: Path
    model: Any
    vocab: Any

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        buffer = (lib.llama_token * (len(data) + 8))()
        count = lib.llama_tokenize(self.vocab, data, len(data), buffer, len(buffer), False, True)
        return list(buffer[:count])

    def text(self, tokens: list[int]) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        sizes = (lib.llama_token_to_piece(self.vocab, t, buffer, 64, 0, True) for t in tokens)
        return b"".join(buffer.raw[:size] for size in sizes)

    def answer(self, prompt: str, count: int) -> tuple[list[int], Logits]:
        """Greedy tokens, and the logits of each of them."""
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
        context = lib.llama_init_from_model(self.model, params)
        try:
            pending = self.tokens(prompt)
            answer: list[int] = []
            logits: list[Logits] = []
            for _ in range(count):
                buffer = (lib.llama_token * len(pending))(*pending)
                assert lib.llama_decode(context, lib.llama_batch_get_one(buffer, len(pending))) == 0
                size = lib.llama_vocab_n_tokens(self.vocab)
                row = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (size,)).copy()
                pending = [int(row.argmax())]
                answer += pending
                logits.append(row)
            return answer, np.stack(logits)
        finally:
            lib.llama_free(context)


@pytest.fixture(scope="module", params=sorted(KINDS))
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    kind = KINDS[request.param]
    path = kind.write(tmp_path_factory.mktemp("synthetic") / f"{request.param}.gguf")
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(bytes(path), lib.llama_model_default_params())
    assert model, "llama.cpp does not load it"
    yield Loaded(kind, path, model, lib.llama_model_get_vocab(model))
    lib.llama_model_free(model)


def test_llama_cpp_sees_the_kind_of_memory(loaded: Loaded) -> None:
    assert lib.llama_model_is_hybrid(loaded.model) is loaded.kind.hybrid
    assert lib.llama_model_is_recurrent(loaded.model) is loaded.kind.recurrent
    assert loaded.path.stat().st_size < 3_000_000


def test_a_greedy_answer_is_repeatable_and_printable(loaded: Loaded) -> None:
    first, logits = loaded.answer(PROMPT, 20)
    again, _ = loaded.answer(PROMPT, 20)
    assert first == again
    assert np.isfinite(logits).all()
    text = loaded.text(first).decode("ascii")
    assert text.replace("\n", "").isprintable()
    assert loaded.tokens(text), "the text is one that can be part of a prompt"
    assert not any(lib.llama_vocab_is_eog(loaded.vocab, token) for token in first)


def test_an_answer_depends_on_the_beginning_of_the_prompt(loaded: Loaded) -> None:
    answer, logits = loaded.answer(PROMPT, 20)
    other, changed = loaded.answer(PROMPT.replace("Tell", "Sing", 1), 20)
    assert answer != other
    assert np.abs(logits[0] - changed[0]).max() > 0.1


def test_logits_differ_by_position(loaded: Loaded) -> None:
    _, logits = loaded.answer(PROMPT, 20)
    distances = np.abs(logits[1:] - logits[:-1]).max(axis=1)
    assert (distances > 0.1).all()


def test_every_byte_is_tokenised_and_special_tokens_are_one_token(loaded: Loaded) -> None:
    text = "".join(map(chr, range(1, 128))) + "ÄÖß–東京🦊"
    assert loaded.text(loaded.tokens(text)) == text.encode()
    assert len(loaded.tokens("<|im_start|><tool_call></tool_call><|im_end|>")) == 4
    assert len(loaded.tokens("the tale of another")) < len("the tale of another")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_file_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    files = [KINDS[name].write(tmp_path / f"{number}.gguf") for number in (1, 2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_header_counts_a_cache_for_attention_only(loaded: Loaded) -> None:
    per_layer = synthetic.HEAD * (1 + 1) * 2
    expected = {
        "qwen2": (per_layer,) * 4,
        "lfm2": (0, per_layer, 0, per_layer),
        "mamba": (0, 0, 0),
        "bailingmoe2": (per_layer,) * 3,
    }
    header = read_gguf_header(loaded.path)
    assert header.kv_bytes_by_layer("f16") == expected[header.architecture]


# -- the big one, whose code writes the small mixture -----------------------------------------


def test_the_numbers_of_ling_mini_add_up_to_its_parameters() -> None:
    total, active = ling.parameters(ling.Shape(), LING_VOCABULARY)
    assert (round(total / 1e9, 2), round(active / 1e9, 1)) == (16.26, 1.4)


def test_the_vocabulary_of_ling_has_its_size_and_its_special_ids() -> None:
    vocabulary = ling_vocabulary()
    assert len(set(vocabulary.tokens)) == len(vocabulary.kinds) == 157_184
    named = {number: vocabulary.tokens[number] for number in (156_891, 156_892, 156_895)}
    assert list(named.values()) == ["<|startoftext|>", "<|endoftext|>", "<|role_end|>"]
    known = set(vocabulary.tokens)
    for merge in vocabulary.merges:
        first, second = merge.split(" ")
        assert {first, second, first + second} <= known


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_nothing_is_left_of_a_file_that_was_not_finished(
    failure: type[BaseException], tmp_path: Path
) -> None:
    def fail(_done: int, _total: int) -> None:
        assert list(tmp_path.iterdir()), "a part is on disk by now"
        raise failure

    shape = replace(ling.Shape(), num_hidden_layers=2, num_experts=16, hidden_size=32, head_dim=2)
    with pytest.raises(failure):
        ling.write_model(tmp_path / "x.gguf", shape, synthetic.tiny_vocabulary(), progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_disk_fails_in_closing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = ling.GGUFWriter.close

    def fail(writer: ling.GGUFWriter) -> None:
        close(writer)
        raise OSError("no space left")

    monkeypatch.setattr(ling.GGUFWriter, "close", fail)
    with pytest.raises(OSError, match="no space left"):
        synthetic.write_moe(tmp_path / "x.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        synthetic.write_moe(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def little(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=10**9)

    monkeypatch.setattr(ling.shutil, "disk_usage", little)
    assert ling.main([str(tmp_path / "x.gguf")]) == 1
    assert "has 1.0 GB free, 9.2 are needed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [["--layers", "1"], ["--experts", "20"], ["--type", "q5"]])
def test_shapes_that_llama_cpp_would_refuse_are_refused_at_once(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ling.main([str(tmp_path / "x.gguf"), *wrong])
    assert wrong[0] in capsys.readouterr().err
