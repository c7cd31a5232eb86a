"""``ling-agent``: exit codes, one-line errors, run and chat with a scripted agent."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from ling_agent.cli.main import main

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


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["run", "", "--agent", "callers_agents:good"], "task is empty"),
            (["run", "x", "--backend", "llamacpp:no-such-alias"], "no-such-alias"),
            (["run", "x", "--backend", "nonsense"], "write llamacpp:"),
            (["run", "x", "--backend", "vllm:http://x"], "not part of this version"),
            (["run", "x", "--tools", "callers_agents:bare"], "bare"),
            (["run", "x", "--tools", "callers_agents:add,callers_agents:Group.tools"], "twice"),
            (["run", "x", "--tools", "callers_agents"], "module:attribute"),
            (["run", "x", "--tools", "callers_agents:nope"], "no attribute nope"),
            (["run", "x", "--tools", "no_such_module:x"], "cannot import no_such_module"),
            (["run", "x", "--agent", "callers_agents:not_an_agent"], "int"),
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


class TestChat:
    def chat(self, agent: str, lines: str, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
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
