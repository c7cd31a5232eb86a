"""Hooks: which moments they take, their order, and what they may change."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import TypeAliasType

from ling_agent import (
    Agent,
    ApprovalRequest,
    ConfigurationError,
)
from ling_agent.errors import Vetoed
from ling_agent.hooks import (
    AfterModel,
    AfterTool,
    BeforeAnswer,
    BeforeModel,
    BeforeRun,
    BeforeTool,
    Hooks,
    Moment,
    Veto,
)
from ling_agent.testing import ScriptedBackend

from .helpers import call, observations
from .hooked import Shelf, requests

pytestmark = pytest.mark.anyio


# -- which moments they take ----------------------------------------------------------------------


async def test_each_moment_comes_once_in_its_place() -> None:
    seen: list[Moment] = []

    def everything(moment: Moment) -> None:
        seen.append(moment)

    agent = Shelf().agent(call("look", item="tea"), "done", hooks=[everything])
    result = await agent.run("Find tea.", deps="deps")
    names = "BeforeRun BeforeModel AfterModel BeforeTool AfterTool BeforeModel AfterModel"
    assert [type(moment).__name__ for moment in seen] == [*names.split(), "BeforeAnswer"]
    assert [moment.step for moment in seen] == [0, 1, 1, 1, 1, 2, 2, 2]
    assert {moment.run_id for moment in seen} == {result.run_id}
    assert {moment.deps for moment in seen} == {"deps"}


async def test_functions_methods_objects_and_partials_are_hooks() -> None:
    seen: list[str] = []

    def function(moment: BeforeAnswer) -> None:
        seen.append("function")

    async def coroutine(moment: BeforeAnswer) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append("coroutine")

    def with_name(name: str, moment: BeforeAnswer) -> None:
        seen.append(name)

    class Guard:
        def method(self, moment: BeforeAnswer) -> None:
            seen.append("method")

        async def __call__(self, moment: BeforeAnswer) -> None:
            seen.append("object")

        @staticmethod
        def static(moment: BeforeAnswer) -> None:
            seen.append("static")

        @classmethod
        def of_class(cls, moment: BeforeAnswer) -> None:
            seen.append("class")

    @functools.wraps(function)
    def wrapped(*args: Any) -> None:
        function(*args)

    guard = Guard()
    hooks: list[Callable[..., Any]] = [
        function,
        coroutine,
        functools.partial(with_name, "partial"),
        guard.method,
        guard,
        functools.partial(guard),
        guard.static,
        guard.of_class,
        wrapped,
        lambda_like(seen),
    ]
    await Shelf().agent("done", hooks=hooks).run("x")
    names = "function coroutine partial method object object static class function closure"
    assert seen == names.split()


def lambda_like(seen: list[str]) -> Callable[[BeforeAnswer], None]:
    def closure(moment: BeforeAnswer, more: int = 1) -> None:
        seen.append("closure")

    return closure


async def test_a_union_takes_several_moments() -> None:
    seen: list[str] = []

    def both(moment: BeforeTool | AfterTool) -> None:
        seen.append(type(moment).__name__)

    await Shelf().agent(call("look", item="tea"), "done", hooks=[both]).run("x")
    assert seen == ["BeforeTool", "AfterTool"]


Calls = TypeAliasType("Calls", BeforeTool | AfterTool)


def test_an_alias_and_an_annotated_moment_are_read() -> None:
    def alias(moment: Calls) -> None: ...

    def annotated(moment: Annotated[BeforeRun, "a note"]) -> None: ...

    assert [kind in Hooks([alias]) for kind in (BeforeTool, AfterTool, BeforeRun)] == [
        True,
        True,
        False,
    ]
    assert BeforeRun in Hooks([annotated])


async def test_only_the_annotation_of_the_moment_is_read() -> None:
    class Local:
        pass

    def hook(moment: BeforeAnswer, extra: Local | None = None) -> Local | None:
        return None

    def unknown(moment: BeforeAnswer) -> Nowhere | None:  # noqa: F821  # pyright: ignore
        return None

    assert BeforeAnswer in Hooks([hook])
    assert BeforeAnswer in Hooks([unknown])  # pyright: ignore


async def test_a_moment_that_is_imported_inside_a_function_is_found() -> None:
    from ling_agent.hooks import BeforeTool as Locally

    def hook(moment: Locally) -> None:
        pass

    assert BeforeTool in Hooks([hook])


def no_parameter() -> None: ...


def no_annotation(moment):  # pyright: ignore
    ...


def another_type(moment: int) -> None: ...


def a_type_among_moments(moment: BeforeTool | str) -> None: ...


def unknown_name(moment: Nothing) -> None: ...  # noqa: F821  # pyright: ignore


def two_parameters(moment: BeforeTool, other: int) -> None: ...


def by_keyword(*, moment: BeforeTool) -> None: ...


def any_type(moment: Any) -> None: ...


@pytest.mark.parametrize(
    "hook",
    [
        no_parameter,
        no_annotation,  # pyright: ignore
        another_type,
        a_type_among_moments,
        unknown_name,
        two_parameters,
        by_keyword,
        any_type,
        BeforeTool,
        print,
        len,
    ],
)
def test_nonsense_is_refused_when_the_agent_is_made(hook: Any) -> None:
    with pytest.raises(ConfigurationError, match="annotate its parameter with the moment") as info:
        Agent(ScriptedBackend([]), hooks=[hook])
    assert "\n" not in str(info.value)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is not a function"):
        Agent(ScriptedBackend([]), hooks=["guard"])  # pyright: ignore
    with pytest.raises(ConfigurationError, match="hooks: give a list of functions"):
        Agent(ScriptedBackend([]), hooks=lambda_like([]))  # pyright: ignore


# -- order and changes ----------------------------------------------------------------------------


async def test_each_gets_what_the_one_before_it_returned_and_a_veto_ends_the_row() -> None:
    seen: list[str] = []

    def first(moment: BeforeRun) -> BeforeRun:
        return dataclasses.replace(moment, task=moment.task + " one")

    def second(moment: BeforeRun) -> None:
        seen.append(moment.task)

    async def third(moment: BeforeRun) -> Veto:
        return Veto(f"no {moment.task}")

    def fourth(moment: BeforeRun) -> None:
        seen.append("never")

    agent = Shelf().agent("done", hooks=[first, second, third, fourth])
    with pytest.raises(Vetoed, match="no task one"):
        await agent.run("task")
    assert seen == ["task one"]


def returns_nonsense(moment: BeforeTool) -> Any:
    return True


def returns_another_moment(moment: BeforeTool) -> Any:
    return BeforeRun(run_id="", step=0, deps=None, task="x")


def renames_the_tool(moment: BeforeTool) -> Any:
    return dataclasses.replace(moment, name="buy")


def changes_the_call_id(moment: BeforeTool) -> Any:
    return dataclasses.replace(moment, call_id="call_9_9")


def no_json(moment: BeforeTool) -> Any:
    return dataclasses.replace(moment, arguments={"item": {1, 2}})


def no_object(moment: BeforeTool) -> Any:
    return dataclasses.replace(moment, arguments=["tea"])  # pyright: ignore


def no_text(moment: AfterTool) -> Any:
    return dataclasses.replace(moment, text=3)  # pyright: ignore


def another_value(moment: AfterTool) -> Any:
    return dataclasses.replace(moment, value="x")


def empty_task(moment: BeforeRun) -> Any:
    return dataclasses.replace(moment, task=" ")


def no_sampling(moment: BeforeModel) -> Any:
    return dataclasses.replace(moment, sampling={"temperature": 1})  # pyright: ignore


def no_note(moment: BeforeModel) -> Any:
    return dataclasses.replace(moment, note=None)  # pyright: ignore


def other_messages(moment: BeforeModel) -> Any:
    return dataclasses.replace(moment, messages=())


def another_message(moment: AfterModel) -> Any:
    return dataclasses.replace(
        moment, message=dataclasses.replace(moment.message, content="something else")
    )


def a_number_for_text(moment: BeforeAnswer) -> Any:
    return dataclasses.replace(moment, output=3)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (returns_nonsense, "returned bool: return None, Veto"),
        (returns_another_moment, "returned BeforeRun"),
        (renames_the_tool, "changed name of BeforeTool"),
        (changes_the_call_id, "changed call_id of BeforeTool"),
        (no_json, "arguments of BeforeTool must be"),
        (no_object, "arguments of BeforeTool must be"),
        (no_text, "text of AfterTool must be"),
        (another_value, "changed value of AfterTool"),
        (empty_task, "task is empty"),
        (no_sampling, "sampling of BeforeModel must be"),
        (no_note, "note of BeforeModel must be"),
        (other_messages, "changed messages of BeforeModel"),
        (another_message, "changed message of AfterModel"),
        (a_number_for_text, "output of BeforeAnswer must be"),
    ],
)
async def test_what_may_not_be_changed_is_refused(hook: Any, message: str) -> None:
    shelf = Shelf()
    agent = shelf.agent(call("look", item="tea"), "done", hooks=[hook])
    with pytest.raises(ConfigurationError, match=message) as info:
        await agent.run("task")
    assert "\n" not in str(info.value)
    if isinstance(hook, type(no_json)) and hook in (no_json, no_object):
        assert shelf.asked == []  # found before the call runs


async def test_what_a_hook_changes_in_place_changes_the_call_and_not_the_message() -> None:
    def in_place(moment: BeforeTool) -> None:
        arguments: Any = moment.arguments
        arguments["item"] = "jam"

    def spoil(moment: AfterModel | AfterTool) -> None:
        made = moment.message.calls if isinstance(moment, AfterModel) else (moment.call,)
        for each in made:
            each.arguments.clear()

    shelf = Shelf()
    agent = shelf.agent(call("look", item="tea"), "done", hooks=[spoil, in_place])
    result = await agent.run("x")
    assert shelf.asked == ["jam"]
    assert observations(result)[0].startswith("(The application changed the arguments to")
    assert result.steps[0].message.calls[0].arguments == {"item": "tea"}
    assert requests(agent)[1].messages[1].calls[0].arguments == {"item": "tea"}


async def test_an_approver_changes_nothing_in_place() -> None:
    def spoil(request: ApprovalRequest) -> bool:
        request.call.arguments["item"] = "jam"
        return True

    shelf = Shelf()
    result = await shelf.agent(call("buy", item="tea"), "done", approve=spoil).run("x")
    assert shelf.asked == ["tea"]
    assert observations(result) == ["bought tea"]


@pytest.mark.parametrize("reason", ["", " ", None, 3])
def test_a_veto_has_a_reason(reason: Any) -> None:
    with pytest.raises(ConfigurationError, match="give the reason"):
        Veto(reason)
