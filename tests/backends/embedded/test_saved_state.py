"""A conversation on disk: it comes back as it was, or with a reason why not."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ling_agent import StoreError
from ling_agent.backends.embedded.saved_state import (
    SavedState,
    StateKey,
    build_fingerprint,
    model_fingerprint,
    read_state,
    write_state,
)

KEY = StateKey("12-ab", "n_ctx=4096 kv_type=f16", "0.3.36-cd")
STATE = SavedState("Grüße, \ud83d", (1, 2, -1, 2**31 - 1), 3, bytes(range(256)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.state"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("states")


def saved(path: Path, state: SavedState = STATE, key: StateKey = KEY) -> bytes:
    write_state(path, key, state)
    return path.read_bytes()


def refusal(path: Path, key: StateKey = KEY) -> str:
    found = read_state(path, key)
    assert isinstance(found, str)
    assert found
    assert "\n" not in found
    assert found[0].islower()
    return found


any_text = st.text(st.characters(exclude_categories=()))


@st.composite
def states(draw: st.DrawFn) -> SavedState:
    tokens = draw(st.lists(st.integers(-(2**31), 2**31 - 1)))
    evaluated = draw(st.integers(0, len(tokens)))
    return SavedState(draw(any_text), tuple(tokens), evaluated, draw(st.binary(max_size=2000)))


@given(state=states(), key=st.builds(StateKey, any_text, any_text, any_text))
def test_a_state_comes_back(folder: Path, state: SavedState, key: StateKey) -> None:
    path = folder / "round.state"
    write_state(path, key, state)
    assert read_state(path, key) == state
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_the_data_may_be_any_bytes(
    path: Path, kind: Callable[[bytes], bytearray | memoryview]
) -> None:
    write_state(path, KEY, replace(STATE, data=kind(bytes(STATE.data))))
    assert read_state(path, KEY) == STATE


def test_only_the_user_may_read_it(path: Path) -> None:
    path.touch(0o644)
    write_state(path, KEY, STATE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_text_is_not_shown_in_logs() -> None:
    assert repr(STATE) == "SavedState(evaluated=3)"


@pytest.mark.parametrize("evaluated", [-1, 5])
def test_evaluated_counts_tokens(evaluated: int) -> None:
    with pytest.raises(ValueError, match="of 4 tokens evaluated"):
        replace(STATE, evaluated=evaluated)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(KEY, model="13-ef"), "of another model file: it is computed again"),
        (
            replace(KEY, settings="n_ctx=8192 kv_type=f16"),
            "of other settings (n_ctx=4096, now n_ctx=8192): it",
        ),
        (
            replace(KEY, settings="n_ctx=4096 kv_type=f16 rope=2"),
            "of other settings (default, now rope=2): it",
        ),
        (
            replace(KEY, build="0.3.37-ff"),
            "of another llama.cpp build (0.3.36-cd, now 0.3.37-ff): it",
        ),
        (
            StateKey("13-ef", KEY.settings, "0.3.37-ff"),
            "of another model file and another llama.cpp build",
        ),
    ],
)
def test_a_state_of_something_else_is_refused(path: Path, now: StateKey, words: str) -> None:
    saved(path)
    assert words in refusal(path, now)


def test_equal_keys_have_no_difference() -> None:
    assert KEY.difference(replace(KEY)) == ""


def test_a_key_of_several_lines_is_refused_in_one(path: Path) -> None:
    saved(path, key=replace(KEY, build="a\nb"))
    assert "(a b, now 0.3.36-cd)" in refusal(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    assert refusal(path) == "there is no saved state: it is computed again"


@pytest.mark.parametrize("data", [b"GGUF" + bytes(100), b"x", b"LINGKV\n\n" + bytes(100)])
def test_a_foreign_file_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "is not a saved state of ling_agent" in refusal(path)


def test_what_is_not_a_file_is_refused(tmp_path: Path, path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)
    os.mkfifo(path)
    assert "run.state is not a file" in refusal(path)


def test_a_newer_version_is_refused(path: Path) -> None:
    data = bytearray(saved(path))
    data[8] += 1
    path.write_bytes(data)
    assert "of a newer ling_agent (version 2, this one reads version 1)" in refusal(path)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "permission denied"), (errno.EIO, "input/output error")],
)
def test_a_file_that_cannot_be_read_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    saved(path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)
    assert f"the saved state cannot be read ({words})" in refusal(path)


@given(st.data())
def test_a_file_that_is_cut_off_is_refused(folder: Path, data: st.DataObject) -> None:
    path = folder / "cut.state"
    whole = saved(path)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert refusal(path) == "the saved state is cut off: it is computed again"


def test_a_file_that_goes_on_is_refused(path: Path) -> None:
    path.write_bytes(saved(path) + b"x")
    assert refusal(path) == "the saved state is damaged: it is computed again"


@given(st.data())
def test_a_changed_byte_is_refused(folder: Path, data: st.DataObject) -> None:
    path = folder / "flipped.state"
    whole = bytearray(saved(path))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    words = refusal(path)
    if place >= len(whole) - len(body()):
        assert words == "the saved state is damaged: it is computed again"


def body() -> bytes:
    text = STATE.text.encode("utf-8", "surrogatepass")
    return struct.pack("<4i", *STATE.tokens) + text + bytes(STATE.data)


def with_header(header: object, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<8sBII", b"LINGKV\r\n", 1, len(text), zlib.crc32(text)) + text + rest


HEADER: dict[str, Any] = {
    "model": KEY.model,
    "settings": KEY.settings,
    "build": KEY.build,
    "tokens": 4,
    "evaluated": 3,
    "text": len(body()) - 4 * 4 - 256,
    "data": 256,
    "checksum": zlib.crc32(body()),
}


def test_the_format_is_as_documented(path: Path) -> None:
    path.write_bytes(with_header(HEADER, body()))
    assert read_state(path, KEY) == STATE
    assert saved(path) == with_header(HEADER, body())


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[" * 100_000,
        b"\xff",
        [],
        HEADER | {"build": None},
        HEADER | {"tokens": "4"},
        HEADER | {"tokens": -4},
        HEADER | {"data": 256.0},
        HEADER | {"evaluated": 5},
        HEADER | {"note": "x" * (1 << 20)},
        {name: value for name, value in HEADER.items() if name != "checksum"},
    ],
)
def test_an_odd_header_is_refused(path: Path, header: object) -> None:
    path.write_bytes(with_header(header, body()))
    assert "is damaged" in refusal(path)


def test_lengths_that_only_add_up_are_refused(path: Path) -> None:
    header = HEADER | {"tokens": 0, "evaluated": 0, "checksum": zlib.crc32(b"ab")}
    path.write_bytes(with_header(header | {"text": 3, "data": -1}, b"ab"))
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize("name", ["tokens", "text", "data"])
def test_a_length_beyond_the_file_takes_no_memory(path: Path, name: str) -> None:
    path.write_bytes(with_header(HEADER | {name: 1 << 60}, body()))
    assert "is cut off" in refusal(path)


def test_a_text_that_is_no_text_is_refused(path: Path) -> None:
    header = HEADER | {"tokens": 0, "evaluated": 0, "text": 1, "data": 0}
    path.write_bytes(with_header(header | {"checksum": zlib.crc32(b"\xff")}, b"\xff"))
    assert "is damaged" in refusal(path)


# --- writing that fails


def in_process(code: str, path: Path) -> subprocess.Popen[str]:
    """Python that has `path` and writes states of ``size`` bytes with ``save(size)``."""
    head = (
        "import os, resource, signal, sys, time\n"
        "from pathlib import Path\n"
        "from ling_agent import StoreError\n"
        "from ling_agent.backends.embedded.saved_state import *\n"
        f"path = Path({str(path)!r})\n"
        f"key = StateKey({KEY.model!r}, {KEY.settings!r}, {KEY.build!r})\n"
        "def save(size):\n"
        "    write_state(path, key, SavedState('', (), 0, bytes([size % 256]) * size))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    saved(path)
    code = (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    save(3_000_000)\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    words, _ = in_process(code, path).communicate()
    assert words == (
        f"the conversation's state was not saved to {path} (file too large): "
        "make room for 3 MB, or name a file on another disk\n"
    )
    assert os.listdir(path.parent) == [path.name]
    assert read_state(path, KEY) == STATE


def test_ctrl_c_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(path)

    def interrupt(_: int) -> None:
        assert len(os.listdir(path.parent)) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_state(path, KEY, replace(STATE, text="new"))
    assert os.listdir(path.parent) == [path.name]
    assert read_state(path, KEY) == STATE


def test_a_process_that_is_killed_before_the_end_leaves_the_old_file(path: Path) -> None:
    saved(path)
    code = (
        "def hang(_):\n"
        "    print('written', flush=True)\n"
        "    time.sleep(600)\n"
        "os.fsync = hang\n"
        "save(3_000_000)\n"
    )
    process = in_process(code, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()
    assert read_state(path, KEY) == STATE


def test_a_process_that_is_killed_anywhere_leaves_a_whole_file(path: Path) -> None:
    sizes = (3_000_001, 4_000_002)
    code = f"while True:\n    for size in {sizes}:\n        save(size)\n        print(flush=True)\n"
    for written in range(1, 6):
        process = in_process(code, path)
        assert process.stdout is not None
        for _ in range(written):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = read_state(path, KEY)
        assert isinstance(found, SavedState)
        assert len(found.data) in sizes
        assert bytes(found.data) == bytes([len(found.data) % 256]) * len(found.data)


def test_what_killed_processes_left_behind_is_removed_in_time(path: Path) -> None:
    fresh, old, foreign = (
        path.with_name(name)
        for name in (".ling_agent-state-1.part", ".ling_agent-state-2.part", ".other.part")
    )
    for file in (fresh, old, foreign):
        file.touch()
    long_ago = time.time() - 7200
    for file in (old, foreign):
        os.utime(file, (long_ago, long_ago))
    saved(path)
    assert sorted(path.parent.iterdir()) == sorted([fresh, foreign, path])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/run.state", "(no such file or directory): make its folder first"),
        ("file/run.state", "(not a directory): make its folder first"),
        ("folder", "(is a directory): name a file, not a folder"),
    ],
)
def test_where_nothing_can_be_written_the_error_says_what_to_do(
    tmp_path: Path, place: str, words: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError) as caught:
        write_state(tmp_path / place, KEY, STATE)
    assert str(caught.value).endswith(f"{place} {words}")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


# --- fingerprints

SIZES = [0, 1, 100_000, 6 << 20, (6 << 20) + 1, 20 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_a_model_is_known_by_its_size_beginning_and_end(tmp_path: Path, size: int) -> None:
    content = bytearray(size)
    prints = {model_fingerprint(write(tmp_path, content))}
    assert prints == {model_fingerprint(write(tmp_path, content))}
    for place in {0, min(size, 4 << 20) - 1, size - 1} if size else ():
        content[place] = 1
        prints.add(model_fingerprint(write(tmp_path, content)))
        content[place] = 0
    prints.add(model_fingerprint(write(tmp_path, content + b"\0")))
    assert len(prints) == 1 + 1 + (0 if not size else len({0, min(size, 4 << 20) - 1, size - 1}))


def test_a_large_model_is_sampled_all_over(tmp_path: Path) -> None:
    content = bytearray(20 << 20)
    before = model_fingerprint(write(tmp_path, content))
    for start in range(4 << 20, 18 << 20, 2 << 20):
        content[start : start + (2 << 20)] = b"\1" * (2 << 20)
        assert model_fingerprint(write(tmp_path, content)) != before
        content[start : start + (2 << 20)] = bytes(2 << 20)


@settings(max_examples=30)
@given(st.integers(0, (6 << 20) - 1))
def test_of_a_small_model_every_byte_counts(folder: Path, place: int) -> None:
    content = bytearray(6 << 20)
    before = model_fingerprint(write(folder, content))
    content[place] = 1
    assert model_fingerprint(write(folder, content)) != before


def write(folder: Path, content: bytes | bytearray) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_a_model_that_is_missing_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"gone\.gguf cannot be read \(no such file or directory\)"
    ):
        model_fingerprint(tmp_path / "gone.gguf")


def libraries(folder: Path, **contents: str) -> Any:
    """What `build_fingerprint` needs of ``llama_cpp.llama_cpp``."""
    lib = folder / "lib"
    lib.mkdir(parents=True)
    for name, content in contents.items():
        (lib / name.replace("_", ".")).write_text(content)
    return SimpleNamespace(
        _lib=SimpleNamespace(_name=str(lib / "libllama.so")), __file__=str(folder / "llama_cpp.py")
    )


def test_a_build_is_known_by_its_libraries_and_not_by_what_else_lies_there(
    tmp_path: Path,
) -> None:
    def build(name: str, **contents: str) -> str:
        return build_fingerprint(libraries(tmp_path / name, **contents))

    plain = build("a", libllama_so="1", libggml_so="2")
    assert build("b", libllama_so="1", libggml_so="2", libggml_so_0_25="2", libc_so="3") == plain
    assert build("c", libllama_so="1", libggml_so="2", libllama_txt="3") == plain
    assert build("d", libllama_so="0", libggml_so="2") != plain
    assert build("e", libllama_so="1", libggml_so="0") != plain
    assert build("f", llama_dll="1", ggml_dll="2") == plain
    assert build("g", libllama_dylib="1", libggml_dylib="2") == plain


def test_a_build_is_read_once_per_process(tmp_path: Path) -> None:
    lib = libraries(tmp_path, libllama_so="1")
    before = build_fingerprint(lib)
    (tmp_path / "lib" / "libllama.so").write_text("2")
    assert build_fingerprint(lib) == before


def test_a_library_without_a_path_is_looked_for_in_the_package(tmp_path: Path) -> None:
    lib = libraries(tmp_path, libllama_so="1")
    before = build_fingerprint(lib)
    lib._lib._name = "libllama.so"
    assert build_fingerprint(lib) == before


def test_a_build_without_libraries_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="install llama-cpp-python again"):
        build_fingerprint(libraries(tmp_path / "empty"))
    lib = libraries(tmp_path / "gone")
    (tmp_path / "gone" / "lib").rmdir()
    with pytest.raises(StoreError, match="install llama-cpp-python again"):
        build_fingerprint(lib)


def test_the_installed_build_has_a_fingerprint() -> None:
    lib = pytest.importorskip("llama_cpp.llama_cpp")
    version = sys.modules["llama_cpp"].__version__
    assert build_fingerprint(lib).startswith(f"{version}-")
