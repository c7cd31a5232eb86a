"""What raw answers are held to, field by field, and what the loop reads of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, get_args

import pytest

from ling_agent import Agent, RunResult
from ling_agent.backends import ModelRequest, NamedTool, VLLMBackend
from ling_agent.backends.base import DRAFTS, DraftForm, Finished, TextChunk, ToolChoice
from ling_agent.backends.remote.facts import ServerFacts
from ling_agent.backends.remote.raw_form import (
    LOGPROBS,
    UNLIKELY,
    as_sent,
    form_fields,
    weigh_fields,
    weights_of,
)
from ling_agent.hermes.draft_grammar import list_tag, python_tag
from ling_agent.hermes.grammar import arguments_tag, structural_tag
from ling_agent.messages import AssistantMessage, UserMessage
from ling_agent.profiles import CHATML

from .small import CUT_OFF, SmallModel, models
from .test_completions import (
    CALL,
    PLANNED,
    add,
    assert_each_extends_the_one_before,
    serving,
)

pytestmark = pytest.mark.anyio

VLLM = ServerFacts("vllm", None, "m", ("m",), 8192, constraint="structured_outputs")
SGLANG = ServerFacts("sglang", None, "m", ("m",), 8192, constraint="strict")
FREE = VLLM.without_constraint()
PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
ADD: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": "add", "parameters": PARAMETERS},
}
NOW: Mapping[str, Any] = {"type": "function", "function": {"name": "now"}}
BEGUN = 'Plan: use the tool `add`.\n<tool_call>\n{"name": "add", "arguments":'
WORDS = r"[^\[{`<\s][\s\S]*"
BARE = dataclasses.replace(CHATML, bare_json=True)
TAGGED = dataclasses.replace(CHATML, bare_json=False)


def asked(
    prefill: str = "",
    choice: ToolChoice = "auto",
    tools: tuple[Mapping[str, Any], ...] = (ADD, NOW),
    **more: Any,
) -> ModelRequest:
    return ModelRequest((), tools=tools, prefill=prefill, tool_choice=choice, **more)


def tag_of(fields: dict[str, Any]) -> Any:
    """vLLM takes the tag as text, in one field and with no other."""
    assert list(fields) == ["structured_outputs"]
    (text,) = fields["structured_outputs"].values()
    assert list(fields["structured_outputs"]) == ["structural_tag"]
    return json.loads(text)


@pytest.mark.parametrize("choice", ["auto", "none", "required", *DRAFTS, NamedTool("add")])
def test_an_answer_is_free_without_tools_or_where_nothing_can_be_held(choice: ToolChoice) -> None:
    assert form_fields(asked("", choice), FREE, BARE) == {}
    assert form_fields(asked(BEGUN, choice), FREE, BARE) == {}
    assert form_fields(asked("", choice, ()), VLLM, BARE) == {}


@pytest.mark.parametrize(
    ("choice", "tag"),
    [
        ("auto", structural_tag([ADD, NOW])),
        ("required", structural_tag([ADD, NOW], at_least_one=True)),
        (NamedTool("now"), structural_tag([ADD, NOW], only="now", at_least_one=True)),
        ("listed", list_tag([ADD, NOW], separator=",\n    ", end="\n]")),
        ("python", python_tag([ADD, NOW], separator="\n", end="\n```", commented=False)),
        ("commented", python_tag([ADD, NOW], separator="\n", end="\n```", commented=True)),
    ],
)
def test_calls_are_held_to_their_schema(choice: ToolChoice, tag: object) -> None:
    prefill = DRAFTS[choice].prefill if choice in DRAFTS else ""
    assert tag_of(form_fields(asked(prefill, choice), VLLM, BARE)) == tag
    assert form_fields(asked(prefill, choice), SGLANG, BARE) == {"response_format": tag}


def test_words_do_not_begin_as_a_call_of_a_model_that_calls_without_tags() -> None:
    words = asked(choice="none")
    assert form_fields(words, VLLM, BARE) == {"structured_outputs": {"regex": WORDS}}
    assert form_fields(words, SGLANG, BARE) == {"regex": WORDS}
    assert form_fields(words, VLLM, TAGGED) == {}
    assert form_fields(asked("It is", "none"), VLLM, BARE) == {}, "they have begun"


@pytest.mark.parametrize("opening", ["", " ", " {", ' {"'])
def test_the_arguments_of_a_begun_call_are_held_to_its_tools_schema(opening: str) -> None:
    request = asked(BEGUN + opening)
    some = {**PARAMETERS, "minProperties": 1} if opening == ' {"' else PARAMETERS
    tag = arguments_tag(some, [ADD, NOW])
    assert tag_of(form_fields(request, VLLM, BARE)) == tag
    assert form_fields(request, SGLANG, BARE) == {"response_format": tag}
    assert as_sent(request, VLLM).prefill == f"{BEGUN} "


def test_nothing_follows_a_begun_call_whose_caller_ends_the_answer() -> None:
    def never(piece: str) -> bool:
        return False

    request = asked(BEGUN, stop_when=never)
    assert tag_of(form_fields(request, VLLM, BARE)) == arguments_tag(PARAMETERS)


def test_a_tool_without_a_schema_takes_any_object_also_begun() -> None:
    request = asked(BEGUN.replace('"add"', '"now"'))
    tag = tag_of(form_fields(request, VLLM, BARE))
    assert tag == arguments_tag({"type": "object"}, [ADD, NOW])


@pytest.mark.parametrize(
    "prefill",
    [
        BEGUN.replace('"add"', '"other"'),
        '<tool_call>\n{"name": "a',
        f'{BEGUN} {{"a": 1',
    ],
    ids=["unknown tool", "half a name", "more than a beginning"],
)
def test_what_is_begun_otherwise_inside_a_call_is_free(prefill: str) -> None:
    """The structural tag begins at the call's opening, which is in the prompt already."""
    request = asked(prefill)
    assert form_fields(request, VLLM, BARE) == {}
    assert as_sent(request, VLLM) is request


def test_a_call_that_is_complete_in_the_prefill_is_none_that_is_begun() -> None:
    request = asked(f"{PLANNED}\n")
    assert tag_of(form_fields(request, VLLM, BARE)) == structural_tag([ADD, NOW])
    assert as_sent(request, VLLM) is request


def test_a_begun_call_stays_as_it_is_where_it_cannot_be_held() -> None:
    request = asked(f'{BEGUN} {{"')
    assert as_sent(request, FREE) is request


def test_words_are_weighed_in_a_free_answer_of_one_token() -> None:
    request = asked(weigh=("yes", "no"))
    assert form_fields(request, VLLM, BARE) == {}
    assert weigh_fields(request, VLLM) == {"max_tokens": 1, "logprobs": LOGPROBS}
    silent = dataclasses.replace(VLLM, logprobs=False)
    assert weigh_fields(request, silent) == {"max_tokens": 1}
    assert weigh_fields(asked(), VLLM) == {}


LIKELY = [{"token": "no", "logprob": -3}, {"token": "yes", "logprob": -0.25}]


@pytest.mark.parametrize(
    "logprobs",
    [
        {"top_logprobs": [{"yes": -0.25, "no": -3.0}, {"yes": -9.0}]},
        {"content": [{"token": "yes", "logprob": -0.25, "top_logprobs": LIKELY}]},
    ],
    ids=["of completions", "of chat"],
)
def test_weights_are_those_of_the_first_token(logprobs: dict[str, Any]) -> None:
    request = asked(weigh=("yes", "Yes", "no"))
    assert weights_of(request, {"logprobs": logprobs}) == (-0.25, UNLIKELY, -3.0)
    assert weights_of(asked(), {"logprobs": logprobs}) == (), "nobody has asked"


@pytest.mark.parametrize(
    "logprobs", [None, {}, [], {"top_logprobs": None}, {"top_logprobs": [None]}, {"content": []}]
)
def test_a_server_that_tells_nothing_gives_no_weights(logprobs: object) -> None:
    assert weights_of(asked(weigh=("yes",)), {"logprobs": logprobs}) == ()
    assert weights_of(asked(weigh=("yes",)), {}) == ()


# -- whole answers, on a stand-in -----------------------------------------------------------------


async def answer(
    backend: VLLMBackend, prefill: str = "", **more: Any
) -> tuple[list[str], Finished]:
    """The pieces of the answer to a question of the conversation ``c``, and its end."""
    messages = more.pop("messages", (UserMessage("What is 1 + 2?"),))
    request = ModelRequest(messages, prefill=prefill, conversation="c", **more)
    async with backend.stream(request) as chunks:
        seen = [chunk async for chunk in chunks]
    end = seen[-1]
    assert isinstance(end, Finished)
    return [chunk.text for chunk in seen if isinstance(chunk, TextChunk)], end


def schema() -> tuple[Mapping[str, Any], ...]:
    number = {"type": "integer"}
    parameters = {"type": "object", "properties": {"a": number, "b": number}}
    return ({"type": "function", "function": {"name": "add", "parameters": parameters}},)


@pytest.mark.parametrize("opening", ["", ' {"'])
@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_begun_is_read_once(stream: bool, opening: str) -> None:
    """The server writes it anew; whoever waits for the end is given what is behind it."""
    model, heard = SmallModel(), list[str]()
    begun = PLANNED[: PLANNED.index(' {"a"')] + opening

    def take(piece: str) -> bool:
        heard.append(piece)
        return False

    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw", stream=stream)
        pieces, _ = await answer(backend, begun, tools=schema(), stop_when=take)
        await backend.aclose()
    assert "".join(pieces) == PLANNED
    assert (begun + "".join(heard)).replace(" ", "") == PLANNED.replace(" ", "")
    assert model.text(model.prompts[0]).endswith('"arguments": ')


async def run_of(model: SmallModel) -> RunResult:
    async with serving(model, routes=models()) as server:
        backend = VLLMBackend(server.url)
        result = await Agent(backend, tools=[add]).run("What is 1 + 2?")
        await backend.aclose()
    assert result.output == "It is 3, as the tool says."
    assert [call.arguments for call in result.steps[0].message.calls] == [{"a": 1, "b": 2}]
    assert result.steps[0].message.calls[0].repairs == ()
    assert not any("schema" in note for note in result.notes)
    return result


def held(body: Mapping[str, Any]) -> Any:
    """The form that an answer was held to."""
    return tag_of({"structured_outputs": body["structured_outputs"]})["format"]


async def test_a_run_of_a_small_model_is_held_at_each_of_its_requests() -> None:
    model = SmallModel()
    result = await run_of(model)
    assert result.steps[0].message.raw == PLANNED
    free, python, listed, plan, begun, *weighed, last = model.bodies
    assert held(free)["type"] == held(last)["type"] == "triggered_tags"
    assert plan["structured_outputs"] == free["structured_outputs"]
    arguments, end = held(begun)["elements"]
    assert arguments["json_schema"]["required"] == ["a", "b"]
    assert arguments["json_schema"]["minProperties"] == 1
    assert end == {"type": "const_string", "value": "}\n</tool_call>"}
    first, _, end = held(python)["elements"]
    assert first["elements"][0] == {"type": "const_string", "value": "add("}
    assert end["value"] == DRAFTS["python"].end
    first, _, end = held(listed)["elements"]
    begun = {"type": "const_string", "value": '{"name": "add", "arguments": {'}
    assert (first["elements"][0], end["value"]) == (begun, DRAFTS["listed"].end)
    assert len(weighed) == 2
    for body in weighed:
        assert (body["max_tokens"], body["logprobs"]) == (1, LOGPROBS)
        assert "structured_outputs" not in body
    kept = [model.text(model.prompts[number]) for number in (0, 3, 4, -1)]
    assert_each_extends_the_one_before(kept)


async def test_drafts_that_are_cut_off_leave_the_planned_call() -> None:
    model = SmallModel(drafted=CUT_OFF)
    result = await run_of(model)
    assert result.steps[0].message.raw == PLANNED
    assert len(model.bodies) == 8


async def test_a_server_that_tells_no_odds_is_asked_without() -> None:
    model = SmallModel(weighs=False)
    async with serving(model, routes=models()) as server:
        backend = VLLMBackend(server.url)
        result = await Agent(backend, tools=[add]).run("What is 1 + 2?")
        await backend.aclose()
    assert result.output == "It is 3, as the tool says."
    assert sum("how sure the model is" in note for note in result.notes) == 1


def test_the_forms_of_a_draft_send_different_tags() -> None:
    tags = [tag_of(form_fields(asked("", form), VLLM, BARE)) for form in DRAFTS]
    assert len({json.dumps(tag) for tag in tags}) == len(DRAFTS) == 3


FOLLOWING = (UserMessage("What is 1 + 2?"), AssistantMessage("", raw=CALL), UserMessage("Go."))


async def _drafted(backend: VLLMBackend, form: DraftForm) -> None:
    begun = DRAFTS[form].prefill
    pieces, _ = await answer(backend, begun, messages=FOLLOWING, tools=schema(), tool_choice=form)
    assert "".join(pieces).startswith(begun)
    assert "".join(pieces).endswith(DRAFTS[form].end)


async def _weighed(backend: VLLMBackend) -> None:
    messages = (*FOLLOWING, UserMessage("Is it?"))
    pieces, end = await answer(backend, messages=messages, tools=schema(), weigh=("yes", "Yes"))
    assert pieces == []
    assert end.weights == (-0.1, UNLIKELY)


async def _nothing(backend: VLLMBackend) -> None:
    return


ASIDE: dict[str, Callable[[VLLMBackend], Awaitable[None]]] = {
    **{form: partial(_drafted, form=form) for form in get_args(DraftForm)},
    "weighed": _weighed,
    "nothing": _nothing,
}


@pytest.mark.parametrize("aside", ASIDE)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_aside_leaves_the_ids_of_a_conversation_as_they_were(
    stream: bool, aside: str
) -> None:
    model = SmallModel()
    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw", stream=stream)
        await answer(backend, tools=schema())
        await ASIDE[aside](backend)
        await answer(backend, messages=FOLLOWING, tools=schema())
        await backend.aclose()
    first, *later = model.prompts
    known = [*first, *(model.ids(character)[0] for character in CALL)]  # not words
    assert all(prompt[: len(known)] == known for prompt in later)
    assert sum("# Tools" in text for text in model.counted) == 1, "tokenized once"
