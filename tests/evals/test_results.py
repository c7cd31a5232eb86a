"""The results directory: torn lines, full disks, other versions, two writers."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ling_agent import ConfigurationError, StoreError
from ling_agent.evals.benchmark import Outcome
from ling_agent.evals.lines import from_line, plain, to_line
from ling_agent.evals.manifest import FORMAT, Manifest
from ling_agent.evals.results import natural, read_results, writing
from ling_agent.results import Usage

from ..cli.terminals import environment

MANIFEST = Manifest(
    benchmark="sums",
    benchmark_version="1.0",
    subject={"model": "scripted", "temperature": 0.0},
    selection={"limit": None},
    case_timeout=600.0,
    cases={"small": 3, "large": 2},
    headline=("small",),
)


def outcome(case: str, *, category: str = "small", text: str = "") -> Outcome:
    return Outcome(
        case=case,
        category=category,
        passed=True,
        score=1.0,
        verdict="ok",
        prompt="Add.",
        text=text,
        calls=({"name": "add", "arguments": {"a": 1}},),
        repairs=("missing_brace",),
        usage=Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=None, requests=1),
        seconds=0.25,
        status="completed",
        details={"x": [1, None]},
    )


def kept(directory: Path, *cases: str) -> None:
    with writing(directory, MANIFEST) as writer:
        for case in cases:
            writer.append(outcome(case))


@pytest.mark.parametrize(
    "text", ["", "a\nb\r\nc\u2028d\x00", "\ud800 alone", "<script>\u202e</script>", "é" * 1000]
)
def test_an_outcome_survives_its_line(text: str) -> None:
    line = to_line(outcome("small_1", text=text))
    assert line.isascii()
    assert "\n" not in line
    assert from_line(line) == outcome("small_1", text=text)


def test_whatever_a_judge_puts_into_the_details_becomes_json() -> None:
    value = {1: (float("nan"), float("inf"), {"b", "a"}), "path": Path("x"), "kept": [True, None]}
    told = plain(value)
    assert told["1"] == ["nan", "inf", ["a", "b"]]
    assert "Path" in told["path"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_fields_of_a_later_version_are_left_out() -> None:
    data = json.loads(to_line(outcome("small_1")))
    data["later"] = 1
    data["usage"]["later"] = 1
    assert from_line(json.dumps(data)) == outcome("small_1")


@pytest.mark.parametrize("line", ["", "{}", "[1]", "null", '{"case": "a"}', "nonsense"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_line(line)


def test_cases_are_ordered_by_category_and_number(tmp_path: Path) -> None:
    with writing(tmp_path, MANIFEST) as writer:
        for case, category in (("b_10", "large"), ("b_2", "large"), ("a_1", "small")):
            writer.append(outcome(case, category=category))
    assert [o.case for o in read_results(tmp_path).outcomes] == ["a_1", "b_2", "b_10"]
    assert sorted(["c10", "2", "c2", "c", "1_a"], key=natural) == ["c", "c2", "c10", "1_a", "2"]


def test_a_line_torn_at_any_byte_loses_that_case_only(tmp_path: Path) -> None:
    kept(tmp_path, "small_1", "small_2")
    file = tmp_path / "results.jsonl"
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        file.write_bytes(whole[:end])
        assert [o.case for o in read_results(tmp_path).outcomes] == ["small_1"], end
    # Of the last state: the next writer cuts the torn line off.
    with writing(tmp_path, MANIFEST) as writer:
        assert list(writer.outcomes) == ["small_1"]
        assert file.read_bytes() == whole[:first]
        writer.append(outcome("small_2"))
    assert file.read_bytes() == whole


def test_reading_changes_nothing(tmp_path: Path) -> None:
    kept(tmp_path, "small_1")
    file = tmp_path / "results.jsonl"
    torn = file.read_bytes() + b'{"case": "sm'
    file.write_bytes(torn)
    read_results(tmp_path)
    assert file.read_bytes() == torn


def test_zeros_of_a_power_cut_are_a_torn_line(tmp_path: Path) -> None:
    kept(tmp_path, "small_1")
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b"\x00" * 100)
    assert [o.case for o in read_results(tmp_path).outcomes] == ["small_1"]


def test_another_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    kept(tmp_path, "small_1", "small_2", "small_3")
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = lines[1][:-5]
    file.write_text("\n".join(lines) + "\n")
    for use in (lambda: read_results(tmp_path), lambda: kept(tmp_path)):
        with pytest.raises(StoreError, match=r"results\.jsonl line 2 cannot be read .* delete"):
            use()


def test_the_last_line_of_a_case_counts(tmp_path: Path) -> None:
    kept(tmp_path, "small_1")
    with writing(tmp_path, MANIFEST) as writer:
        writer.append(dataclasses.replace(outcome("small_1"), passed=False))
    assert [o.passed for o in read_results(tmp_path).outcomes] == [False]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": FORMAT + 1, "ling_agent": "9.0"}, r"format 2, written by ling-agent 9\.0"),
        ({"format": None}, "format None"),
        ({"ling_agent": "0.0.1"}, r'ling_agent is "0\.0\.1" there'),
        ({"benchmark": "others"}, r'benchmark is "others" there and "sums" here'),
        ({"subject": {"model": "b", "temperature": 0}}, r'subject\.model is "b" there'),
        ({"subject": {}}, r'subject\.model is not set there and "scripted" here'),
        ({"cases": {"small": 4, "large": 2}}, r"cases\.small is 4 there and 3 here"),
    ],
)
def test_another_evaluation_is_refused_with_what_differs(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    kept(tmp_path, "small_1")
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = file.read_bytes(), (tmp_path / "results.jsonl").read_bytes()
    with pytest.raises(ConfigurationError, match=told) as caught:
        kept(tmp_path, "small_2")
    assert "\n" not in str(caught.value)
    assert "another directory" in str(caught.value)
    assert (file.read_bytes(), (tmp_path / "results.jsonl").read_bytes()) == before


def test_many_differences_are_counted(tmp_path: Path) -> None:
    kept(tmp_path)
    other = dataclasses.replace(
        MANIFEST, benchmark="b", subject={}, selection={}, case_timeout=1.0, cases={}
    )
    told = r", and [0-9]+ more; give another directory"
    with pytest.raises(ConfigurationError, match=told), writing(tmp_path, other):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', '{"format": 1}', "\x00\xff"])
def test_a_broken_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    kept(tmp_path, "small_1")
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"manifest\.json is") as caught:
        read_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_directories_that_hold_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no evaluation"):
        read_results(tmp_path / "none")
    (tmp_path / "results.jsonl").touch()
    with pytest.raises(ConfigurationError, match=r"has results\.jsonl and no manifest\.json"):
        kept(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match="cannot use the directory"):
        kept(file)
    with pytest.raises(ConfigurationError, match="holds no evaluation"):
        read_results(file)


def test_two_writers_of_one_process(tmp_path: Path) -> None:
    with writing(tmp_path, MANIFEST):
        with pytest.raises(ConfigurationError, match="another evaluation writes to"):
            kept(tmp_path, "small_1")
        assert read_results(tmp_path).outcomes == ()
    kept(tmp_path, "small_1")


_HOLDS = """
import sys
from pathlib import Path
from tests.evals.test_results import MANIFEST, outcome
from ling_agent.evals.results import writing
with writing(Path(sys.argv[1]), MANIFEST) as writer:
    writer.append(outcome("small_1"))
    print("writes", flush=True)
    sys.stdin.read()
"""


def test_two_writing_processes_and_one_that_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "writes\n"
            with pytest.raises(ConfigurationError, match="another evaluation writes to"):
                kept(tmp_path, "small_2")
        finally:
            holder.kill()
    assert holder.returncode == -signal.SIGKILL
    kept(tmp_path, "small_2")
    assert [o.case for o in read_results(tmp_path).outcomes] == ["small_1", "small_2"]


_FULL = """
import resource, signal, sys
from pathlib import Path
from ling_agent import StoreError
from tests.evals.test_results import MANIFEST, outcome
from ling_agent.evals.results import writing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with writing(Path(sys.argv[1]), MANIFEST) as writer:
    writer.append(outcome("small_1"))
    size = (Path(sys.argv[1]) / "results.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    try:
        writer.append(outcome("small_2"))
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.append(outcome("small_3"))
"""


def test_a_disk_that_is_full_in_the_middle_of_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot write" in done.stdout
    assert "run the same command again" in done.stdout
    assert [o.case for o in read_results(tmp_path).outcomes] == ["small_1", "small_3"]
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 2


def test_each_time_it_is_gone_on_with_is_kept(tmp_path: Path) -> None:
    kept(tmp_path, "small_1")
    kept(tmp_path)  # nothing was done
    kept(tmp_path, "small_2")
    sessions = read_results(tmp_path).manifest.sessions
    assert len(sessions) == 2
    assert sessions[0]["machine"]["cores"] >= 1
    assert len(sessions[0]["code"]) == 16
