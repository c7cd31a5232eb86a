"""``ling-agent``: exit codes, one-line errors, run and chat with a scripted agent."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

import ling_agent
from ling_agent.cli.main import main

REPOSITORY = Path(ling_agent.__file__).parents[1]

MODULE = '''
from ling_agent import Agent, BackendUnavailable, ContextOverflow, Limits, tool
from ling_agent.testing import ScriptedBackend

CALL = '<tool_call>\\n{"name": "add", "arguments": {"a": 1, "b": 2}}\\n</tool_call>'

@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

def bare(x):
    """A tool without annotations."""

class Group:
    tools = [add]

def make(*script, **options):
    return Agent(ScriptedBackend(script), tools=[add], planning="off", **options)

good = make(CALL, "The sum is 3.")
limited = make(CALL, "never", limits=Limits(max_steps=1))
slow = make(CALL, CALL.replace("1", "5"), "done", limits=Limits(max_steps=3, max_tool_calls=1))
overflow = make(ContextOverflow("the task is longer than the window: shorten it"))
gone = make("Hello.", BackendUnavailable("gone"), "Back again.")
talk = make("Hello.", lambda request: f"{len(request.messages)} messages")
def stopped(request):
    raise KeyboardInterrupt

ctrl_c = make("Hello.", stopped, "Still here.")
wide = make("It costs 1 € — or not \U0001f600.")
echo = make(lambda request: request.messages[-1].content.splitlines()[0])
not_an_agent = 5
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the caller's in the working directory, imported afresh by each test."""
    (tmp_path / "callers_agents.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "callers_agents", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return "callers_agents"


class TestRun:
    def test_a_completed_run_is_shown_and_exits_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", "add", "--agent", "callers_agents:good"]) == 0
        output = capsys.readouterr().out
        assert "add(a=1, b=2)" in output
        assert "The sum is 3." in output

    def test_json_is_one_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", "add", "--agent", "callers_agents:good", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert (data["status"], data["output"]) == ("completed", "The sum is 3.")
        assert data["calls"][0]["arguments"] == {"a": 1, "b": 2}
        assert data["observations"][0]["content"] == "3"
        assert data["usage"]["requests"] == 2
        assert (data["error"], data["pending_approvals"]) == (None, [])

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_a_run_that_does_not_complete_exits_1(
        self, options: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", "add", "--agent", "callers_agents:limited", *options]) == 1
        assert "max_steps" in capsys.readouterr().out

    def test_limits_of_the_command_line_leave_the_others_of_the_agent(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["run", "x", "--agent", "callers_agents:slow", "--max-steps", "9", "--json"]
        assert main(arguments) == 1
        assert json.loads(capsys.readouterr().out)["status"] == "max_tool_calls"

    def test_json_is_ascii(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", "x", "--agent", "callers_agents:wide", "--json"]) == 0
        line = capsys.readouterr().out
        assert line.isascii()
        assert json.loads(line)["output"] == "It costs 1 € — or not \U0001f600."

    def test_a_dash_reads_the_task_from_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("a task of a file\n"))
        assert main(["run", "-", "--agent", "callers_agents:echo"]) == 0
        assert "a task of a file" in capsys.readouterr().out

    def test_a_task_that_is_not_utf8_is_read_as_far_as_it_goes(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", "x\udcffy", "--agent", "callers_agents:echo", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["output"] == "x\ufffdy"

    def test_the_model_is_fetched_in_the_main_thread_before_the_run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """There Ctrl-C ends a download at once; in a worker thread it would wait for its end."""

        def interrupted(*_: object, **__: object) -> None:
            assert threading.current_thread() is threading.main_thread()
            raise KeyboardInterrupt

        monkeypatch.setattr("ling_agent.extras.require", lambda *_, **__: None)  # type: ignore[misc]
        monkeypatch.setattr("ling_agent.catalog.resolve", interrupted)
        for options in ([], ["--json"], ["--backend", "llamacpp:qwen2.5-coder-1.5b"]):
            assert main(["run", "x", *options]) == 130
        assert main(["chat"]) == 130


class TestBadInput:
    @pytest.mark.parametrize("task", ["", "  ", "-"])
    def test_an_empty_task_downloads_nothing(
        self, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise AssertionError("no model is needed")

        monkeypatch.setattr("ling_agent.catalog.resolve", resolve)
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
        assert main(["run", task]) == 2
        assert "task is empty" in capsys.readouterr().err

    def test_without_the_engine_nothing_is_downloaded(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise AssertionError("it could not be run")

        monkeypatch.setattr("ling_agent.catalog.resolve", resolve)
        monkeypatch.setitem(sys.modules, "llama_cpp", None)
        assert main(["run", "x"]) == 2
        assert "pip install 'ling-agent[llamacpp]'" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            (
                "raise ValueError('first\\nsecond')",
                "ValueError: first second; to see where: python",
            ),
            ("def (", "SyntaxError: invalid syntax"),
            ("import sys; sys.exit(3)", "SystemExit: 3"),
            ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ],
    )
    @pytest.mark.parametrize("option", ["--tools", "--agent"])
    def test_a_module_that_fails_is_one_line(
        self, option: str, source: str, says: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("failing_module.py").write_text(source)
        assert main(["run", "x", option, "failing_module:x"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("ling-agent: error: cannot import failing_module: ")
        assert says in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["run", "", "--agent", "callers_agents:good"], "task is empty"),
            (["run", "x", "--backend", "llamacpp:no-such-alias"], "no-such-alias"),
            (["run", "x", "--backend", "nonsense"], "write llamacpp:"),
            (["run", "x", "--backend", "vllm:x"], "begin it with http://"),
            (["run", "x", "--backend", "vllm:http://127.0.0.1:9"], "is the server running"),
            (["run", "x", "--tools", "callers_agents:bare"], "bare"),
            (["run", "x", "--tools", "callers_agents:add,callers_agents:Group.tools"], "twice"),
            (["run", "x", "--tools", "callers_agents"], "module:attribute"),
            (["run", "x", "--tools", "callers_agents:nope"], "no attribute nope"),
            (["run", "x", "--tools", "no_such_module:x"], "cannot import no_such_module"),
            (["run", "x", "--tools", "callers_agents:ad"], "did you mean add?"),
            (["run", "x", "--tools", " callers_agents:not_an_agent ,"], "of type int: name a fun"),
            (["run", "x", "--agent", "callers_agents:not_an_agent"], "int: name an Agent"),
            (["run", "x", "--agent", ""], "module:attribute"),
            (["chat", "--backend", "llamacpp:no-such-alias"], "no-such-alias"),
            (["run", "x", "--agent", "callers_agents:good", "--instructions", "y"], "--instruct"),
            (["run", "x", "--agent", "callers_agents:good", "--planning", "off"], "--planning"),
            (["run", "x", "--agent", "callers_agents:good", "--backend", "llamacpp:x"], "--agent"),
            (["run", "x", "--agent", "callers_agents:good", "--max-steps", "0"], "max_steps"),
            (["run", "x", "--agent", "callers_agents:good", "--timeout", "-1"], "timeout"),
            (["run", "x", "--agent", "callers_agents:overflow"], "longer than the window"),
        ],
    )
    def test_it_is_one_line_and_exits_2(
        self, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("ling-agent: error: ")
        assert captured.err.count("\n") == 1, "one line"
        assert says in captured.err
        assert "Traceback" not in captured.err

    @pytest.mark.parametrize(
        "arguments", [[], ["nonsense"], ["run"], ["run", "x", "--planning", "later"]]
    )
    def test_a_wrong_command_line_exits_2_with_the_usage(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "usage: ling-agent" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["run"], ["chat"], ["models"]])
def test_help_exits_0(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: ling-agent" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from ling_agent import __version__

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ling-agent {__version__}\n"


def test_ctrl_c_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ling_agent import Agent

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Agent, "run_sync", interrupted)
    assert main(["run", "x", "--agent", "callers_agents:good", "--json"]) == 130
    assert capsys.readouterr().err == "ling-agent: interrupted\n"


class TestProcess:
    """What only a real process has: pipes, full disks, locales."""

    def run(
        self,
        *arguments: str,
        stdin: int | IO[str] = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.PIPE,
        encoding: str = "utf-8",
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-m", "ling_agent", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding=encoding,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": encoding},
            timeout=60,
        )

    def test_python_m(self) -> None:
        done = self.run("--version")
        assert (done.returncode, done.stdout[:11]) == (0, "ling-agent ")

    @pytest.mark.parametrize(
        "arguments",
        [["run", "x", "--agent", "callers_agents:good"], ["models", "list"], ["run", "--help"]],
    )
    def test_a_reader_that_goes_away_is_no_error(self, arguments: list[str]) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        done = self.run(*arguments, stdout=writer)
        os.close(writer)
        assert done.stderr == ""

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_a_full_disk_behind_the_output_is_one_line(self, options: list[str]) -> None:
        with open("/dev/full", "w") as full:
            done = self.run("run", "x", "--agent", "callers_agents:good", *options, stdout=full)
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_locale_without_our_characters_loses_only_them(self) -> None:
        done = self.run("run", "x", "--agent", "callers_agents:wide", encoding="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert "It costs 1 ? ? or not ?." in done.stdout
        assert self.run("run", "--help", encoding="ascii").returncode == 0

    def test_input_that_is_not_utf8_is_read_as_far_as_it_goes(self, tmp_path: Path) -> None:
        (tmp_path / "input").write_bytes(b"caf\xe9\n")
        with (tmp_path / "input").open() as stdin:
            done = self.run("chat", "--agent", "callers_agents:echo", stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        assert "caf\ufffd" in done.stdout


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestChat:
    def chat(
        self, agent: str, lines: str, monkeypatch: pytest.MonkeyPatch, stdin: type = io.StringIO
    ) -> int:
        monkeypatch.setattr(sys, "stdin", stdin(lines))
        return main(["chat", "--agent", f"callers_agents:{agent}"])

    def test_it_is_one_conversation_until_the_input_ends(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.chat("talk", "I am Ada.\nWho am I?\n", monkeypatch) == 0
        output = capsys.readouterr().out
        assert "Hello." in output
        assert "3 messages" in output

    def test_an_empty_line_ends_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.chat("talk", "I am Ada.\n\nWho am I?\n", monkeypatch) == 0
        assert "3 messages" not in capsys.readouterr().out

    def test_a_backend_error_does_not_end_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.chat("gone", "one\ntwo\nthree\n", monkeypatch) == 0
        captured = capsys.readouterr()
        assert captured.err == "ling-agent: error: gone\n"
        assert "Back again." in captured.out

    def test_an_error_that_no_message_can_mend_ends_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("ling_agent.cli.chat.conversation.work", _unusable)
        assert self.chat("talk", "one\ntwo\n", monkeypatch) == 2
        assert capsys.readouterr().err == "ling-agent: error: not installed\n"

    def test_ctrl_c_ends_the_answer_and_at_the_prompt_the_conversation(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.chat("ctrl_c", "one\ntwo\nthree\n", monkeypatch, _Terminal) == 0
        captured = capsys.readouterr()
        assert "interrupted" in captured.err
        assert "Still here." in captured.out

    def test_ctrl_c_ends_it_when_nobody_types(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.chat("ctrl_c", "one\ntwo\nthree\n", monkeypatch) == 130
        assert "Still here." not in capsys.readouterr().out

    def test_no_standard_input_is_an_empty_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        assert main(["chat", "--agent", "callers_agents:talk"]) == 0


def _unusable(*_: object, **__: object) -> None:
    raise ling_agent.ConfigurationError("not installed")
