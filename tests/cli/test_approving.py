"""Decisions about calls: from the command line, in what is shown, without a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ling_agent import Deny, Edit, Limits, RunResult, RunStatus, Trajectory, Usage, tool
from ling_agent.approvals import Approval, ApprovalRequest
from ling_agent.cli import approving
from ling_agent.cli.approving import ApprovalPrompt, by_name, decisions_from, to_arguments
from ling_agent.cli.escapes import escaped, json_text
from ling_agent.cli.main import main
from ling_agent.cli.terminal import remaining
from ling_agent.errors import ConfigurationError
from ling_agent.messages import AssistantMessage, ToolCall
from ling_agent.results import Step

Capture = pytest.CaptureFixture[str]


@tool(requires_approval=True)
def buy(item: str, count: int = 1) -> str:
    """Buy."""
    return f"{count} {item}"


class TestText:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("plain é 汉 🎉", "plain é 汉 🎉"),
            ("a\x1b[2J\x7f\x9b", "a\\u001b[2J\\u007f\\u009b"),
            ("a\u202eb\u2066\u200b\ufeff", "a\\u202eb\\u2066\\u200b\\ufeff"),
            ("\u2028\ue000\U000e0041", "\\u2028\\ue000\\udb40\\udc41"),
            ("\udcff", "\\udcff"),
            ("a\tb", "a   b"),
        ],
    )
    def test_nothing_is_hidden_or_reordered(self, text: str, shown: str) -> None:
        assert escaped(text) == shown

    @pytest.mark.parametrize("value", ['a\u202e\x1b\n\t\\"é', {"\u200b": [1, None, "\U000e0041"]}])
    def test_as_json_it_stays_the_same_value(self, value: Any) -> None:
        assert json.loads(json_text(value)) == value


class TestArguments:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{", "this is not JSON"),
            ("[1]", "must be a JSON object"),
            ('{"item": 5, "count": "x"}', "buy does not take this"),
        ],
    )
    def test_what_does_not_fit_is_told(self, text: str, says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            to_arguments(text, buy)

    def test_what_fits(self) -> None:
        assert to_arguments('{"item": "a"}', buy) == {"item": "a"}
        assert to_arguments('{"anything": 1}', None) == {"anything": 1}


class TestOptions:
    def test_each_names_a_call(self) -> None:
        expected: dict[str, Approval] = {
            "a": True,
            "b": False,
            "c": Deny("too = dear"),
            "d": Edit({"item": "="}),
        }
        given = decisions_from(["all", "a"], ["b", "c=too = dear"], ['d={"item": "="}'])
        assert given == expected

    @pytest.mark.parametrize(
        ("approve", "deny", "edit", "says"),
        [
            ("", "", "a", "write CALL_ID=JSON"),
            ("", "", "a={", "--edit a: this is not JSON"),
            ("a", "a", "", "one decision about each call"),
        ],
    )
    def test_what_cannot_be_read_is_told(
        self, approve: str, deny: str, edit: str, says: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=says):
            decisions_from(*([option] if option else [] for option in (approve, deny, edit)))


class TestPrompt:
    """The questions with a stand-in for the terminal; `test_terminal` has a real one."""

    def ask(self, monkeypatch: pytest.MonkeyPatch, *answers: str, ids: tuple[str, ...] = ("c",)):  # type: ignore[no-untyped-def]
        script = iter(answers)
        monkeypatch.setattr(approving, "read_line", lambda prompt, **_: next(script))  # type: ignore[misc]
        prompt = ApprovalPrompt()
        calls = [ToolCall(id_, "buy", {"item": f"item of {id_}"}) for id_ in ids]
        decisions = prompt.ask(calls, by_name([buy]))
        assert list(script) == []
        return prompt, decisions

    def test_always_is_for_one_tool_of_one_agent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        prompt, decisions = self.ask(monkeypatch, "a", "n", "", ids=("c", "d", "e/f"))
        assert decisions == {"c": True, "d": True, "e/f": False}
        call = ToolCall("g", "buy", {"item": "b"})
        assert prompt.inside(ApprovalRequest(call, buy, "run")) is True

        @tool(name="buy", requires_approval=True)
        def other(item: str) -> str:
            """Another tool of that name, of a sub-agent."""
            return item

        assert prompt.inside(ApprovalRequest(call, other, "run/c")) is None
        prompt.forget()
        assert prompt.inside(ApprovalRequest(call, buy, "run")) is None

    def test_there_is_no_default(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        _, decisions = self.ask(monkeypatch, "", "ja", "yes")
        assert decisions == {"c": True}
        assert capsys.readouterr().out.count("run the call") == 2

    def test_long_arguments_are_shown_whole_on_request(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.setattr(approving, "_LONGEST", 10)
        self.ask(monkeypatch, "n no")
        shown = capsys.readouterr().out
        assert "item of c" not in shown
        assert "7 more characters: v shows them" in shown
        self.ask(monkeypatch, "v", "n no")
        assert 'item: "item of c"' in capsys.readouterr().out


def ended(steps: int, usage: Usage) -> RunResult[str]:
    made = [Step(n, AssistantMessage(""), (), Usage(requests=1)) for n in range(1, steps + 1)]
    resumed = Step(0, AssistantMessage(""))  # an earlier run paid for it
    return RunResult(
        None, RunStatus.needs_approval, None, (resumed, *made), usage, Trajectory(), "run"
    )


def test_an_approval_does_not_begin_the_limits_anew() -> None:
    usage = Usage(100, 10, tool_calls=3, seconds=2.5)
    limits = Limits(max_steps=5, max_tool_calls=4, max_total_tokens=100, timeout=10.0)
    left = remaining(limits, ended(3, usage))
    assert left == Limits(max_steps=2, max_tool_calls=1, max_total_tokens=0, timeout=7.5)
    assert remaining(Limits(), ended(1, usage)) == Limits(max_steps=23)
    assert remaining(limits, ended(5, usage)) is None


@pytest.mark.usefixtures("kept_agents")
class TestWithoutATerminal:
    def waiting(self, capsys: Capture) -> None:
        arguments = ["run", "x", "--agent", "kept_agents:asks_for", "--session", "s", "--json"]
        assert main(arguments) == 1
        captured = capsys.readouterr()
        data = json.loads(captured.out)
        assert data["status"] == "needs_approval"
        assert [(c["id"], c["arguments"]) for c in data["pending_approvals"]] == [
            ("call_1_0", {"item": "a"}),
            ("call_1_1", {"item": "b"}),
        ]
        assert "resume s --agent kept_agents:asks_for --approve call_1_0 --approve call_1_1\n" in (
            captured.err
        )

    def resume(self, capsys: Capture, *options: str) -> list[str]:
        assert main(["resume", "s", "--agent", "kept_agents:says", *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["output"].split("|")

    def test_all_that_wait_are_approved(self, capsys: Capture) -> None:
        self.waiting(capsys)
        assert self.resume(capsys, "--approve", "all") == ["bought a", "bought b"]

    def test_one_decision_each(self, capsys: Capture) -> None:
        self.waiting(capsys)
        options = ["--deny", "call_1_0=too dear", "--edit", 'call_1_1={"item": "c"}']
        first, second = self.resume(capsys, *options)
        assert "was not approved: too dear" in first
        assert "bought c" in second

    def test_all_but_one(self, capsys: Capture) -> None:
        self.waiting(capsys)
        first, second = self.resume(capsys, "--approve", "all", "--deny", "call_1_0")
        assert "was not approved: the user declined" in first
        assert second == "bought b"

    def test_some_leave_the_others_open(self, capsys: Capture) -> None:
        self.waiting(capsys)
        assert main(["resume", "s", "--agent", "kept_agents:says", "--approve", "call_1_0"]) == 1
        told = capsys.readouterr().err
        assert "--approve call_1_1\n" in told
        assert "--approve call_1_0" not in told

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--approve", "call_9_9"], "there is no such call; waiting: call_1_0, call_1_1"),
            (["--edit", "call_1_0=1"], "--edit call_1_0: the arguments must be a JSON object"),
            (["--deny", "call_1_0", "--approve", "call_1_0"], "one decision about each call"),
        ],
    )
    def test_a_wrong_decision_is_one_line_and_changes_nothing(
        self, options: list[str], says: str, capsys: Capture
    ) -> None:
        self.waiting(capsys)
        assert main(["resume", "s", "--agent", "kept_agents:says", *options]) == 2
        assert says in capsys.readouterr().err
        assert self.resume(capsys, "--approve", "all") == ["bought a", "bought b"]

    def test_all_of_none_is_an_error(self, capsys: Capture) -> None:
        assert main(["run", "x", "--agent", "kept_agents:limited", "--session", "s"]) == 1
        assert main(["resume", "s", "--agent", "kept_agents:rest", "--approve", "all"]) == 2
        assert "--approve all: no call of run 's' waits" in capsys.readouterr().err

    def test_a_run_that_is_not_kept_says_what_it_lacks(self, capsys: Capture) -> None:
        assert main(["run", "x", "--agent", "kept_agents:asks_in_process"]) == 1
        assert capsys.readouterr().err == (
            "buy (call_1_0) needs approval, and the run ends with this process: with --store FILE "
            "it can be resumed\n"
        )
