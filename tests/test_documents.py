"""Documents that a task comes with: read once, stored once, shown as far as they fit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from ling_agent import Agent, ConfigurationError, Document, Memory, Sampling
from ling_agent.documents import add_documents, read_documents
from ling_agent.errors import BackendUnavailable
from ling_agent.memory import Trajectory
from ling_agent.memory.window import Window
from ling_agent.messages import UserMessage
from ling_agent.testing import ScriptedBackend

pytestmark = pytest.mark.anyio


def agent(*replies: str | Exception, window: int = 2000, memory: Memory | None = None) -> Agent:
    return Agent(
        ScriptedBackend(replies, context_window=window),
        planning="off",
        sampling=Sampling(max_tokens=100),
        memory=memory or Memory(summarize=False),
    )


def prompt_of(agent: Agent, number: int = -1) -> str:
    backend = agent._configuration.backend  # pyright: ignore[reportPrivateUsage]
    assert isinstance(backend, ScriptedBackend)
    return "\n\n".join(message.content for message in backend.requests[number].messages)


async def test_paths_texts_and_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file", encoding="utf-8")
    (tmp_path / "b.txt").write_text("\ufeffwith a mark", encoding="utf-8")

    class Path2(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "b.txt")

    given = [tmp_path / "a.txt", Path2(), "a text", Document("named", "n")]
    assert await read_documents(given) == [
        Document("from a file", "a.txt"),
        Document("with a mark", "b.txt"),
        Document("a text", "document 3"),
        Document("named", "n"),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file"),
        (b"caf\xe9", r"no text in UTF-8 \(byte 3\)"),
        (b"\xff\xfea\x00", "no text in UTF-8"),
        (b"a\x00b", "is no text"),
    ],
)
async def test_files_that_are_no_text(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why):
        await agent("done").run("x", documents=[path])


async def test_a_text_that_is_the_name_of_a_file_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("The report.")
    with pytest.raises(ConfigurationError, match=r"the name of a file: write Path\(…\)"):
        await read_documents([str(path)])
    assert await read_documents([Document(str(path))]) == [Document(str(path))]


async def test_a_folder_and_a_path_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path, Path("a\0b")):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await read_documents([path])


@pytest.mark.parametrize("given", ["one text", [5], [None], [b"bytes"]])
async def test_what_is_no_list_of_documents(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="documents: "):
        await agent("done").run("x", documents=given)


async def test_what_fits_is_shown_whole_in_front_of_the_task() -> None:
    some = agent("done")
    result = await some.run("Compare.", documents=["one\n", Document("two", "b.md")])
    assert prompt_of(some) == (
        '<document handle="e0" name="document 1">\none\n\n</document>\n\n'
        '<document handle="e1" name="b.md">\ntwo\n</document>\n\nCompare.'
    )
    assert [entry.kind for entry in result.trajectory][:3] == ["document", "document", "task"]
    assert not any(entry.kind == "compaction" for entry in result.trajectory)


async def test_as_much_as_fits_is_shown_and_the_rest_is_told() -> None:
    long = "".join(f"{n} line of text\n" for n in range(3000))
    some = agent("done")
    result = await some.run("What?", documents=[Document("small", "s"), Document(long, "l")])
    prompt = prompt_of(some)
    assert '<document handle="e0" name="s">\nsmall\n' in prompt
    told = re.search(
        r'name="l" shown="the first ([\d,]+) of ([\d,]+) characters; .*open\(e1, (\d+)\)', prompt
    )
    assert told is not None
    shown = int(told[1].replace(",", ""))
    assert (shown, len(long)) == (int(told[3]), int(told[2].replace(",", "")))
    assert f">\n{long[:shown]}\n</document>" in prompt
    assert long[shown - 1] == "\n", "whole lines"
    assert 800 < len(prompt.split()) <= 1700
    assert result.trajectory[1].text == long


@pytest.mark.parametrize("text", ["漢字とかな" * 4000, "🎉 " * 9000, "x" * 60_000])
async def test_whatever_the_script(text: str) -> None:
    some = agent("done", window=4000)
    result = await some.run("What?", documents=[text])
    assert result.ok
    assert "characters; recall(query) searches" in prompt_of(some)
    assert len(prompt_of(some).encode()) < 3 * 4000


async def test_many_that_do_not_fit_are_all_named() -> None:
    documents = [Document(f"text {n} " * 700, f"d{n}") for n in range(12)]
    some = agent("done")
    result = await some.run("What?", documents=documents)
    assert result.ok
    prompt = prompt_of(some)
    assert all(f'name="d{n}"' in prompt for n in range(12))
    assert 'name="d11" shown="nothing of 5,600 characters' in prompt
    assert prompt.count("text 0 ") > 100, "the first ones are shown first"


async def test_the_same_document_is_stored_and_shown_once() -> None:
    memory = Memory(summarize=False)
    some = agent("one", "two", "three", memory=memory)
    given = [Document("the text", "d"), Document("the text", "d")]
    await some.run("First.", session="s", documents=given)
    await some.run("Second.", session="s", documents=[*given, Document("the text", "other")])
    result = await some.run("Third.", session="s", documents=given)
    assert [e.data["name"] for e in result.trajectory if e.kind == "document"] == ["d", "other"]
    assert prompt_of(some).count("the text") == 2


async def test_a_document_whose_task_left_is_shown_again_but_not_stored_again() -> None:
    trajectory = Trajectory()
    add_documents(trajectory, [Document("the text", "d")])
    trajectory.append("task", UserMessage("one"), task="one")
    trajectory.append("compaction", dropped=[[1, 1]], record="r")
    add_documents(trajectory, [Document("the text", "d")])
    trajectory.append("task", UserMessage("two"), task="two")
    (message,) = Window(trajectory).messages()
    assert '<document handle="e0" name="d">\nthe text' in message.content
    assert [e.text for e in trajectory].count("the text") == 1


async def test_a_document_of_a_task_that_could_not_begin_is_shown_the_next_time() -> None:
    memory = Memory(summarize=False)
    some = agent("one", BackendUnavailable("down"), "three", memory=memory)
    await some.run("First.", session="s")
    with pytest.raises(BackendUnavailable):
        await some.run("Second.", session="s", documents=["the text"])
    result = await some.run("Second.", session="s", documents=["the text"])
    assert result.ok
    assert prompt_of(some).count("the text") == 1
    assert [e.text for e in result.trajectory].count("the text") == 1
    exported = [message["content"] for message in result.trajectory.to_openai()]
    assert exported == ["First.", "one", "the text", "Second.", "three"]


async def test_an_empty_document_is_left_out() -> None:
    some = agent("done")
    await some.run("What?", documents=["", Document("", "empty")])
    assert prompt_of(some) == "What?"


async def test_documents_of_earlier_tasks_stay_known_when_they_leave() -> None:
    memory = Memory(summarize=False)
    replies = [f"answer {n} " + "word " * 150 for n in range(12)]
    some = agent(*replies, memory=memory, window=1200)
    await some.run("First.", session="s", documents=[Document("word " * 300, "early.txt")])
    for n in range(1, 12):
        result = await some.run(f"Task {n}.", session="s")
        assert result.context is not None
    assert any("record" in e.data for e in memory.store.load("s"))
    assert "[e0] document early.txt" in prompt_of(some)
