"""``ling-agent eval``: exit codes, reports, Ctrl-C, kills, and going on after each of them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ling_agent import ConfigurationError
from ling_agent.cli.main import main
from ling_agent.evals.options import EvalOptions
from ling_agent.evals.results import read_results
from ling_agent.evals.tau2 import Tau2Settings

from ..evals.sums import COUNT, lines
from .terminals import CTRL_C, GUARD, Terminal, environment

SUMS = ("eval", "run", "tests.evals.sums:benchmark")
ALL = 2 * COUNT


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def started(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A process that evaluates."""
    return subprocess.Popen(
        [sys.executable, "-m", "ling_agent", *SUMS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened in a process that runs."""
    end = time.monotonic() + GUARD
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def found(directory: str) -> list[dict[str, Any]]:
    """What is on the disk, by case, without what differs from one time to the next."""
    kept = [json.loads(line) for line in lines(Path(directory))]
    for data in kept:
        del data["seconds"]
    return sorted(kept, key=lambda data: data["case"])


class TestOne:
    def test_a_complete_evaluation(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--out", "out"]) == 0
        told = capsys.readouterr()
        assert "Complete: 24 cases." in told.out
        assert "Macro average over 2 of the 3 headline categories: 0.500" in told.out
        assert "Reports: out/report.md and out/report.html" in told.out
        assert "small      6/12" in told.out
        assert "sums: 24 cases" in told.err
        assert "sums: 24 of 24 cases, 12 passed" in told.err
        names = {"manifest.json", "results.jsonl", "report.md", "report.html", "plot.svg"}
        assert names <= {file.name for file in Path("out").iterdir()}

    def test_json_is_one_object_and_progress_goes_elsewhere(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*SUMS, "--json", "--categories", "small", "--limit", "3", "--seed", "9"]) == 0
        told = capsys.readouterr()
        data = json.loads(told.out)
        assert (data["complete"], data["expected"], data["total"]["cases"]) == (True, 3, 3)
        assert data["categories"]["small"]["passed"] == 2
        assert data["directory"] == "eval-tests.evals.sums"
        assert data["subject"]["settings"]["max_tokens"] == 1024
        assert "sums: 3 cases" in told.err

    def test_exactly_these_cases(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--cases", "large_3, small_1", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert {name: tally["cases"] for name, tally in data["categories"].items()} == {
            "small": 1,
            "large": 1,
        }

    def test_a_case_that_never_ends_does_not_keep_the_others(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SUMS_HANGS", "4")
        arguments = [*SUMS, "--out", "out", "--case-timeout", "0.5", "--json"]
        assert main(arguments) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["total"]["timeouts"] == 1
        assert "small_4: did not end within 0.5 s" in told.err

    def test_a_backend_that_dies_half_way_and_comes_back(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SUMS_GONE", "7")
        assert main([*SUMS, "--out", "out"]) == 1
        told = capsys.readouterr()
        assert "stopped: the server went away; 7 of 24 cases are kept in out; to go on" in told.err
        assert "Not complete: 7 of 24 cases. It stopped: the server went away." in told.out
        assert "Not complete: 7 of 24" in Path("out/report.md").read_text()
        monkeypatch.delenv("SUMS_GONE")
        assert main([*SUMS, "--out", "out"]) == 0
        assert "sums: 24 cases, 7 done before" in capsys.readouterr().err
        assert main([*SUMS, "--out", "whole"]) == 0
        assert found("out") == found("whole")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([*SUMS, "--categories", "smal"], "did you mean small"),
            ([*SUMS, "--planning", "never"], "--planning never: write off, inline, explicit"),
            ([*SUMS, "--temperature", "0,hot"], "--temperature 0,hot: could not convert"),
            ([*SUMS, "--temperature", "-1"], "temperature=-1.0"),
            ([*SUMS, "--categories", ","], "--categories is empty"),
            ([*SUMS, "--no-agent"], "nothing is evaluated"),
            ([*SUMS, "--case-timeout", "0"], "case_timeout a time"),
            ([*SUMS, "--cases", "none"], "no case of sums is selected"),
            (["eval", "run", "tests.evals.sums:no_benchmark"], "return a Benchmark"),
            (["eval", "run", "tests.evals.sums:COUNT"], "no function"),
            (["eval", "run", "tests.evals.sums"], "module:attribute"),
            (["eval", "report", "nowhere"], "nowhere holds no evaluation"),
            ([*SUMS, "--backend", "vlm:x"], "vlm"),
        ],
    )
    def test_bad_usage_is_one_line_and_writes_nothing(
        self, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.startswith("ling-agent: error: ")
        assert error.count("\n") == 1
        assert list(Path().iterdir()) == []

    @pytest.mark.parametrize("wrong", ["0", "-3", "many"])
    def test_numbers_that_cannot_be(self, wrong: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*SUMS, "--limit", wrong])
        assert ended.value.code == 2

    def test_results_of_another_version_or_other_settings(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*SUMS, "--out", "out", "--limit", "2"]) == 0
        capsys.readouterr()
        assert main([*SUMS, "--out", "out", "--limit", "2", "--temperature", "0.5"]) == 2
        assert "settings.temperature is 0.0 there and 0.5 here" in capsys.readouterr().err
        manifest = Path("out/manifest.json")
        manifest.write_text(manifest.read_text().replace('"0.1.0"', '"0.0.9"'))
        assert main([*SUMS, "--out", "out", "--limit", "2"]) == 2
        assert 'ling_agent is "0.0.9" there' in capsys.readouterr().err
        assert len(lines(Path("out"))) == 4

    @pytest.mark.parametrize(
        ("benchmark", "package", "told"),
        [
            ("bfcl", "bfcl_eval", "pip install 'ling-agent[eval]'"),
            ("tau2", "tau2", "docs/evaluation.md"),
        ],
    )
    def test_a_package_that_is_missing_is_told(
        self, benchmark: str, package: str, told: str
    ) -> None:
        code = f"import sys; sys.modules[{package!r}] = None; from ling_agent.cli.main import main"
        code += f"; sys.exit(main(['eval', {benchmark!r}, '--backend', 'vllm:http://127.0.0.1:9']))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=GUARD,
        )
        assert done.returncode == 2
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


class TestEnds:
    """Real processes that are ended in the middle, and go on as if nothing had been."""

    @pytest.mark.parametrize("concurrency", ["1", "3"])
    def test_killed_and_gone_on_with_is_the_same_as_never_killed(self, concurrency: str) -> None:
        arguments = ("--out", "out", "--concurrency", concurrency)
        for kept in (4, 11, 17):  # killed three times, at another case each time
            process = started(*arguments, SUMS_GATE=f"{kept}:never")
            with process:
                wait_for(lambda kept=kept: len(lines(Path("out"))) == kept, process)
                process.kill()
            assert process.returncode == -signal.SIGKILL
        assert main([*SUMS, *arguments]) == 0
        assert main([*SUMS, "--out", "whole"]) == 0
        assert found("out") == found("whole")
        assert len(lines(Path("out"))) == ALL  # no case was run twice

    def test_interrupted_by_a_signal(self) -> None:
        process = started("--out", "out", SUMS_GATE="5:never")
        with process:
            wait_for(lambda: len(lines(Path("out"))) == 5, process)
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=GUARD)
        assert process.returncode == 130
        assert "stopped: interrupted; 5 of 24 cases are kept in out; to go on" in error
        assert "Not complete: 5 of 24 cases. It stopped: interrupted." in output
        assert "Traceback" not in error
        assert Path("out/report.html").exists()
        assert main([*SUMS, "--out", "out"]) == 0
        assert main([*SUMS, "--out", "whole"]) == 0
        assert found("out") == found("whole")

    def test_two_processes_do_not_write_to_the_same_directory(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        process = started("--out", "out", SUMS_GATE="2:never")
        with process:
            wait_for(lambda: len(lines(Path("out"))) == 2, process)
            assert main([*SUMS, "--out", "out"]) == 2
            process.kill()
        assert "another evaluation writes to out" in capsys.readouterr().err

    def test_ctrl_c_in_a_terminal(self) -> None:
        with Terminal(*SUMS, "--out", "out", variables={"SUMS_GATE": "5:never"}) as terminal:
            terminal.wait_for("5/24")
            terminal.send(CTRL_C)
            assert terminal.end() == 130
        assert "stopping; Ctrl-C again ends the program" in terminal.text
        assert "5 of 24 cases are kept in out" in " ".join(terminal.text.split())


class TestSeveral:
    def test_each_combination_has_its_directory_and_all_are_compared(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [*SUMS, "--out", "out", "--temperature", "0,0.5", "--baseline", "words"]
        assert main(arguments) == 0
        told = capsys.readouterr()
        labels = ["temperature-0", "temperature-0.5"]
        labels += [f"baseline-words_{label}" for label in labels]
        assert {entry.name for entry in Path("out").iterdir() if entry.is_dir()} == set(labels)
        for label in labels:
            assert read_results(Path("out") / label).complete
            assert (Path("out") / label / "report.md").exists()
        assert "macro average" in told.out
        assert "+0.500" in told.out  # no sum is right that is not made by a call
        assert "Reports: out/report.md and out/report.html" in told.out
        assert "baseline-words_temperature-0:" in told.err

    def test_several_as_json_and_resumed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [*SUMS, "--out", "out", "--baseline", "words", "--json"]
        monkeypatch.setenv("SUMS_GONE", "20")
        assert main(arguments) == 1
        data = json.loads(capsys.readouterr().out)
        assert data["complete"] is False
        assert [run["label"] for run in data["runs"]] == ["agent"]
        assert data["pairs"] == []
        monkeypatch.delenv("SUMS_GONE")
        assert main(arguments) == 0
        data = json.loads(capsys.readouterr().out)
        assert data["complete"] is True
        (pair,) = data["pairs"]
        assert (pair["first"], pair["second"]) == ("agent", "baseline-words")
        assert (pair["only_first"], pair["only_second"], pair["neither"]) == (12, 0, 12)
        assert pair["p_value"] == pytest.approx(2 / 2**12)
        assert data["differences"]["subject.settings.baseline"] == ["", "words"]

    def test_one_and_several_are_not_mixed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--out", "out", "--limit", "1"]) == 0
        assert main([*SUMS, "--out", "out", "--limit", "1", "--temperature", "0,1"]) == 2
        assert "holds a single evaluation" in capsys.readouterr().err


class TestReport:
    def test_of_one_directory(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--out", "out"]) == 0
        before = Path("out/report.md").read_text()
        Path("out/report.md").unlink()
        capsys.readouterr()
        assert main(["eval", "report", "out"]) == 0
        assert "Complete: 24 cases." in capsys.readouterr().out
        assert Path("out/report.md").read_text() == before

    def test_of_several(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--out", "a"]) == 0
        assert main([*SUMS, "--out", "b", "--baseline", "words", "--no-agent"]) == 0
        capsys.readouterr()
        assert main(["eval", "report", "a", "b"]) == 0
        told = capsys.readouterr().out
        assert "Reports: eval-comparison/report.md" in told
        assert main(["eval", "report", "a", "b", "--out", "c", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert [run["label"] for run in data["runs"]] == ["a", "b"]
        assert Path("c/report.html").exists()

    def test_of_a_directory_with_several(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*SUMS, "--out", "out", "--temperature", "0,1", "--limit", "2"]) == 0
        (Path("out") / "report.md").unlink()
        capsys.readouterr()
        assert main(["eval", "report", "out", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert [run["label"] for run in data["runs"]] == ["temperature-0", "temperature-1"]
        assert (Path("out") / "report.md").exists()
        shutil.copytree("out/temperature-0", "copy")
        assert main(["eval", "report", "out/temperature-0", "copy", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["pairs"][0]["difference"] == 0


class TestTau2:
    def test_its_options_reach_the_benchmark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Tau2Settings] = []

        def made(options: EvalOptions, settings: Tau2Settings) -> None:
            given.append(settings)
            raise ConfigurationError("seen")

        monkeypatch.setattr("ling_agent.evals.tau2.Tau2Benchmark", made)
        words = "--steps 30 --judge --user-temperature 0.5 --trials 4 --split small"
        assert main(["eval", "tau2", *words.split()]) == 2
        assert main(["eval", "tau2"]) == 2
        chosen = Tau2Settings(4, "small", steps=30, judge=True, user_temperature=0.5)
        assert given == [chosen, Tau2Settings()]

    def test_a_temperature_that_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["eval", "tau2", "--user-temperature", "-1"]) == 2
        assert "user_temperature=-1.0: give a number from 0 on" in capsys.readouterr().err
