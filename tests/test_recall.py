"""The tools for what left the window: find it, read it to the end, keep it in view."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from ling_agent import (
    Agent,
    Document,
    Limits,
    Memory,
    RunContext,
    RunResult,
    Sampling,
    ToolError,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.events import ToolFinished
from ling_agent.memory import Hit, Trajectory
from ling_agent.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from ling_agent.recall import memory_tools, read_from
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations, stream

pytestmark = pytest.mark.anyio

TEXTS = ["", "abc", "line\n" * 900, "漢字" * 700, "a🎉" * 900, "x" * 5000]


def log(text: str) -> Trajectory:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage("Find it."), task="Find it.")
    made = ToolCall("call_1_0", "search", {"q": "x"})
    trajectory.append("assistant", AssistantMessage("I search.", None, (made,)), step=1)
    trajectory.append(
        "observation", ToolMessage(made.id, "search", text), step=1, call="search({})"
    )
    return trajectory


def tools_of(trajectory: Trajectory, *, room: int = 800) -> dict[str, Any]:
    async def search(query: str, limit: int) -> list[Hit]:
        return trajectory.hits(query, limit=limit)

    def used() -> int:
        return sum(len(e.data["text"]) for e in trajectory if e.kind == "pin")

    made = memory_tools(
        trajectory, search, bytes_shown=lambda: room, room_for_pins=lambda: room - used()
    )
    return {tool.name: tool for tool in made}


def shown_of(result: str) -> str:
    """What of the text a result of ``open`` shows."""
    body = result.split("\n", 1)[1]
    return re.sub(r"\n\[open\('e\d+', \d+\) reads on\]\Z", "", body)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("room", [400, 1000])
async def test_reading_on_shows_each_character_once(text: str, room: int) -> None:
    open_ = tools_of(log(text), room=room)["open"]
    read, offset, again = "", 0, True
    while again:
        result = await open_("e2", offset)
        assert len(result.encode()) <= room
        read += shown_of(result)
        head = re.match(r"e2, characters ([\d,]+) to ([\d,]+) of ([\d,]+):", result)
        assert head is not None
        assert int(head[1].replace(",", "")) == offset
        more = re.search(r"\[open\('e2', (\d+)\) reads on\]\Z", result)
        again = more is not None
        offset = int(more[1]) if more else offset
    assert read == text


async def test_the_note_in_a_cut_message_continues_exactly() -> None:
    text = "".join(f"{n} Zeile – ä\n" for n in range(900))

    @tool
    async def big() -> str:
        """Give a lot."""
        return text

    backend = ScriptedBackend([call("big"), "done"], context_window=3000)
    agent = Agent(backend, tools=[big], planning="off", sampling=Sampling(max_tokens=100))
    result = await agent.run("x")
    shown = backend.requests[1].messages[-1].content
    note = re.search(
        r"\n\[([\d,]+) characters left out here: open\('(e\d+)', (\d+)\)[^\n]*\n", shown
    )
    assert note is not None
    head, tail = shown[: note.start()], shown[note.end() :]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert int(note[3]) == len(head)
    assert int(note[1].replace(",", "")) == len(text) - len(head) - len(tail)
    entry = result.trajectory[int(note[2][1:])]
    assert shown_of(read_from(entry, len(head), 2000)).startswith(text[len(head) :][:500])


@pytest.mark.parametrize("handle", ["e2", "2", "[e2]", " e2 ", "e1", "e0"])
async def test_handles_as_models_write_them(handle: str) -> None:
    assert "characters 0 to" in await tools_of(log("abc"))["open"](handle)


@pytest.mark.parametrize("handle", ["e99", "", "e", "ex", "-1", "e-1", "e3", "1.5", "9" * 5000])
async def test_a_handle_that_there_is_not(handle: str) -> None:
    trajectory = log("abc")
    trajectory.append("usage", prompt_tokens=1, completion_tokens=1)
    with pytest.raises(ToolError, match="handles look like e12"):
        await tools_of(trajectory)["open"](handle)


async def test_offsets_outside() -> None:
    open_ = tools_of(log("abc"))["open"]
    assert await open_("e2", -5) == await open_("e2", 0)
    for offset in (3, 99):
        with pytest.raises(ToolError, match="ends at 3"):
            await open_("e2", offset)


async def test_recall_finds_places_with_their_handles() -> None:
    trajectory = log("filler. " * 2000 + "The walrus costs 500.")
    found = await tools_of(trajectory)["recall"]("walrus")
    head = re.match(r"\[e2, offset (\d+)\] search\(\{\}\), step 1\n", found)
    assert head is not None
    assert "walrus costs 500" in await tools_of(trajectory)["open"]("e2", int(head[1]))
    assert len(found.encode()) <= 800
    assert (await tools_of(trajectory)["recall"]("zebra")).startswith("Nothing stored matches")


async def test_recall_shows_the_part_that_matches() -> None:
    """And not how the part of the text begins in which it is."""
    trajectory = log("filler. " * 140 + "The walrus costs 500. " + "filler. " * 140)
    tools = tools_of(trajectory, room=400)
    found = await tools["recall"]("what does the walrus cost")
    head = re.match(r"\[e2, offset (\d+)\] [^\n]*\n", found)
    assert head is not None
    shown = found[head.end() :]
    assert "The walrus costs 500." in shown
    assert trajectory[2].text[int(head[1]) :].startswith(shown), "open reads on from there"


async def test_several_places_of_one_document_are_shown() -> None:
    facts = [f"The walrus of city {n} weighs {n * 7919} kg." for n in range(3)]
    trajectory = log(("filler. " * 1000).join(["", *facts, ""]))
    found = await tools_of(trajectory, room=2000)["recall"]("walrus weighs")
    assert all(fact in found for fact in facts)
    assert len(found.encode()) <= 2000


async def test_only_so_much_can_be_pinned() -> None:
    tools = tools_of(log("abc"), room=400)
    assert await tools["pin"]("x" * 300) == "Pinned."
    with pytest.raises(ToolError, match="room for 100 bytes"):
        await tools["pin"]("y" * 101)
    assert await tools["pin"]("y" * 100) == "Pinned."


async def test_a_model_that_pins_all_the_time_does_not_fill_its_window() -> None:
    @tool
    async def look(n: int) -> str:
        """Look."""
        return f"{n} is here. " * 30

    def model(request: ModelRequest) -> str:
        made.append(len(made))
        if len(made) > 120:
            return "done"
        if "pin" in str(request.tools) and len(made) % 2:
            return call("pin", text=f"fact {len(made)}: " + "word " * 30)
        return call("look", n=len(made))

    made: list[int] = []
    agent = Agent(
        ScriptedBackend(itertools.repeat(model), context_window=2000),
        tools=[look],
        planning="off",
        memory=Memory(summarize=False),
        limits=Limits(max_steps=200),
    )
    result = await agent.run("Look.")
    assert result.output == "done"
    texts = observations(result)
    assert "Pinned." in texts
    assert any("room for" in text for text in texts)


async def test_results_of_recall_are_bounded_and_of_each_entry_once() -> None:
    trajectory = log("walrus " * 3000)
    for n in range(2, 12):
        text = f"walrus number {n} " * 400
        trajectory.append("document", UserMessage(text), name=f"{n}.txt")
    found = await tools_of(trajectory, room=2000)["recall"]("walrus")
    handles = re.findall(r"^\[(e\d+), offset", found, re.MULTILINE)
    assert len(handles) == len(set(handles)) == 5
    assert len(found.encode()) <= 2000
    assert "] 2.txt\n" in found or ".txt" in found


async def test_pinned_texts_are_found_and_can_be_read() -> None:
    trajectory = log("abc")
    tools = tools_of(trajectory)
    assert await tools["pin"]("the code is 4711") == "Pinned."
    assert trajectory[-1].kind == "pin"
    assert "4711" in await tools["recall"]("code")
    assert shown_of(await tools["open"]("e3")) == "the code is 4711"


class Remembering:
    """A run whose first observation leaves the window; then the model remembers it."""

    def __init__(self, *then: str) -> None:
        self._then = iter(then)
        self._n = 0
        self.requests: list[ModelRequest] = []
        self.backend = ScriptedBackend(itertools.repeat(self._reply), context_window=1500)

        @tool
        async def look(n: int) -> str:
            """Look."""
            return f"item {n} has the code {n * 7919}. " + "filler words here " * 20

        self.agent = Agent(
            self.backend,
            tools=[look],
            planning="off",
            memory=Memory(summarize=False),
            sampling=Sampling(max_tokens=100),
            limits=Limits(max_steps=100),
        )

    def _reply(self, request: ModelRequest) -> str:
        self._n += 1
        return call("look", n=self._n) if self._n <= 30 else next(self._then, "done")

    async def run(self) -> RunResult:
        return await self.agent.run("Look at all.")


async def test_a_model_finds_what_left_its_window() -> None:
    run = Remembering(call("recall", query="item 2 code"), call("open", handle="e4"))
    result = await run.run()
    assert result.ok
    recalled, opened = observations(result)[-2:]
    assert "item 2 has the code 15838" in recalled
    assert "item 1 has the code 7919" in opened
    texts = [e for e in result.trajectory if e.data.get("memory")]
    assert len(texts) == 2
    assert not any(
        hit.entry in {e.id for e in texts} for hit in result.trajectory.hits("code 15838")
    )


async def test_what_a_model_pins_stays() -> None:
    run = Remembering(
        call("pin", text="remember 4711"), *(call("look", n=n) for n in range(100, 130)), "done"
    )
    result = await run.run()
    assert result.ok
    task = next(m for m in run.backend.requests[-1].messages if isinstance(m, UserMessage))
    assert "<pinned>\n- remember 4711\n</pinned>" in task.content
    calls_shown = [
        c.name
        for m in run.backend.requests[-1].messages
        if isinstance(m, AssistantMessage)
        for c in m.calls
    ]
    assert "pin" not in calls_shown, "its call has left"


async def test_a_tool_pins_what_there_is_room_for() -> None:
    @tool
    def keep(ctx: RunContext[None], n: int) -> str:
        """Keep."""
        ctx.pin(f"kept {n} " + "word " * 20)
        return f"done {n}"

    script = [*(call("keep", n=n) for n in range(60)), "done"]
    backend = ScriptedBackend(script, context_window=2000)
    result = await Agent(
        backend,
        tools=[keep],
        planning="off",
        memory=Memory(summarize=False),
        sampling=Sampling(max_tokens=100),
        limits=Limits(max_steps=100),
    ).run("Keep all.")
    assert result.ok, "it does not end for want of room"
    told = observations(result)
    assert told[0] == "done 0"
    assert "bytes of pinned text: pin something shorter" in told[-1]


async def test_a_pin_alone_changes_no_prompt() -> None:
    run = Remembering(call("pin", text="remember 4711"), call("look", n=500), "done")
    await run.run()
    *_, pinned, after, last = run.backend.requests
    assert after.messages[: len(pinned.messages)] == pinned.messages
    assert last.messages[: len(after.messages)] == after.messages


async def test_a_wrong_handle_is_an_observation() -> None:
    run = Remembering(call("open", handle="nothing"))
    events, result = await stream(run.agent, "Look at all.")
    assert result.ok
    failed = [e.observation for e in events if isinstance(e, ToolFinished)][-1]
    assert failed.is_error
    assert "handles look like e12" in failed.content


async def test_code_pins_a_text_and_a_step() -> None:
    memory = Memory(summarize=False)
    run = Remembering()
    agent = Agent(
        run.backend,
        tools=run.agent.tools,
        planning="off",
        memory=memory,
        sampling=Sampling(max_tokens=100),
        limits=Limits(max_steps=100),
    )
    await agent.run("Look at all.", session="s")
    memory.pin("s", "never forget")
    await agent.run("And now?", session="s")
    last = run.backend.requests[-1].messages[-1]
    assert last.content == "<pinned>\n- never forget\n</pinned>\n\nAnd now?"


async def test_documents_that_do_not_fit_are_searched_from_the_first_request_on() -> None:
    text = "".join(f"Paragraph {n} is about animal{n}.\n\n" for n in range(2000))
    backend = ScriptedBackend([call("recall", query="animal1777"), "done"], context_window=2000)
    agent = Agent(backend, planning="off", sampling=Sampling(max_tokens=100))
    result = await agent.run("Which?", documents=[Document(text, "animals.txt")])
    assert result.ok
    (found,) = observations(result)
    assert "Paragraph 1777 is about animal1777." in found
    assert "animals.txt" in found
