"""Sessions and requests without one: what the model sees, and what is left behind."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ling_agent import Agent, BackendUnavailable
from ling_agent.backends import ModelRequest
from ling_agent.memory import InMemoryStore, Memory, SQLiteStore, Store
from ling_agent.messages import to_openai
from ling_agent.serve import asgi
from ling_agent.testing import ScriptedBackend

from .asgi import Answer, chat, user

pytestmark = pytest.mark.anyio

SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [SYSTEM, user("one"), {"role": "assistant", "content": "two"}]


def shown(request: ModelRequest) -> str:
    """What the model reads, as its answer."""
    told = map(to_openai, request.messages)
    return " | ".join(f"{each['role']}: {each['content']}" for each in told)


def agent_of(*script: Any, store: Store | None = None, **options: Any) -> Agent[Any]:
    memory = Memory(store or InMemoryStore())
    backend = ScriptedBackend(script or [shown] * 9)
    return Agent(backend, planning="off", memory=memory, instructions="You sell.", **options)


def said(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.json()["choices"][0]["message"]["content"]


def kept(agent: Agent[Any]) -> list[tuple[str, str]]:
    return [(info.run_id, info.status) for info in agent.memory.store.runs()]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = InMemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")
    with closing(made):
        yield made


async def test_earlier_messages_are_the_context(store: Store) -> None:
    agent = agent_of(store=store)
    app = asgi(agent)
    seen = said(await chat(app, *EARLIER, "three"))
    assert seen == "system: You sell.\n\nBe brief. | user: one | assistant: two | user: three"
    assert said(await chat(app, "four")) == "system: You sell. | user: four"
    assert kept(agent) == []


async def test_a_session_goes_on_by_itself(store: Store) -> None:
    agent = agent_of("Hello.", shown, store=store)
    app = asgi(agent)
    await chat(app, "one", session="s")
    seen = said(
        await chat(
            app, user("of another"), {"role": "assistant", "content": "x"}, "two", session="s"
        )
    )
    assert seen == "system: You sell. | user: one | assistant: Hello. | user: two"
    assert kept(agent) == [("http:s", "completed")]


async def test_a_session_that_is_new_here_begins_with_what_its_client_has(store: Store) -> None:
    agent = agent_of(store=store)
    app = asgi(agent)
    first = said(await chat(app, *EARLIER, "three", session="s"))
    assert first == "system: You sell.\n\nBe brief. | user: one | assistant: two | user: three"
    second = said(
        await chat(
            app, *EARLIER, "three", {"role": "assistant", "content": first}, "four", session="s"
        )
    )
    assert second == f"{first} | assistant: {first} | user: four"


async def test_sessions_are_apart() -> None:
    agent = agent_of("a", "b", shown)
    app = asgi(agent)
    await chat(app, "one", session="s")
    await chat(app, "two", session="t", stream=True)
    assert said(await chat(app, "three", session="t")).startswith("system: You sell. | user: two |")
    assert {name for name, _ in kept(agent)} == {"http:s", "http:t"}


async def test_a_streamed_session_may_go_on_as_soon_as_the_answer_is_there() -> None:
    agent = agent_of(*["a"] * 40)
    app = asgi(agent)
    for number in range(40):
        answer = await chat(app, f"{number}", session="s", stream=number % 2 == 0)
        assert answer.status == 200
    (info,) = agent.memory.store.runs()
    assert info.steps == 40


async def test_the_applications_own_runs_cannot_be_reached() -> None:
    agent = agent_of("mine", shown)
    await agent.run("private", session="s")
    assert "private" not in said(await chat(asgi(agent), "one", session="s"))


async def test_the_application_reaches_a_clients_session() -> None:
    agent = agent_of("a", shown)
    await chat(asgi(agent), "one", session="s")
    result = await agent.run("two", session="http:s")
    assert "user: one" in str(result.output)


@pytest.mark.parametrize("name", [" ", "a b", "é", "a/b", "x" * 129, "a\n"])
async def test_names_that_are_none(name: str) -> None:
    answer = await chat(asgi(agent_of()), "one", session=name)
    assert (answer.status, answer.error["param"]) == (400, "X-Session-Id")


async def test_a_task_that_could_not_be_begun_may_be_sent_again() -> None:
    agent = agent_of(BackendUnavailable("gone"), shown)
    app = asgi(agent)
    assert (await chat(app, *EARLIER, "three", session="s")).status == 503
    seen = said(await chat(app, *EARLIER, "three", session="s"))
    assert seen == "system: You sell.\n\nBe brief. | user: one | assistant: two | user: three"


async def test_a_session_of_another_process_is_busy(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "runs.db")) as here:
        with closing(SQLiteStore(tmp_path / "runs.db")) as there, there.claim("http:s"):
            answer = await chat(asgi(agent_of(store=here)), "one", session="s")
            assert (answer.status, answer.error["code"]) == (409, "session_busy")
        assert (await chat(asgi(agent_of(store=here)), "one", session="s")).status == 200


async def test_a_store_that_cannot_be_read_is_told_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"this is no database" * 100)
    with closing(SQLiteStore(tmp_path / "runs.db")) as broken:
        answer = await chat(asgi(agent_of(store=broken)), "one", session="s")
    assert (answer.status, answer.error["code"]) == (500, "store_error")
    assert str(tmp_path) not in answer.body.decode()


async def test_agents_that_share_a_memory_share_sessions() -> None:
    memory = Memory()
    first = Agent(ScriptedBackend(["a"]), planning="off", memory=memory, name="agent")
    second = Agent(ScriptedBackend([shown]), planning="off", memory=memory, name="second")
    app = asgi([first, second])
    await chat(app, "one", session="s")
    answer = await chat(app, "two", session="s", model="second")
    assert said(answer) == "user: one | assistant: a | user: two"
