"""What a small model means to call, found out aside before the first message of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from ling_agent import (
    Agent,
    BackendUnavailable,
    CancelToken,
    ContextOverflow,
    Limits,
    RunStatus,
    Sampling,
    tool,
)
from ling_agent.backends import ModelRequest
from ling_agent.backends.base import DRAFTS
from ling_agent.demonstrations import IN_PYTHON
from ling_agent.drafting import QUESTIONS
from ling_agent.events import PlanMade, StepFinished, ToolFinished
from ling_agent.hermes import ArgumentsDelta, CallParsed, CallStarted, TextDelta
from ling_agent.hermes.python_calls import write_call
from ling_agent.messages import UserMessage
from ling_agent.results import RunResult
from ling_agent.testing import ScriptedBackend
from ling_agent.testing.scripted import Reply, Scripted

from .helpers import kinds, observations, stream
from .paced import PacedBackend, Piece

pytestmark = pytest.mark.anyio

SMALL = 500_000_000
OPENING = "<tool_call>"
TASK = "Weather in Oslo and in Rome?"
PLAN = "weather` for it.\n"
REST = 'city": "Oslo"}}'

Weigh = Callable[[ModelRequest], Sequence[float]]


@tool
async def weather(city: str, days: int | None = None, unit: str | None = None) -> str:
    """The weather of a city."""
    return f"{city} {days} {unit}"


@tool
async def clock(zone: str) -> str:
    """The time."""
    return f"12:00 in {zone}"


def made(name: str, **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def listed(*calls: str, end: str = "\n]") -> str:
    return ",\n    ".join(calls) + end


def python(*calls: str, end: str = "\n```") -> str:
    read = map(json.loads, calls)
    return "\n".join(write_call(call["name"], call["arguments"]) for call in read) + end


def drafts(*calls: str) -> list[Scripted]:
    """Two drafts that agree."""
    return [python(*calls), listed(*calls)]


OSLO, ROME, PARIS = (made("weather", city=city) for city in ("Oslo", "Rome", "Paris"))


def odds(yes: float) -> Weigh:
    """So many times as likely as no, as a natural logarithm; halves of it in either spelling."""
    return lambda request: (yes - 5.0, yes - 5.0, -5.0, -5.0)


def small(*script: Scripted, weigh: Weigh | None = None, **options: Any) -> ScriptedBackend:
    return ScriptedBackend(
        script, renders_prompts=True, chunk_size=4, parameters=SMALL, weigh=weigh, **options
    )


def agent_on(backend: ScriptedBackend, **options: Any) -> Agent:
    return Agent(backend, tools=[weather, clock], **options)


def usages(result: RunResult) -> list[bool]:
    """Of each request that was written down, whether it was made aside."""
    return [bool(e.data.get("aside")) for e in result.trajectory if e.kind == "usage"]


# -- several calls --------------------------------------------------------------------------------


async def test_several_calls_are_one_message_with_a_plan_that_says_so() -> None:
    backend = small(OPENING, *drafts(OSLO, ROME), "Fine.")
    events, result = await stream(agent_on(backend), TASK)
    assert (result.output, observations(result)) == ("Fine.", ["Oslo None None", "Rome None None"])
    assert result.plan is not None
    assert result.plan.text == "use the tool `weather` 2 times."
    message = result.steps[0].message
    assert message.raw == (
        "Plan: use the tool `weather` 2 times.\n"
        f"<tool_call>\n{OSLO}\n</tool_call>\n<tool_call>\n{ROME}\n</tool_call>"
    )
    shown = [e for e in events if isinstance(e, PlanMade | CallStarted | CallParsed)]
    assert isinstance(shown[0], PlanMade)
    assert [e.id for e in events if isinstance(e, CallParsed)] == ["call_1_0", "call_1_1"]
    assert len([e for e in events if isinstance(e, ToolFinished)]) == 2
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Fine."
    first, *asides = backend.requests[:3]
    for request, form, shown in zip(asides, ("python", "listed"), (IN_PYTHON, ()), strict=True):
        assert (request.tool_choice, request.prefill) == (form, DRAFTS[form].prefill)
        assert request.messages == (*shown, *first.messages)
        assert not request.watched
    backend.assert_exhausted()


@pytest.mark.parametrize("instructions", ["", "Be short."])
async def test_what_is_shown_is_kept_for_other_conversations_at_their_beginning(
    instructions: str,
) -> None:
    backend = small(*[OPENING, *drafts(OSLO, ROME), "Fine."] * 2)
    agent = agent_on(backend, instructions=instructions)
    for _ in range(2):
        await agent.run(TASK, session="s")
    first, later = (
        [request for request in backend.requests[at : at + 3] if request.tool_choice == "python"]
        for at in (0, 4)
    )
    *before, _ = first[0].messages
    assert first[0].shared == len(before) == bool(instructions) + len(IN_PYTHON)
    assert later[0].shared == 0, "what was said in the first run stands before it"


async def test_each_request_is_counted_and_written_down_once() -> None:
    backend = small(OPENING, *drafts(OSLO, ROME), "Fine.")
    events, result = await stream(agent_on(backend), TASK)
    assert result.usage.requests == len(backend.requests) == 4
    assert usages(result) == [False, True, True, False], "several calls have cost nothing more"
    written = [e.data for e in result.trajectory if e.kind == "usage"]
    assert sum(data["prompt_tokens"] for data in written) == result.usage.prompt_tokens
    assert sum(data["completion_tokens"] for data in written) == result.usage.completion_tokens
    steps = [e.usage.requests for e in events if isinstance(e, StepFinished)]
    assert steps == [step.usage.requests for step in result.steps] == [3, 1]
    assert result.trajectory.tokens > 0


async def test_tools_of_several_names_are_all_named_in_the_plan() -> None:
    calls = drafts(OSLO, made("clock", zone="Rome"))
    result = await agent_on(small(OPENING, *calls, "ok")).run("Weather in Oslo, time in Rome?")
    assert result.plan is not None
    assert result.plan.text == "use the tools `weather` and `clock`."
    assert observations(result) == ["Oslo None None", "12:00 in Rome"]


async def test_streamed_and_unstreamed_runs_are_the_same() -> None:
    script = (OPENING, *drafts(OSLO, made("weather", city="Rome", unit="kelvin")), "Fine.")
    plain = await agent_on(small(*script)).run(TASK)
    _, streamed = await stream(agent_on(small(*script)), TASK)
    assert streamed.output == plain.output
    assert streamed.trajectory.messages() == plain.trajectory.messages()
    assert kinds(streamed) == kinds(plain)


async def test_prompts_extend_each_other() -> None:
    """But for what is drafted behind demonstrations, which has only the beginning in common."""
    backend = small(OPENING, *drafts(OSLO, ROME), OPENING, "Fine.")
    await agent_on(backend).run(TASK)
    kept = [request for request in backend.requests if request.tool_choice != "python"]
    prompts = [backend.prompt(request) for request in kept]
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))


async def test_inventions_are_left_out_and_told() -> None:
    invented = made("weather", city="Rome", unit="kelvin")
    backend = small(OPENING, *drafts(OSLO, invented), "Fine.")
    events, result = await stream(agent_on(backend), TASK)
    notes = ('left out unit: nobody mentioned "kelvin"',)
    first, second = result.steps[0].message.calls
    assert (first.repairs, second.repairs) == ((), notes)
    assert second.arguments == {"city": "Rome"}
    assert [e.repairs for e in events if isinstance(e, CallParsed)] == [(), notes]
    assert "kelvin" not in (result.steps[0].message.raw or "")


async def test_a_call_that_nobody_asked_for_ends_the_draft() -> None:
    on = AssertionError("the draft went on")
    listing: list[Piece] = [f"{OSLO},\n    ", f"{ROME},\n", f"    {PARIS[:-1]}", "}", ",\n    ", on]
    lines: list[Piece] = [f"{python(OSLO, ROME, end='')}\n", python(PARIS, end="")[:-1], ")", on]
    script = ([OPENING], lines, listing, ["Fine."])
    backend = PacedBackend(*script, renders_prompts=True, parameters=SMALL)
    result = await Agent(backend, tools=[weather]).run(TASK)
    assert observations(result) == ["Oslo None None", "Rome None None"]


async def test_a_draft_ends_with_as_many_calls_as_may_be_made() -> None:
    on = AssertionError("the draft went on")
    listing: list[Piece] = [f"{OSLO},\n    ", ROME, ",\n    ", on]
    lines: list[Piece] = [f"{python(OSLO, end='')}\n", python(ROME, end=""), "\n", on]
    script = ([OPENING], lines, listing, ["Fine."])
    backend = PacedBackend(*script, renders_prompts=True, parameters=SMALL)
    limits = Limits(max_parallel_tools=2)
    result = await Agent(backend, tools=[weather], limits=limits).run(TASK)
    assert observations(result) == ["Oslo None None", "Rome None None"]


@pytest.mark.parametrize(("limits", "most"), [({"max_parallel_tools": 2}, 2), ({}, 3)])
async def test_of_many_calls_as_many_are_made_as_run_together(
    limits: dict[str, int], most: int
) -> None:
    backend = small(OPENING, *drafts(OSLO, ROME, PARIS), "Fine.")
    agent = agent_on(backend, limits=Limits(**limits))
    result = await agent.run("Weather in Oslo, Rome and Paris?")
    assert len(observations(result)) == most


async def test_no_more_calls_are_made_than_may_be_made() -> None:
    backend = small(OPENING, *drafts(OSLO, ROME, PARIS), "Fine.")
    agent = agent_on(backend, limits=Limits(max_tool_calls=2))
    result = await agent.run("Weather in Oslo, Rome and Paris?")
    assert (result.status, result.output) == (RunStatus.completed, "Fine.")
    assert result.usage.tool_calls == 2


async def test_a_draft_that_is_cut_keeps_its_complete_calls() -> None:
    cut = Reply(listed(OSLO, ROME, '{"name": "weather", "argu', end=""), "length")
    lines = Reply(f"{python(OSLO, ROME, end='')}\nweather(ci", "length")
    result = await agent_on(small(OPENING, lines, cut, "Fine.")).run(TASK)
    assert observations(result) == ["Oslo None None", "Rome None None"]


# -- no draft that can be used --------------------------------------------------------------------


@pytest.mark.parametrize(
    "draft",
    [
        "",
        "I am sorry, I cannot do that.",
        '{"name": "weather", "argu',
        listed(made("wetter", city="Oslo")),
        '{"name": ["weather"], "arguments": {}}\n]',
        '{"name": {"a": 1}, "arguments": {}}\n]',
        '{"name": "weather", "arguments": ["Oslo"]}\n]',
        '{"name": "weather"}\n]',
        '{"name": "weather", "arguments": {"city": NaN}}\n]',
        '{"name": "weather", "arguments": {"city": 1e999}}\n]',
        '{"name": "weather", "arguments": {"city": "\\ud800"}}\n]',
        '{"name": "weather", "arguments": {"city": ' + "9" * 5000 + "}}\n]",
        "[" * 100_000,
        '{"name": "weather", "arguments": {"city": ' + "[" * 100_000,
        "]\n```",
        "null,\n    1\n]",
    ],
)
async def test_of_rubbish_nothing_is_taken(draft: str) -> None:
    backend = small(OPENING, Reply(draft), Reply(draft), PLAN, REST, "Fine.", weigh=odds(9.0))
    result = await agent_on(backend).run(TASK)
    assert (result.output, observations(result)) == ("Fine.", ["Oslo None None"])
    assert usages(result) == [False, *[True] * 6, False]
    backend.assert_exhausted()


async def test_behind_a_tool_that_does_not_exist_a_draft_is_not_read() -> None:
    backend = small(OPENING, *drafts(OSLO, made("wetter", city="Rome"), ROME), PLAN, REST, "Fine.")
    assert observations(await agent_on(backend).run(TASK)) == ["Oslo None None"]


async def test_a_draft_that_does_not_fit_is_none() -> None:
    long = ContextOverflow("too long")
    backend = small(OPENING, long, long, PLAN, REST, "Fine.")
    result = await agent_on(backend).run(TASK)
    assert (result.status, observations(result)) == (RunStatus.completed, ["Oslo None None"])


async def test_a_model_that_is_gone_ends_the_run_and_it_can_be_resumed() -> None:
    script = [OPENING, BackendUnavailable("gone"), OPENING, *drafts(OSLO, ROME), "Fine."]
    agent = agent_on(small(*script))
    result = await agent.run(TASK)
    assert (result.status, result.usage.requests) == (RunStatus.failed, 2)
    resumed = await agent.resume(result.run_id)
    assert (resumed.output, len(observations(resumed))) == ("Fine.", 2)


@pytest.mark.parametrize("parameters", [None, 70_000_000_000])
async def test_a_large_model_drafts_nothing(parameters: int | None) -> None:
    script = [OPENING, PLAN, ' {"city": "Oslo"}}\n</tool_call>', "Fine."]
    backend = ScriptedBackend(script, renders_prompts=True, parameters=parameters)
    result = await agent_on(backend).run(TASK)
    assert observations(result) == ["Oslo None None"]
    assert {request.tool_choice for request in backend.requests} == {"auto"}
    assert usages(result) == [False] * 4


@pytest.mark.parametrize("planning", ["off", "explicit"])
async def test_without_an_inline_plan_nothing_is_drafted(planning: Any) -> None:
    whole = f"<tool_call>\n{OSLO}\n</tool_call>"
    backend = small(*([" weather\n"] if planning == "explicit" else []), whole, "Fine.")
    result = await agent_on(backend, planning=planning).run(TASK)
    assert observations(result) == ["Oslo None None"]
    assert not any(usages(result))


async def test_only_the_first_message_is_drafted() -> None:
    more = f"<tool_call>\n{ROME}\n</tool_call>"
    backend = small(OPENING, *drafts(OSLO), PLAN, REST, more, "Fine.", weigh=odds(9.0))
    result = await agent_on(backend).run(TASK)
    assert observations(result) == ["Oslo None None", "Rome None None"]
    assert usages(result) == [False, *[True] * 6, False, False]


# -- one call: whether it is meant ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "task", "meant"),
    [
        (1.0, "Weather in the capital of Norway?", True),
        (0.1, "Weather in the capital of Norway?", True),
        (-0.1, "Weather in the capital of Norway?", False),
        (-0.4, "Weather in Oslo?", True),
        (-0.6, "Weather in Oslo?", False),
    ],
)
async def test_one_call_is_made_where_yes_is_likely_enough(
    yes: float, task: str, meant: bool
) -> None:
    backend = small(OPENING, *drafts(OSLO), PLAN, REST, "Fine.", weigh=odds(yes))
    events, result = await stream(agent_on(backend), task)
    assert (result.status, result.output) == (RunStatus.completed, "Fine.")
    assert len(observations(result)) == meant
    asked, later = backend.requests[5:7], backend.requests[7:]
    assert [r.tool_choice for r in later] == (["auto"] if meant else ["none"])
    for request, question in zip(asked, QUESTIONS, strict=True):
        assert request.weigh == ("yes", "Yes", "no", "No")
        assert request.sampling.max_tokens == 1
        assert request.messages[-1] == UserMessage(question.format(tool="weather"))
        assert request.messages[-1] not in later[0].messages, "it is not kept"
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Fine."
    assert result.usage.requests == len(backend.requests)
    assert usages(result)[:7] == [False, *[True] * 6]
    backend.assert_exhausted()


async def test_the_mean_of_both_questions_counts() -> None:
    for does, needs, meant in ((2.0, -1.0, 1), (1.0, -2.0, 0), (-1.0, 2.0, 1)):

        def weigh(request: ModelRequest, does: float = does, needs: float = needs) -> Any:
            asks_need = "need" in request.messages[-1].content
            return odds(needs if asks_need else does)(request)

        backend = small(OPENING, *drafts(OSLO), PLAN, REST, "Fine.", weigh=weigh)
        result = await agent_on(backend).run("Weather in the capital of Norway?")
        assert result.usage.tool_calls == meant


@pytest.mark.parametrize("weights", [(), (float("-inf"),) * 4, (-9000.0,) * 4])
async def test_a_backend_that_cannot_tell_makes_the_call(weights: tuple[float, ...]) -> None:
    backend = small(OPENING, *drafts(OSLO), PLAN, REST, "Fine.", weigh=lambda request: weights)
    assert observations(await agent_on(backend).run("Oslo?")) == ["Oslo None None"]


async def test_the_one_call_is_a_message_with_a_plan() -> None:
    rest = 'city": "Oslo", "days": 7}}'
    backend = small(OPENING, *drafts(OSLO), PLAN, rest, "Fine.")
    events, result = await stream(agent_on(backend), "Oslo?")
    (call,) = result.steps[0].message.calls
    notes = ("left out days: nobody mentioned 7",)
    assert (call.arguments, call.repairs) == ({"city": "Oslo"}, notes)
    assert [e.repairs for e in events if isinstance(e, CallParsed)] == [notes]
    assert "7" not in "".join(e.text for e in events if isinstance(e, ArgumentsDelta))
    assert result.steps[0].message.raw == (
        f"Plan: use the tool `weather` for it.\n<tool_call>\n{OSLO}\n</tool_call>"
    )
    assert result.plan is not None
    assert result.plan.text == "use the tool `weather` for it."


async def test_the_answer_in_words_is_typed() -> None:
    script = [OPENING, *drafts(OSLO), PLAN, REST, '{"degrees": 3}']
    backend = small(*script, weigh=odds(-9.0))

    from pydantic import BaseModel

    class Answer(BaseModel):
        degrees: int

    result = await Agent(backend, tools=[weather], output_type=Answer).run("Is 3 degrees cold?")
    assert result.output == Answer(degrees=3)
    schemas = [request.answer_schema is not None for request in backend.requests]
    assert schemas == [True, *[False] * 6, True], "no draft is held to the answer's form"


async def test_a_typed_answer_comes_behind_drafted_calls() -> None:
    backend = small(OPENING, *drafts(OSLO, ROME), "[3, 20]")
    result = await Agent(backend, tools=[weather], output_type=list[int]).run(TASK)
    assert (result.output, result.usage.tool_calls) == ([3, 20], 2)


async def test_a_question_that_does_not_fit_makes_the_call() -> None:
    def overflow(request: ModelRequest) -> Sequence[float]:
        raise ContextOverflow("too long")

    backend = small(OPENING, *drafts(OSLO), PLAN, REST, "Fine.", weigh=overflow)
    assert observations(await agent_on(backend).run("Oslo?")) == ["Oslo None None"]


# -- the call behind its plan ---------------------------------------------------------------------


@pytest.mark.parametrize("rest", [REST, 'city": "Oslo",}}', "city\": 'Oslo'}}"])
@pytest.mark.parametrize("behind", ["", "<tool_call>\n{", f"<tool_call>\n{ROME}\n</tool_call>"])
async def test_behind_the_one_call_everything_is_cut_off(rest: str, behind: str) -> None:
    """Also where a piece holds both, and where the call has to be repaired."""
    text = Reply(f"{rest}\n</tool_call>\n{behind}")
    backend = small(OPENING, *drafts(OSLO), PLAN, text, "Fine.")
    events, result = await stream(agent_on(backend), TASK)
    assert observations(result) == ["Oslo None None"]
    (call,) = result.steps[0].message.calls
    assert bool(call.repairs) is (rest != REST)
    assert [e.repairs for e in events if isinstance(e, CallParsed)] == [call.repairs]
    assert (result.steps[0].message.raw or "").count("<tool_call>") == 1


async def test_where_the_plan_names_no_tool_the_draft_is_made() -> None:
    backend = small(OPENING, *drafts(OSLO), "none`.\n", "Fine.")
    result = await agent_on(backend).run("Oslo?")
    assert observations(result) == ["Oslo None None"]
    assert result.plan is not None
    assert result.plan.text == "use the tool `weather`."


async def test_where_nothing_names_a_tool_the_text_comes_as_it_is_written() -> None:
    backend = small(OPENING, "", "", "none`.\n", "none`.\n", "It is cold in Oslo.")
    events, result = await stream(agent_on(backend), "Oslo?")
    assert result.output == "It is cold in Oslo."
    texts = [e.text for e in events if isinstance(e, TextDelta)]
    assert "".join(texts).strip() == result.output
    assert len(texts) > 1


# -- limits and ends between the requests ---------------------------------------------------------

ONE: list[Scripted] = [OPENING, *drafts(OSLO), "Fine."]
TWO: list[Scripted] = [OPENING, *drafts(OSLO, ROME), "Fine."]
UNSURE: list[Scripted] = [OPENING, python(OSLO, ROME), listed(OSLO), "Fine."]
UNLIKE: list[Scripted] = [OPENING, python(OSLO), listed(ROME), "Fine."]


@pytest.mark.parametrize("script", [ONE, TWO, UNSURE, UNLIKE])
async def test_where_a_token_limit_ends_the_run_it_can_go_on(script: list[Scripted]) -> None:
    whole = await agent_on(Knowing(script)).run(TASK)
    ends: set[int] = set()
    for limit in range(0, 4 * whole.usage.total_tokens, 29):
        backend = Knowing(script)
        agent = agent_on(backend, sampling=Sampling(max_tokens=20))
        result = await agent.run(TASK, limits=Limits(max_total_tokens=limit))
        asked = [request.sampling.max_tokens for request in backend.requests]
        assert all(1 <= tokens <= 20 for tokens in asked)
        assert result.usage.requests == len(asked)
        if result.status is not RunStatus.completed:
            assert (result.status, result.output) == (RunStatus.max_tokens, None)
            ends.add(len(asked))
            result = await agent.resume(result.run_id)
        assert (result.status, result.output) == (RunStatus.completed, "Fine.")
    assert len(ends) > 1, "at several places"


@pytest.mark.parametrize("script", [ONE, TWO, UNSURE, UNLIKE])
async def test_a_run_that_is_stopped_between_any_two_requests_can_go_on(
    script: list[Scripted],
) -> None:
    whole = await agent_on(Knowing(script)).run(TASK)
    for at in range(1, whole.usage.requests + 1):
        token = CancelToken()
        backend = Knowing(script, at, token.stop)
        agent = agent_on(backend)
        events, result = await stream(agent, TASK, cancel=token)
        assert len(backend.requests) == result.usage.requests == at
        if at < whole.usage.requests:
            assert (result.status, result.output) == (RunStatus.stopped, None)
            assert "".join(e.text for e in events if isinstance(e, TextDelta)) == ""
            resumed = await agent.resume(result.run_id)
            assert (resumed.status, resumed.output) == (RunStatus.completed, "Fine.")
            assert observations(resumed) == observations(whole)


@pytest.mark.parametrize("script", [ONE, TWO, UNSURE, UNLIKE])
async def test_a_run_that_fails_in_any_request_can_go_on(script: list[Scripted]) -> None:
    def fail() -> None:
        raise BackendUnavailable("gone")

    whole = await agent_on(Knowing(script)).run(TASK)
    for at in range(2, whole.usage.requests + 1):  # in the first there is nothing to go on from
        backend = Knowing(script, at, fail)
        agent = agent_on(backend)
        result = await agent.run(TASK)
        assert (result.status, result.usage.requests) == (RunStatus.failed, at)
        resumed = await agent.resume(result.run_id)
        assert (resumed.status, resumed.output) == (RunStatus.completed, "Fine.")
        assert observations(resumed) == observations(whole)


class Knowing(ScriptedBackend):
    """Writes what of a script belongs to a request, however often it is made.

    Args:
        script: `ONE`, `TWO`, `UNSURE` or `UNLIKE`.
        at: Number of a request, from one on, with which something happens.
        happens: What.
    """

    def __init__(
        self, script: list[Scripted], at: int = 0, happens: Callable[[], None] | None = None
    ) -> None:
        super().__init__(
            [self._reply] * 20, renders_prompts=True, parameters=SMALL, weigh=self._weights
        )
        _, self._python, self._listed, _ = map(str, script)
        self._at, self._happens = at, happens

    def _weights(self, request: ModelRequest) -> Sequence[float]:
        self._count()
        return ()

    def _reply(self, request: ModelRequest) -> str:
        self._count()
        match request.tool_choice:
            case "python" | "commented":
                return self._python
            case "listed":
                return self._listed
            case _:
                pass
        if request.prefill:
            return REST if "weather" in request.prefill else PLAN
        return OPENING if len(request.messages) == 1 else "Fine."

    def _count(self) -> None:
        if len(self.requests) == self._at and self._happens is not None:
            self._happens()
