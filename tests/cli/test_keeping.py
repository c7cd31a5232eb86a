"""``--store``, ``--session``, ``--document`` and ``ling-agent resume``."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import ling_agent
from ling_agent.cli.main import main
from ling_agent.memory import RunInfo, SQLiteStore

pytestmark = pytest.mark.usefixtures("kept_agents")

Server = Callable[..., list[str]]
CALL = 'I add.\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


def kept(file: str = "runs.db") -> list[RunInfo]:
    """What is in a file."""
    with closing(SQLiteStore(file)) as store:
        return store.runs()


def run(*arguments: str) -> int:
    """Run a task with an agent of the module."""
    agent, *options = arguments
    return main(["run", "What is 1 + 2?", "--agent", f"kept_agents:{agent}", *options])


def resume(run_id: str, agent: str, *options: str) -> int:
    """Resume with an agent of the module."""
    return main(["resume", run_id, "--agent", f"kept_agents:{agent}", *options])


class TestRun:
    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_what_did_not_complete_tells_the_command_that_goes_on(
        self, options: list[str], server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keep = ["--store", "my runs.db", "--max-steps", "1", *options]
        assert main(["run", "What is 1 + 2?", *server(CALL), *keep]) == 1
        (info,) = kept("my runs.db")
        captured = capsys.readouterr()
        assert captured.err == (
            f"run {info.run_id} ended as max_steps; to go on: ling-agent resume {info.run_id} "
            "--store 'my runs.db' --backend vllm:http://127.0.0.1:9 --tools kept_agents:add "
            "--planning off\n"
        )
        if options:
            assert json.loads(captured.out)["run_id"] == info.run_id
        server("The sum is 3.")
        command = shlex.split(captured.err.partition("to go on: ling-agent ")[2])
        assert main(command) == 0
        captured = capsys.readouterr()
        assert ("The sum is 3." in captured.out, captured.err) == (True, "")
        assert kept("my runs.db")[0].status == "completed"

    def test_a_completed_run_tells_nothing_more(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", "x", *server("Hello."), "--store", "new/runs.db"]) == 0
        assert capsys.readouterr().err == ""
        assert [info.status for info in kept("new/runs.db")] == ["completed"]

    def test_a_session_goes_on_in_another_process(
        self, server: Server, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            options = server(lambda request: f"{len(request.messages)} messages")  # type: ignore[misc]
            assert main(["run", "x", *options, "--store", "a.db", "--session", "s"]) == 0
        assert "3 messages" in capsys.readouterr().out
        assert [info.run_id for info in kept("a.db")] == ["s"]

    def test_a_run_that_could_not_begin_is_not_told(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("unreachable", "--session", "s") == 2
        assert capsys.readouterr().err == "ling-agent: error: no server\n"
        assert kept() == []

    def test_a_failure_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("gone", "--session", "s") == 1
        assert capsys.readouterr().err == (
            "run s ended as failed; to go on: ling-agent resume s --agent kept_agents:gone\n"
        )

    def test_a_call_that_waits_tells_the_command_that_approves(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = (
            "run s ended as needs_approval; to go on: ling-agent resume s --agent kept_agents:asks "
            "--approve call_1_0\n"
            "in place of --approve call_1_0: --deny call_1_0=REASON, --edit call_1_0=JSON\n"
        )
        assert run("asks", "--session", "s") == 1
        assert told == capsys.readouterr().err
        assert resume("s", "asks") == 1
        assert told == capsys.readouterr().err
        command = shlex.split(told.partition("to go on: ling-agent ")[2].partition("\n")[0])
        command[command.index("kept_agents:asks")] = "kept_agents:asks_rest"
        assert main(command) == 0
        assert "bought" in capsys.readouterr().out

    def test_documents_are_read(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("a.txt").write_text("Refunds take 14 days.")
        Path("b.txt").write_text("Shipping takes 3.")
        options = ["--document", "a.txt", "--document", "b.txt", "--json"]
        assert run("reads", *options) == 0
        output = json.loads(capsys.readouterr().out)["output"]
        assert all(f'name="{name}"' in output for name in ("a.txt", "b.txt"))
        assert "Refunds take 14 days." in output
        assert "Shipping takes 3." in output

    @pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_ctrl_c_tells_how_to_go_on(
        self, options: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = str(Path(ling_agent.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        words = ["run", "x", "--agent", "kept_agents:waits", "--session", "s", *options]
        with subprocess.Popen(
            [sys.executable, "-m", "ling_agent", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            while not Path("waits").exists():
                assert process.poll() is None
                time.sleep(0.01)
            assert main(["runs", "runs.db"]) == 0
            assert "running" in capsys.readouterr().out
            assert resume("s", "rest") == 2
            told = capsys.readouterr().err
            assert ("another process" in told, told.count("\n")) == (True, 1)
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=30)
        status = json.loads(output)["status"] if options else output.split("Ended ")[1].split()[0]
        assert status == "cancelled"
        told, interrupted = error.splitlines()
        assert told.endswith("to go on: ling-agent resume s --agent kept_agents:waits")
        assert (process.returncode, interrupted) == (130, "ling-agent: interrupted")


class TestChat:
    def chat(self, lines: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return main(["chat", *options])

    def test_the_next_chat_goes_on(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for session in ([], [], ["--session", "other"]):
            options = server(lambda request: f"{len(request.messages)} messages")  # type: ignore[misc]
            assert self.chat("x\n", monkeypatch, *options, "--store", "a.db", *session) == 0
        captured = capsys.readouterr()
        assert [n for n in range(1, 4) if f"{n} messages" in captured.out] == [1, 3]
        assert captured.out.count("1 messages") == 2
        assert [info.run_id for info in kept("a.db")] == ["other", "chat"]
        assert captured.err == ""

    def test_an_answer_that_did_not_complete_is_told_at_the_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        agent = ["--agent", "kept_agents:limited", "--session", "s"]
        assert self.chat("x\n", monkeypatch, *agent) == 0
        told = "run s ended as max_steps; to go on: ling-agent resume s --agent kept_agents:limited"
        assert capsys.readouterr().err == f"{told}\n"

    def test_without_a_store_nothing_is_written(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = os.listdir()
        assert self.chat("x\n", monkeypatch, "--agent", "kept_agents:in_process") == 0
        assert (os.listdir(), capsys.readouterr().err) == (before, "")


class TestResume:
    def test_the_answer_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("limited", "--session", "s") == 1
        capsys.readouterr()
        assert resume("s", "rest") == 0
        captured = capsys.readouterr()
        assert captured.out.startswith("Answer    The sum is 3.\n          step 2: ")
        assert captured.err == ""

    def test_json_is_one_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("limited", "--session", "s") == 1
        capsys.readouterr()
        assert resume("s", "rest", "--json") == 0
        line = capsys.readouterr().out
        data = json.loads(line)
        assert (data["run_id"], data["status"], data["output"]) == (
            "s",
            "completed",
            "The sum is 3.",
        )
        assert (line.isascii(), line.count("\n")) == (True, 1)

    def test_limits_are_those_of_the_options(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("limited", "--session", "s") == 1
        assert resume("s", "steps", "--max-steps", "1") == 1
        captured = capsys.readouterr()
        assert captured.out.count("Ended     max_steps") == 2
        assert captured.err.endswith("ling-agent resume s --agent kept_agents:steps\n")

    def test_a_terminal_shows_that_it_works(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("limited", "--session", "s") == 1
        capsys.readouterr()
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        assert resume("s", "rest") == 0
        assert "the model is working" in capsys.readouterr().out

    def test_a_completed_run_names_the_command_for_a_new_task(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("good", "--session", "s") == 0
        assert resume("s", "rest") == 2
        assert capsys.readouterr().err == (
            "ling-agent: error: run 's' has completed; for a new task: "
            "ling-agent run TASK --agent kept_agents:rest --session s\n"
        )

    def test_nothing_is_fetched_for_a_run_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise AssertionError("no model is needed")

        monkeypatch.setattr("ling_agent.catalog.resolve", resolve)
        assert run("good", "--session", "s") == 0
        assert main(["resume", "t", "--store", "runs.db"]) == 2
        assert capsys.readouterr().err == (
            "ling-agent: error: run 't' is not kept in runs.db: to see those that are: "
            "ling-agent runs runs.db\n"
        )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "x", "--agent", "kept_agents:good", "--store", "a.db"], "own store: leave out"),
        (["chat", "--agent", "kept_agents:good", "--store", "a.db"], "own store: leave out"),
        (["resume", "x", "--agent", "kept_agents:good", "--store", "a.db"], "own store: leave"),
        (["run", "x", "--session", "s"], "add --store FILE"),
        (["chat", "--session", "s"], "add --store FILE"),
        (["run", "x", "--agent", "kept_agents:in_process", "--session", "s"], "add --store FILE"),
        (["run", "x", "--store", "a.db", "--session", " "], "session is empty"),
        (["run", "x", "--store", ""], "needs the path of a file"),
        (["run", "x", "--store", "."], "is a directory"),
        (["run", "x", "--store", "kept_agents.py"], "not a SQLite database"),
        (["chat", "--store", "kept_agents.py"], "not a SQLite database"),
        (["run", "x", "--store", "kept_agents.py/a.db"], "a.db"),
        (["run", "x", "--store", "a.db", "--document", "none.txt"], "none.txt cannot be read"),
        (["resume", "x"], "say where the run is kept: --store FILE"),
        (["resume", "x", "--agent", "kept_agents:in_process"], "say where the run is kept"),
        (["resume", "x", "--agent", "kept_agents:good"], "not kept by this agent: check the name"),
        (["resume", "x", "--store", "a.db"], "there is no file 'a.db'"),
        (["resume", "x", "--store", "a.db", "--max-steps", "0"], "there is no file"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_no_file(
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise AssertionError("no model is needed")

    monkeypatch.setattr("ling_agent.catalog.resolve", resolve)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("ling-agent: error: ")
    assert (says in error, error.count("\n")) == (True, 1), error
    assert not Path("a.db").exists()
