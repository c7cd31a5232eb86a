"""``ling-agent runs FILE``: list, show, export, delete, prune."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import ling_agent
from ling_agent.cli.main import main
from ling_agent.memory import SQLiteStore, Trajectory

pytestmark = pytest.mark.usefixtures("kept_agents")


def run(agent: str, session: str, task: str = "What is 1 + 2?") -> None:
    """Keep a run of an agent of the module."""
    main(["run", task, "--agent", f"kept_agents:{agent}", "--session", session])


def runs(*arguments: str) -> int:
    """What is tested, on the file of the module's agents."""
    return main(["runs", "runs.db", *arguments])


def names() -> list[str]:
    """Of the runs that are kept."""
    with closing(SQLiteStore("runs.db")) as store:
        return [info.run_id for info in store.runs()]


class TestList:
    @pytest.mark.parametrize("action", [[], ["list"]])
    def test_it_is_a_table(self, action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        run("limited", "sums")
        run("wide", "prices", "How\nmuch \x1b[2Jis [bold]it" + "?" * 80)
        capsys.readouterr()
        assert runs(*action) == 0
        header, first, second = capsys.readouterr().out.splitlines()
        assert header.split() == ["run", "status", "steps", "age", "task"]
        assert re.fullmatch(r"prices +completed +1 +\d+ s +How much ␛\[2Jis \[bold\]it\?+…", first)
        assert re.fullmatch(r"sums +max_steps +1 +\d+ s +What is 1 \+ 2\?", second)

    def test_on_a_terminal_texts_are_no_markup(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("wide", "s", "is [bold]it")
        capsys.readouterr()
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert runs() == 0
        assert "is [bold]it" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [(-99, "0 s"), (59, "59 s"), (61, "1 min"), (7_300, "2 h"), (86_400 * 40, "40 d")],
    )
    def test_the_age_is_in_its_largest_unit(
        self,
        seconds: int,
        shown: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run("wide", "s")
        with closing(SQLiteStore("runs.db")) as store:
            updated = store.runs()[0].updated
        monkeypatch.setattr(time, "time", lambda: updated + seconds)
        capsys.readouterr()
        assert runs() == 0
        assert f"  {shown} " in capsys.readouterr().out

    def test_json_has_all_that_is_known(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("wide", "s", "Wie viele €?")
        capsys.readouterr()
        assert runs("list", "--json") == 0
        text = capsys.readouterr().out
        (info,) = json.loads(text)
        assert text.isascii()
        assert (info["run_id"], info["status"], info["task"]) == ("s", "completed", "Wie viele €?")
        assert (info["steps"], info["forked_from"]) == (1, None)
        assert info["created"] <= info["updated"]

    def test_a_file_without_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("unreachable", "s")
        capsys.readouterr()
        assert runs() == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", "no run is kept in runs.db\n")
        assert runs("list", "--json") == 0
        assert json.loads(capsys.readouterr().out) == []


class TestShow:
    def test_it_is_readable(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("terms.txt").write_text("Terms. " * 100)
        agent = ["--agent", "kept_agents:limited", "--session", "s"]
        main(["run", "What is 1 + 2?", *agent, "--document", "terms.txt"])
        main(["resume", "s", "--agent", "kept_agents:rest"])
        capsys.readouterr()
        assert runs("show", "s") == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"s: completed, 2 steps, \d+ s ago", lines[0])
        assert lines[1:3] == ["", "system    Be brief."]
        assert re.fullmatch(
            r"document  terms\.txt: (Terms\. )+T? ?\S* ?… \(700 characters\)", lines[3]
        )
        assert lines[4:7] == [
            "user      What is 1 + 2?",
            "assistant I add.",
            "→ call    add(a=1, b=2)",
        ]
        assert lines[7].startswith("← result  3 ␛[31m[bold] word word")
        assert lines[7].endswith(" … (1,013 characters)")
        assert lines[8:] == ["assistant The sum is 3."]

    def test_it_says_why_a_run_failed(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("gone", "s")
        capsys.readouterr()
        assert runs("show", "s") == 0
        assert capsys.readouterr().out.endswith("! error   the server went away\n")
        main(["resume", "s", "--agent", "kept_agents:rest"])
        capsys.readouterr()
        assert runs("show", "s") == 0
        assert "went away" not in capsys.readouterr().out

    def test_a_fork_names_its_origin(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("good", "s")
        with closing(SQLiteStore("runs.db")) as store:
            store.fork("s", "f\x1b", 3)
        capsys.readouterr()
        assert runs("show", "f\x1b") == 0
        assert re.match(
            r"f␛: interrupted, 1 step, \d+ s ago, forked from s\n", capsys.readouterr().out
        )

    def test_on_a_terminal_nothing_is_left_running(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("asks", "s")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        capsys.readouterr()
        assert runs("show", "s") == 0
        assert capsys.readouterr().out.endswith("\x1b[2K"), "the last line is taken away"


class TestExport:
    def test_json_lines_are_the_whole_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("wide", "s")
        capsys.readouterr()
        assert runs("export", "s") == 0
        text = capsys.readouterr().out
        with closing(SQLiteStore("runs.db")) as store:
            trajectory = store.load("s")
        assert text.isascii()
        assert list(Trajectory.from_jsonl(text)) == list(trajectory)

    def test_openai_messages(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("good", "s")
        capsys.readouterr()
        assert runs("export", "s", "--openai") == 0
        messages = json.loads(capsys.readouterr().out)
        assert [message["role"] for message in messages] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        assert messages[1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1, "b": 2}'

    def test_it_is_lossless_in_every_locale(self) -> None:
        run("wide", "s")
        root = str(Path(ling_agent.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        text = subprocess.run(
            [sys.executable, "-m", "ling_agent", "runs", "runs.db", "export", "s"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        assert any("1 €" in entry.text for entry in Trajectory.from_jsonl(text))


class TestDelete:
    def test_it_tells_how_many(self, capsys: pytest.CaptureFixture[str]) -> None:
        for session in ("a", "b", "c"):
            run("wide", session)
        capsys.readouterr()
        assert runs("delete", "a", "c", "a") == 0
        assert runs("delete", "b") == 0
        assert capsys.readouterr().out == "deleted 2 runs\ndeleted 1 run\n"
        assert names() == []

    def test_an_unknown_name_deletes_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("wide", "a")
        capsys.readouterr()
        assert runs("delete", "a", "b") == 2
        assert "run 'b' is not kept in runs.db" in capsys.readouterr().err
        assert names() == ["a"]

    def test_a_run_in_use_stays(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("wide", "a")
        run("wide", "b")
        capsys.readouterr()
        with closing(SQLiteStore("runs.db")) as store, store.claim("b"):
            assert runs("delete", "a", "b") == 2
        captured = capsys.readouterr()
        assert captured.out == "deleted 1 run\n"
        assert captured.err == (
            "ling-agent: error: run 'b' is in use: delete it when it has ended\n"
        )
        assert names() == ["b"]


class TestPrune:
    def test_it_prints_what_went(self, capsys: pytest.CaptureFixture[str]) -> None:
        for session in ("a", "b", "c"):
            run("wide", session)
        capsys.readouterr()
        assert runs("prune", "--keep", "1") == 0
        assert capsys.readouterr().out.splitlines() == ["b", "a"]
        assert names() == ["c"]

    def test_days_count_from_the_newest_entry(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("wide", "old")
        later = time.time() + 2 * 86_400
        monkeypatch.setattr(time, "time", lambda: later)
        run("wide", "new")
        capsys.readouterr()
        assert runs("prune", "--older-than", "3") == 0
        assert capsys.readouterr().err == "no run was deleted\n"
        assert runs("prune", "--older-than", "1.5") == 0
        assert capsys.readouterr().out.splitlines() == ["old"]
        assert names() == ["new"]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ([], "--keep N, --older-than DAYS, or both"),
            (["--keep", "-1"], "keep is -1"),
            (["--older-than", "-2"], "--older-than -2: give a number of days"),
            (["--older-than", "nan"], "give a number of days"),
        ],
    )
    def test_options_that_make_no_sense_delete_nothing(
        self, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("wide", "a")
        capsys.readouterr()
        assert runs("prune", *options) == 2
        error = capsys.readouterr().err
        assert (says in error, error.count("\n")) == (True, 1), error
        assert names() == ["a"]


ACTIONS = [
    [],
    ["list"],
    ["list", "--json"],
    ["show", "a"],
    ["export", "a"],
    ["delete", "a"],
    ["prune", "--keep", "1"],
]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("file", ["none.db", "none/none.db", "", "list"])
def test_a_file_that_is_not_there_is_an_error_and_is_not_made(
    file: str, action: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    assert main(["runs", file, *action]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ling-agent: error: there is no file {file!r}: ")
    assert (error.count("\n"), sorted(os.listdir())) == (1, before)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("file", [".", "kept_agents.py"])
def test_a_file_of_something_else_is_left_alone(
    file: str, action: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir()), Path("kept_agents.py").read_bytes()
    assert main(["runs", file, *action]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (sorted(os.listdir()), Path("kept_agents.py").read_bytes()) == before


@pytest.mark.parametrize("action", ["show", "export"])
def test_an_unknown_run_names_the_command_that_lists_them(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("wide", "a")
    capsys.readouterr()
    assert runs(action, "b") == 2
    assert capsys.readouterr().err == (
        "ling-agent: error: run 'b' is not kept in runs.db: to see those that are: "
        "ling-agent runs runs.db\n"
    )


@pytest.mark.parametrize(
    "arguments", [["runs"], ["runs", "a", "nonsense"], ["runs", "a", "delete"], ["resume"]]
)
def test_a_wrong_command_line_exits_2_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: ling-agent" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["runs"], ["runs", "a", "prune"], ["resume"]])
def test_help_exits_0(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: ling-agent" in capsys.readouterr().out
