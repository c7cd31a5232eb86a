"""What a streamed run looks like on a terminal."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from ling_agent import (
    Agent,
    BackendUnavailable,
    Limits,
    RunContext,
    RunResult,
    RunStatus,
    Trajectory,
    Usage,
    tool,
)
from ling_agent.events import (
    ArgumentsDelta,
    CallStarted,
    Correction,
    Event,
    PlanMade,
    PlanUpdated,
    PrefillProgress,
    ReasoningDelta,
    RunFinished,
    StepFinished,
    StepStarted,
    SubagentEvent,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from ling_agent.messages import ToolCall, ToolMessage
from ling_agent.results import Plan, PlanStep
from ling_agent.testing import ScriptedBackend
from ling_agent.view import RunView

from .helpers import call

pytestmark = pytest.mark.anyio


@tool
async def look(ctx: RunContext[None], item: str) -> str:
    """Look."""
    ctx.emit(f"looking for {item}")
    if item == "none":
        raise ValueError("[red]nothing[/red]")
    return f"{item} " * (300 if item == "long" else 1)


@tool(requires_approval=True)
async def buy(item: str) -> str:
    """Buy."""
    return item


ANSWER = "It is [bold]here[/bold]."


async def shown(*script: str | Exception, planning: str = "inline", **limits: int) -> str:
    agent = Agent(
        ScriptedBackend(script, chunk_size=2),
        tools=[look, buy],
        planning=planning,  # type: ignore[arg-type]
        limits=Limits(**limits),
    )
    output = io.StringIO()
    view = RunView(Console(file=output, width=200))
    async with agent.stream("x") as run:
        async for event in run:
            view.show(event)
    return output.getvalue()


async def test_plan_call_observation_answer_and_cost_in_this_order() -> None:
    text = await shown("Plan: look for it.\n" + call("look", item="gpu"), ANSWER)
    expected = ["look for it.", 'look(item="gpu")', "looking for gpu", "← result"]
    expected += ["Answer", "2 model"]
    places = [text.index(part) for part in expected]
    assert places == sorted(places)
    assert ANSWER in text, "text of a model is never markup"
    assert "<tool_call>" not in text


async def test_every_step_of_a_plan_is_shown() -> None:
    plan = "Plan:\n1. look\n2. answer"
    text = await shown(plan, call("look", item="a"), "a", planning="explicit")
    assert "1. look" in text
    assert "2. answer" in text


async def test_an_error_is_shown_as_it_is() -> None:
    text = await shown(call("look", item="none"), "sorry", planning="off")
    assert "[red]nothing[/red]" in text


async def test_a_long_observation_is_cut_and_says_so() -> None:
    text = await shown(call("look", item="long"), "a", planning="off")
    assert "1,500 characters" in text
    assert len(text) < 2000


async def test_what_ends_a_run_early_is_shown() -> None:
    assert "max_steps" in await shown(call("look", item="a"), planning="off", max_steps=1)
    waiting = await shown(call("buy", item="a"), planning="off")
    assert 'buy(item="a") needs approval' in waiting
    assert "needs_approval" in waiting
    failed = await shown(call("look", item="a"), BackendUnavailable("server gone"), planning="off")
    assert "failed: server gone" in failed


async def test_a_correction_is_shown() -> None:
    assert "Your answer was empty" in await shown("", "a", planning="off")


async def test_the_answer_is_printed_once_and_called_so() -> None:
    text = await shown(call("look", item="gpu"), "It is here.", planning="off")
    assert text.count("It is here.") == 1
    assert "Answer    It is here." in text
    text = await shown("I look.\n" + call("look", item="gpu"), "It is here.", planning="off")
    assert "  text    I look." in text


async def test_control_characters_are_shown_and_not_obeyed() -> None:
    text = await shown(call("look", item="\x1b[2J\a"), "a\r\x9bb", planning="off")
    assert "␛[2J␇" in text
    assert "a␍\ufffdb" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


async def test_a_file_gets_whole_lines_with_nothing_at_their_ends() -> None:
    text = await shown("word " * 100 + "\n\nend", planning="off")
    assert f"Answer    {'word ' * 99}word" in text
    assert "\n\n          end" in text
    assert text == re.sub(" +\n", "\n", text)


async def test_numbers_agree_with_their_nouns() -> None:
    text = await shown(call("look", item="a"), "b", planning="off")
    assert "2 model requests, 1 tool call," in text


def screen(output: str) -> list[str]:
    """The rows of a terminal after `output`; knows what `RunView` uses of its control codes."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[\d;]*[A-Za-z]|[^\x1b]", output):
        if part[0] == "\x1b":
            number = int(part[2:-1].partition(";")[0] or 1)
            if part[-1] in "AB":
                row += number if part[-1] == "B" else -number
            elif part[-1] == "K":
                rows[row] = ""
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            rows += [""] * (row - len(rows) + 1)
        else:
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + 1 :]
            column += 1
    return [text.rstrip() for text in rows]


class TestTerminal:
    async def shown(self, *script: str, width: int, height: int = 24, planning: str = "off") -> str:
        agent = Agent(
            ScriptedBackend(script, chunk_size=2),
            tools=[look],
            planning=planning,  # type: ignore[arg-type]
        )
        output = io.StringIO()
        environment = {"TERM": "xterm", "COLUMNS": str(width), "LINES": str(height)}
        view = RunView(Console(file=output, force_terminal=True, _environ=environment))
        async with agent.stream("x") as run:
            async for event in run:
                view.show(event)
        return output.getvalue()

    @pytest.mark.parametrize("width", [30, 40, 60, 80])
    async def test_lines_are_broken_between_words_right_of_the_label(self, width: int) -> None:
        script = (
            "I look.\n\n" + call("look", item="long"),
            "It is here, and it is cheap. " * 9 + "\n",
        )
        rows = screen(await self.shown(*script, width=width))
        assert max(map(len, rows)) <= width
        answer = [row[:10].strip() for row in rows].index("Answer")
        assert [row[:10].strip() for row in rows].count("text") == 1, "no longer the answer's label"
        text = " ".join(row[10:] for row in rows[answer : rows.index("", answer)])
        assert text.startswith("It is here, and it is cheap. " * 9 + "step 2")
        assert rows.count("") == 2, "one before the totals, one at the end"

    async def test_the_text_is_printed_while_it_is_generated(self) -> None:
        output = await self.shown("It is here, and it is cheap.", width=30)
        assert output.index("text") < output.index("cheap.") < output.index("Answer")

    async def test_the_label_of_an_answer_that_has_left_the_screen_is_left(self) -> None:
        rows = screen(await self.shown("word " * 60, width=20, height=5))
        assert rows[0] == "  text    word word"
        assert not any(row.startswith("Answer") for row in rows)

    async def test_wide_characters_need_no_spaces(self) -> None:
        rows = screen(await self.shown("汉" * 12, width=20))
        assert rows[:3] == ["Answer    汉汉汉汉汉", " " * 10 + "汉汉汉汉汉", " " * 10 + "汉汉"]

    async def test_a_word_longer_than_the_line_is_cut(self) -> None:
        rows = screen(await self.shown("see " + "x" * 15, width=20))
        assert rows[:3] == ["Answer    see", " " * 10 + "x" * 10, " " * 10 + "x" * 5]

    async def test_what_it_waits_for_is_shown_and_goes_away(self) -> None:
        output = await self.shown(call("look", item="a"), "b", width=60)
        assert "the model is working" in output
        assert "look is running" in output
        assert not any("working" in row or "running" in row for row in screen(output))


def drawn(*events: Event, width: int = 80, live: bool = True) -> str:
    """What a terminal, or a file, gets for these events."""
    output = io.StringIO()
    environment = {"TERM": "xterm", "COLUMNS": str(width)}
    view = RunView(Console(file=output, force_terminal=live, _environ=environment))
    for event in events:
        view.show(event)
    view.close()
    return output.getvalue()


def test_close_ends_an_unfinished_line() -> None:
    output = io.StringIO()
    view = RunView(Console(file=output, force_terminal=True, _environ={"TERM": "xterm"}))
    view.show(TextDelta("half of it"))
    view.close()
    view.show(StepStarted(2))
    view.close()
    view.close()
    assert screen(output.getvalue()) == ["  text    half of it", ""]


class TestWaiting:
    """The line that the next one overwrites."""

    def test_how_much_of_a_long_prompt_is_read(self) -> None:
        output = drawn(PrefillProgress(512, 8000), PrefillProgress(1024, 8000), TextDelta("Hello."))
        assert "the model reads the prompt: 512 of 8,000 tokens" in output
        assert "1,024 of 8,000 tokens" in output
        assert screen(output) == ["  text    Hello.", ""]

    def test_the_end_of_the_arguments_while_they_come(self) -> None:
        arguments = [ArgumentsDelta(0, f"item {number}\n\x1b[2J ") for number in range(30)]
        output = drawn(CallStarted(0, "call_1_0", "look"), *arguments, StepStarted(2))
        assert "the model is calling look item 0 ␛[2J item 1" in output
        assert "item 29" in output
        assert "\x1b[2J" not in output
        assert screen(output) == [""]

    def test_reasoning_while_it_comes(self) -> None:
        output = drawn(ReasoningDelta("Let me "), ReasoningDelta("see."), TextDelta("Hello."))
        assert "the model is thinking Let me see." in output
        assert screen(output) == ["  text    Hello.", ""]

    def test_it_is_one_row_also_in_wide_characters(self) -> None:
        output = drawn(CallStarted(0, "c", "look"), ArgumentsDelta(0, "汉" * 40), width=30)
        assert all(cell_len(row) < 30 for row in re.split(r"\x1b\[[\d;]*\w|[\r\n]", output))

    def test_a_file_gets_none_of_it(self) -> None:
        waits = (PrefillProgress(1, 2), CallStarted(0, "c", "look"), ReasoningDelta("hm"))
        assert drawn(*waits, live=False) == ""


def plan(*statuses: str) -> Plan:
    return Plan("", tuple(PlanStep(f"step {n}", s) for n, s in enumerate(statuses, start=1)))


def test_a_plan_tells_what_is_done_and_only_news() -> None:
    updates = [plan("done", "pending"), plan("done", "pending"), plan("done", "done")]
    text = drawn(PlanMade(plan("pending", "pending")), *map(PlanUpdated, updates), live=False)
    assert text.splitlines() == [
        "◆ plan    1. step 1",
        "          2. step 2",
        "◆ plan    1 of 2 done; next: step 2",
        "◆ plan    2 of 2 done",
    ]
    assert drawn(PlanUpdated(plan("done")), live=False) == "", "a plan of one step has no progress"


def ended(output: object, status: str = "completed") -> RunFinished:
    usage = Usage(10, 2, requests=2)
    run = RunResult(output, RunStatus(status), None, (), usage, Trajectory(), "run")
    return RunFinished(run)


class TestSubagents:
    def told(self, agent: str, *events: Event) -> list[Event]:
        return [SubagentEvent(f"call_of_{agent}", agent, f"run/{agent}", each) for each in events]

    def test_it_stands_right_of_a_margin_and_its_answer_is_the_result(self) -> None:
        look = ToolCall("call_1_0", "look", {"item": "gpu"})
        text = drawn(
            ToolStarted(ToolCall("call_of_finder", "finder", {"task": "find"})),
            *self.told(
                "finder",
                TextDelta("I "),
                TextDelta("look."),
                ToolStarted(look),
                ToolProgress("call_1_0", "looking"),
                ToolFinished(ToolMessage("call_1_0", "look", "gpu\nfound"), 0.1),
                TextDelta("It is here."),
                StepFinished(1, Usage(10, 2, requests=1)),
                StepFinished(2, Usage(20, 3, requests=1)),
            ),
            ToolFinished(ToolMessage("call_of_finder", "finder", "It is here."), 0.2),
            live=False,
        )
        assert text.splitlines() == [
            '→ call    finder(task="find")',
            "│ ▸       finder",
            "│   text    I look.",
            '│ → call    look(item="gpu")',
            "│   …       looking",
            "│ ← result  gpu",
            "│           found",
            "│           2 model requests, 0 tool calls, 30 prompt tokens (0 reused), "
            "5 generated, 0.0 s",
            "← result  It is here.",
        ]

    def test_two_at_the_same_time_are_told_apart(self) -> None:
        first, second, third = (
            self.told(agent, ToolProgress("c", text))[0]
            for agent, text in (("a", "one"), ("b", "two"), ("b", "three"))
        )
        text = drawn(first, second, third, first, Correction("again"), first, live=False)
        names = [line[10:].strip() for line in text.splitlines()]
        assert names == ["a", "one", "b", "two", "three", "a", "one", "again", "a", "one"]

    def test_those_of_a_subagent_stand_further_right(self) -> None:
        (inner,) = self.told("b", ToolProgress("c", "deep"))
        lines = drawn(*self.told("a", inner), live=False).splitlines()
        assert lines == ["│ ▸       a", "│ │ ▸       b", "│ │   …       deep"]

    def test_a_terminal_is_not_torn(self) -> None:
        """The parent may write on while a sub-agent works; each line stays whole."""
        events = self.told("a", StepStarted(1), TextDelta("hidden yet"), ToolProgress("c", "news"))
        rows = screen(drawn(TextDelta("I wait"), *events, TextDelta("and wait"), StepStarted(2)))
        assert rows == [
            "  text    I wait",
            "│ ▸       a",
            "│   text    hidden yet",
            "│   …       news",
            "  text    and wait",
            "",
        ]

    def test_what_it_waits_for_has_its_name(self) -> None:
        assert "a: the model is working" in drawn(*self.told("a", StepStarted(1)))


class TestTypedAnswers:
    @dataclasses.dataclass
    class Offer:
        gpu: str
        price: float

    def test_it_is_shown_as_json(self) -> None:
        text = drawn(ended(self.Offer("RTX 4090", 0.5)), live=False)
        assert text.startswith('Answer    {\n            "gpu": "RTX 4090",\n')

    @pytest.mark.parametrize(
        "streamed", ['{"gpu":"a","price":1}', '{"answer": {"gpu":"a","price":1}}']
    )
    def test_the_text_that_it_was_read_from_is_not_repeated(self, streamed: str) -> None:
        rows = screen(drawn(TextDelta(streamed), ended(self.Offer("a", 1))))
        assert rows[0] == f"Answer    {streamed}"
        assert not any("price" in row for row in rows[1:])


def test_a_stopped_answer_says_so() -> None:
    rows = screen(drawn(TextDelta("half"), ended("half", "stopped")))
    assert rows[:2] == ["Answer    half", "Ended     stopped"]


def test_a_console_is_made_when_none_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    RunView().show(Correction("again"))
    assert "again" in capsys.readouterr().out
