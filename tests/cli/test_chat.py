"""``ling-agent chat`` without a terminal: its commands, what it saves, its history."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
import types
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ling_agent import Agent, Tool, Trajectory, Usage, tool
from ling_agent.cli.chat.history import History
from ling_agent.cli.chat.reader import Reader
from ling_agent.cli.chat.saving import save, to_markdown
from ling_agent.cli.main import main
from ling_agent.errors import ConfigurationError
from ling_agent.hooks import BeforeRun
from ling_agent.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from ling_agent.planning import Planning
from ling_agent.testing import Reply, ScriptedBackend

from ..helpers import call
from .scripted_agents import buy, heard, look


@tool
async def fetched() -> str:
    """Come from elsewhere."""
    return "fetched"


class StandInSource:
    """A source of one tool."""

    def opened(self) -> AbstractAsyncContextManager[Sequence[Tool[..., Any]]]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Sequence[Tool[..., Any]], None]:
        yield [fetched]


@dataclasses.dataclass
class Offer:
    """A typed answer."""

    gpu: str
    price: float


def mistaken(moment: BeforeRun) -> None:
    """A hook with a mistake in it."""
    if moment.task == "one":
        raise KeyError("mistake")


def _agent(*script: Any, tools: Sequence[Any] = (), planning: Planning = "off") -> Agent[str]:
    return Agent(ScriptedBackend(script), tools=tools, planning=planning)


_USAGE = Usage(1000, 20, cached_tokens=900, decode_seconds=2.0)


class Agents:
    """What ``--agent`` names; made anew by each test."""

    def __init__(self) -> None:
        self.echo = _agent(*[heard] * 5)
        self.tools = _agent(tools=[look, buy, StandInSource()])
        self.bare = _agent()
        self.costs = _agent(Reply("a", usage=_USAGE), Reply("b", usage=_USAGE))
        self.plans = _agent(
            "Plan:\n1. look\n2. answer",
            call("look", item="a"),
            "It is there.",
            tools=[look],
            planning="explicit",
        )
        self.typed = Agent(
            ScriptedBackend(['{"gpu": "a", "price": 1}'] * 2), planning="off", output_type=Offer
        )
        self.buggy = self.echo.with_options(hooks=[mistaken])
        self.looks = _agent("I look.\n" + call("look", item="```"), "Found.", tools=[look])


@pytest.fixture(autouse=True)
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    made = Agents()
    module = types.ModuleType("chat_agents")
    vars(module).update(vars(made))
    monkeypatch.setitem(sys.modules, "chat_agents", module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


Capture = pytest.CaptureFixture[str]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Any:
    """A chat whose input these lines are; its output and errors."""

    def run(agent: str, *lines: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["chat", "--agent", f"chat_agents:{agent}"]) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


class TestCommands:
    def test_a_pipe_gets_both_sides_as_plain_lines(self, chat: Any) -> None:
        out, err = chat("echo", "one", "two")
        assert [line for line in out.splitlines() if line and "step" not in line] == [
            "You       one",
            "Answer    [one]",
            "You       two",
            "Answer    [two]",
        ]
        assert err == ""
        assert not Path("state").exists(), "what a pipe says is no history"

    def test_help_names_every_command(self, chat: Any) -> None:
        out, err = chat("bare", "/help")
        for name in ("/help", "/tools", "/plan", "/usage", "/save", "/new", "/session", "/exit"):
            assert f"\n{name}" in out
        assert err == ""

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("/usgae", "/usgae is no command: did you mean /usage"),
            ("/\x1b[2Jxyz", "there are /help, /tools"),
            ("/plan now", "/plan takes nothing behind it"),
        ],
    )
    def test_what_is_no_command_is_told_and_not_sent(self, line: str, says: str, chat: Any) -> None:
        out, err = chat("bare", line)
        assert says in err
        assert "\x1b" not in err
        assert "Answer" not in out

    def test_two_slashes_send_one(self, chat: Any) -> None:
        assert "Answer    [/etc]" in chat("echo", "//etc")[0]

    def test_a_backslash_joins_lines(self, chat: Any) -> None:
        assert "Answer    [one\n          two]" in chat("echo", "one\\", "two")[0]
        assert "Answer    [one]" in chat("echo", "one\\")[0]

    def test_a_mistake_in_the_agents_code_is_shown_and_does_not_end_it(self, chat: Any) -> None:
        out, err = chat("buggy", "one", "two")
        assert "in mistaken" in err
        assert err.endswith("ling-agent: error: KeyError: 'mistake'; the conversation goes on\n")
        assert "Answer    [two]" in out

    def test_exit_ends_it(self, chat: Any) -> None:
        assert "Answer" not in chat("echo", "/exit", "one")[0]

    def test_tools_are_listed_those_of_a_source_too(self, chat: Any) -> None:
        out, _ = chat("tools", "/tools")
        rows = [line.split("  ") for line in out.splitlines() if line]
        found = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
        assert found["buy"] == ["always", "Buy something."]
        assert found["look"] == ["Look for something."]
        assert found["fetched"] == ["Come from elsewhere."]
        assert "no tools" in chat("bare", "/tools")[0]

    def test_the_newest_plan(self, chat: Any) -> None:
        out, _ = chat("plans", "/plan", "x", "/plan")
        assert out.index("there is no plan yet") < out.index("[x] look\n[-] answer")

    def test_usage_of_the_last_answer_and_of_all(self, chat: Any) -> None:
        out, _ = chat("costs", "/usage", "x", "y", "/usage")
        assert "there is no answer yet" in out
        rows = [line.split() for line in out.splitlines()]
        assert ["prompt", "tokens", "1,000", "2,000"] in rows
        assert ["of", "them", "cached", "900", "1,800"] in rows
        assert ["generated", "20", "40"] in rows
        assert ["tokens/s", "10.0", "10.0"] in rows
        assert "context window: 1,0" in out
        assert "of 32,768 tokens, 3% (counted by" in out

    def test_a_new_conversation_knows_nothing_of_the_old_one(self, chat: Any) -> None:
        out, _ = chat("echo", "one", "/session", "/new other", "/session", "/usage", "two")
        assert "chat: 2 messages" in out
        assert "a new conversation: other" in out
        assert "other: 0 messages" in out
        assert "there is no answer yet" in out

    def test_saving(self, chat: Any) -> None:
        out, err = chat("looks", "/save a.md", "x", "/save a.md", "/save b.jsonl", "/save a.md")
        assert "there is nothing to save yet" in err
        assert "a.md is there already; to overwrite it: /save! a.md" in err
        assert "saved to a.md" in out
        assert "## User\n\nx\n" in Path("a.md").read_text()
        assert len(Trajectory.from_jsonl(Path("b.jsonl").read_text()).messages()) == 4


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_typed_answer_is_json(options: list[str], capsys: Capture) -> None:
    assert main(["run", "x", "--agent", "chat_agents:typed", *options]) == 0
    output = capsys.readouterr().out
    if options:
        assert json.loads(output)["output"] == {"gpu": "a", "price": 1.0}
    else:
        assert 'Answer    {"gpu": "a", "price": 1}\n' in output
        assert output.count("price") == 1


class TestSaving:
    CONVERSATION = Trajectory()
    CONVERSATION.append("instructions", SystemMessage("Be brief."))
    CONVERSATION.append("task", UserMessage("x, and plan"), task="x")
    CONVERSATION.append(
        "assistant",
        AssistantMessage("I *look*.", calls=(ToolCall("call_1_0", "look", {"item": "é"}),)),
        step=1,
    )
    CONVERSATION.append(
        "observation", ToolMessage("call_1_0", "look", "a ```` b\n# no heading", True), step=1
    )

    def test_markdown_that_a_result_cannot_break(self) -> None:
        assert to_markdown(self.CONVERSATION) == (
            "## System\n\nBe brief.\n\n"
            "## User\n\nx\n\n"
            "## Assistant\n\nI *look*.\n\n"
            '```json\n{\n  "name": "look",\n  "arguments": {\n    "item": "é"\n  }\n}\n```\n\n'
            "### Error of look\n\n`````\na ```` b\n# no heading\n`````\n"
        )

    def test_jsonl_is_lossless(self) -> None:
        file = save(self.CONVERSATION, "a.jsonl", overwrite=False)
        assert Trajectory.from_jsonl(file.read_text("utf-8")).messages() == (
            self.CONVERSATION.messages()
        )

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("", "say where"),
            ("a.txt", "ends with .md or .jsonl"),
            ("there.md", "is there already"),
            ("none/a.md", "cannot be written: No such file"),
            ("a\0.md", "say where"),
        ],
    )
    def test_what_cannot_be_saved_changes_nothing(self, name: str, says: str) -> None:
        Path("there.md").write_text("mine")
        before = sorted(os.listdir())
        with pytest.raises(ConfigurationError, match=says):
            save(self.CONVERSATION, name, overwrite=False)
        assert sorted(os.listdir()) == before
        assert Path("there.md").read_text() == "mine"

    def test_overwriting_leaves_nothing_beside(self) -> None:
        Path("there.md").write_text("mine")
        save(self.CONVERSATION, "there.md", overwrite=True)
        assert os.listdir() == ["there.md"]
        assert "Be brief." in Path("there.md").read_text("utf-8")

    def test_a_file_that_comes_meanwhile_is_not_replaced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("a.md").write_text("theirs")
        monkeypatch.setattr(Path, "exists", _never)
        with pytest.raises(ConfigurationError, match="is there already"):
            save(self.CONVERSATION, "a.md", overwrite=False)
        assert (os.listdir(), Path("a.md").read_text()) == (["a.md"], "theirs")

    def test_a_file_system_without_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(source: object, target: object) -> None:
            raise PermissionError("no links")

        monkeypatch.setattr(os, "link", link)
        save(self.CONVERSATION, "a.md", overwrite=False)
        assert os.listdir() == ["a.md"]


def _never(path: Path) -> bool:
    return False


class TestHistory:
    def test_the_next_chat_has_it_and_others_cannot_read_it(self) -> None:
        file = Path("state/history.jsonl")
        history = History(file)
        for text in ("one", "one", "two\nlines", "€ \udcff", "x" * 10_001):
            history.add(text)
        assert History(file).entries == ["one", "two\nlines", "€ \udcff"]
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

    def test_two_chats_at_the_same_time_lose_nothing(self) -> None:
        file = Path("history.jsonl")
        first, second = History(file), History(file)
        first.add("a")
        second.add("b")
        first.add("c")
        assert History(file).entries == ["a", "b", "c"]

    def test_damaged_lines_are_left_out(self) -> None:
        file = Path("history.jsonl")
        file.write_bytes(b'"one"\n{"no": "entry"}\n\xff\n"half of a li')
        assert History(file).entries == ["one"]

    def test_its_size_is_bounded(self) -> None:
        file = Path("history.jsonl")
        file.write_text("".join(f"{json.dumps(str(number))}\n" for number in range(2001)))
        assert History(file).entries == [str(number) for number in range(1001, 2001)]
        assert len(file.read_text().splitlines()) == 1000
        assert file.stat().st_mode & 0o777 == 0o600
        file.write_text(
            "".join(json.dumps(f"{number:05}" + "x" * 9000) + "\n" for number in range(500))
        )
        entries = History(file).entries
        assert entries[-1].startswith("00499")
        assert file.stat().st_size < 1_000_000
        assert os.listdir() == ["history.jsonl"]

    def test_without_a_place_it_is_told_once(self, capsys: Capture) -> None:
        Path("file").touch()
        history = History(Path("file/history.jsonl"))
        history.add("one")
        history.add("two")
        told = capsys.readouterr().err
        assert ("is not kept" in told, told.count("\n")) == (True, 1)

    def test_none_keeps_nothing(self) -> None:
        history = History(None)
        history.add("one")
        assert (history.entries, os.listdir()) == ([], [])


def test_completion() -> None:
    Path("notes.md").touch()
    Path("more").mkdir()
    reader = Reader(History(None), ("/save", "/session", "/exit"))
    assert reader.complete("/s") == ["/save ", "/session "]
    assert reader.complete("s") == []
    assert reader.complete("/save n") == ["notes.md"]
    assert reader.complete("/save! m") == ["more/"]
    assert reader.complete("/exit n") == []
    assert reader.complete("/save a n") == []
