"""What is particular to single templates: reasoning, switches, tools of families that have none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ling_agent.hermes import TEMPLATES, HermesError, neutralise, parse, render, render_call
from ling_agent.hermes.templates import BY_NAME

from .conversations import (
    CONVERSATIONS,
    OSLO,
    ROME,
    Message,
    assistant,
    call,
    needs_ling,
    official,
    result,
    system,
    texts,
    user,
    values,
)
from .support import TIME, TOOLS, WEATHER, tool

THINKING = ("qwen3", "qwen3-no-thinking", "ling3", "ling3-thinking")


@pytest.mark.parametrize("template", THINKING)
@pytest.mark.parametrize(
    "content",
    [
        "<think>\nsum\n</think>\n\nIt is 4.",
        "sum</think>It is 4.",
        "<think></think>\n\nIt is 4.",
        "<think>a</think>b<think>c</think>d",
    ],
)
@pytest.mark.parametrize("calls", [[], [OSLO], [OSLO, ROME]])
def test_reasoning(template: str, content: str, calls: list[dict[str, Any]]) -> None:
    turn = assistant(content, *calls)
    apart = {**assistant("\nIt is 4.", *calls), "reasoning_content": "\nsum\n"}
    empty = {**assistant(content, *calls), "reasoning_content": ""}
    for one in (turn, apart, empty):
        for messages in ([user(), one], [user(), one, result(), one], [user(), one, user(), one]):
            expected = official(template)(messages=messages, tools=[])
            got = render(messages, template=template, add_generation_prompt=False, neutralise=False)
            assert got == expected
            if one is not empty:  # whose text is broken where a template leaves it as it is
                assert render(messages, template=template, add_generation_prompt=False) == got


@pytest.mark.parametrize("template", ["ling3", "ling3-thinking"])
@pytest.mark.parametrize("switch", ["detailed thinking on", "detailed thinking off"])
@pytest.mark.parametrize("tools", [[], [WEATHER]])
def test_ling3_switch_in_the_system_text(template: str, switch: str, tools: list[Any]) -> None:
    messages = [system(f"Be brief.\n{switch}"), user()]
    expected = official(template)(messages=messages, tools=tools, add_generation_prompt=True)
    assert render(messages, tools, template=template) == expected


def test_ling25_switch() -> None:
    """`detailed thinking off` unless the system text has the words (SGLang cookbook, Ling-2.6)."""
    for template, switch in (("ling2.5", "off"), ("ling2.5-thinking", "on")):
        plain = render([user("Hi")], template=template)
        assert plain.startswith(f"<role>SYSTEM</role>detailed thinking {switch}<|role_end|>")
        for words in ("detailed thinking on", "detailed thinking off"):
            own = render([system(f"Be brief.\n{words}"), user("Hi")], template=template)
            assert own.count("detailed thinking") == 1
            assert own.startswith(f"<role>SYSTEM</role>Be brief.\n{words}<|role_end|><role>HUMAN")
            own = render([system(words), user("Hi")], [TIME], template=template)
            assert own.startswith(f"<role>SYSTEM</role>{words}\n# Tools")
            assert own.count("detailed thinking") == 1


@needs_ling
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ling25_thinking_differs_in_the_switch_alone(name: str) -> None:
    expected = official("ling2.5")(messages=CONVERSATIONS[name], tools=TOOLS)
    got = render(
        CONVERSATIONS[name], TOOLS, template="ling2.5-thinking", add_generation_prompt=False
    )
    assert got == expected.replace("detailed thinking off", "detailed thinking on")


# -- families whose templates know no tools

WITHOUT_CALLS = [
    name
    for name, messages in CONVERSATIONS.items()
    if not any(one["role"] == "tool" or one.get("tool_calls") for one in messages)
]


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("name", WITHOUT_CALLS)
def test_ling1(name: str, prompt: bool) -> None:
    messages = CONVERSATIONS[name]
    expected = official("ling1")(messages=messages, add_generation_prompt=prompt)
    assert render(messages, template="ling1", add_generation_prompt=prompt) == expected


@pytest.mark.parametrize("name", WITHOUT_CALLS)
def test_plain(name: str) -> None:
    messages = CONVERSATIONS[name]
    if messages[-1]["role"] == "assistant":  # that template then lets it be written on
        messages = [*messages, user("Go on.")]
    expected = official("plain")(messages=messages, add_generation_prompt=True)
    assert render(messages, template="plain") == expected


def test_tools_of_families_that_know_none() -> None:
    tools = render([user("Hi")], [TIME], template="qwen3")
    assert render([user("Hi")], [TIME], template="plain") == tools
    section = tools.removeprefix("<|im_start|>system\n").partition("<|im_end|>")[0]
    assert section.startswith("# Tools\n\n")
    start = "<role>SYSTEM</role>"
    assert render([user("Hi")], [TIME], template="ling1").startswith(f"{start}{section}<role>")
    own = render([system(), user("Hi")], [TIME], template="ling1")
    assert own.startswith(f"{start}Be brief.\n{section}<role>HUMAN</role>Hi")


# -- Hermes

DESCRIBED = tool(
    "look",
    {
        "where": {"type": "string", "description": " A place. "},
        "deep": {"type": "integer"},
        "few": {"type": "array", "items": {"type": "string"}, "description": "Names."},
        "more": {"type": "object", "additionalProperties": {"type": "number"}},
        "any": {"type": "object"},
        "both": {"type": ["string", "integer"]},
        "free": {},
        "closed": {"type": "object", "additionalProperties": False},
    },
)
DESCRIBED["function"]["description"] = "Look <b> & 'x' é."
CLOCK = tool("get_time", {})
CLOCK["function"]["description"] = "Time."
RETURNS = tool("get_sum", {"a": {"type": "number"}})
RETURNS["function"] |= {
    "description": "Sum.",
    "return": {"type": "number", "description": "The sum."},
}

HERMES: dict[str, list[Message]] = {
    name: messages
    for name, messages in CONVERSATIONS.items()
    if not any(one["content"] and one.get("tool_calls") for one in messages)
    and messages[0]["role"] != "tool"
}


@pytest.mark.parametrize("tools", [[DESCRIBED], [CLOCK, DESCRIBED], [RETURNS, CLOCK]])
@pytest.mark.parametrize("name", HERMES)
def test_hermes_with_tools(name: str, tools: list[dict[str, Any]]) -> None:
    messages = HERMES[name]
    expected = official("hermes")(messages=messages, tools=tools, add_generation_prompt=True)
    # The template ends a result otherwise when something follows it; that would change what was
    # sent.
    expected = expected.replace("</tool_response>\n<|im_end|>", "</tool_response><|im_end|>")
    assert render(messages, tools, template="hermes") == expected


def test_hermes_prompts_that_end_with_results_are_the_templates_own() -> None:
    messages = [user(), assistant("", OSLO, ROME), result("a"), result("b\n")]
    expected = official("hermes")(messages=messages, tools=[CLOCK], add_generation_prompt=True)
    assert render(messages, [CLOCK], template="hermes") == expected


def test_hermes_without_tools() -> None:
    """The ``default`` template of Hermes 3: ChatML with a system text of its own."""
    start = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    turn = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert render([user("Hi")], template="hermes") == start + turn
    own = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert render([system(), user("Hi")], template="hermes") == own + turn


def test_hermes_drops_no_text_beside_a_call() -> None:
    shown = render([user(), assistant("I look.", OSLO)], [CLOCK], template="hermes")
    assert "<|im_start|>assistant\nI look.\n<tool_call>\n" in shown


@pytest.mark.parametrize("spec", [{"type": "null"}, {"type": ["string", "null"]}, {"type": "odd"}])
def test_hermes_types_that_its_template_fails_on(spec: dict[str, Any]) -> None:
    odd = tool("odd", {"a": spec})
    shown = render([user()], [odd], template="hermes")
    (signature,) = re.findall(r"odd\(a: (.*?)\) -", shown)
    assert signature in ("Any", "Union[str,Any]")


# -- calls

ANYTHING = tool("anything", {})
ANYTHING["function"]["parameters"] = {"type": "object", "additionalProperties": {}}
keys = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(arguments=st.dictionaries(keys, values, max_size=3), more=texts)
def test_arg_key_calls_are_read_back(arguments: dict[str, Any], more: str) -> None:
    """Every value comes back as it was, as long as the schema tells texts from the rest."""
    kinds = {key: {"type": "string"} for key, value in arguments.items() if isinstance(value, str)}
    spec = tool("keep", {**{key: {} for key in arguments}, **kinds})
    arguments = {key: value for key, value in arguments.items() if value != ""}
    text = render_call("keep", arguments, dialect="arg_key")
    (read,) = parse(f"<think>{more}</think>{text}", tools=[spec]).calls
    assert read.arguments == arguments


def test_arg_key_call() -> None:
    text = render_call("look", {"where": 'Ålesund "x"', "n": [1, None]}, dialect="arg_key")
    assert text == (
        '<tool_call>look\n<arg_key>where</arg_key>\n<arg_value>Ålesund "x"</arg_value>'
        "<arg_key>n</arg_key>\n<arg_value>[1, null]</arg_value>\n</tool_call>"
    )
    assert render_call("now", {}, dialect="arg_key") == "<tool_call>now\n\n</tool_call>"
    with pytest.raises(HermesError, match="the arguments of f are not JSON"):
        render_call("f", {"x": [float("inf")]}, dialect="arg_key")


@pytest.mark.parametrize("template", ["ling3", "ling3-thinking"])
def test_rendered_calls_are_in_the_dialect_of_the_template(template: str) -> None:
    asked = [user(), assistant("", OSLO, ROME)]
    shown = render(asked, TOOLS, template=template, add_generation_prompt=False)
    answer = shown.rpartition("<role>ASSISTANT</role>")[2].removesuffix("<|role_end|>")
    assert '"arguments"' not in answer
    read = parse(answer, tools=[ANYTHING, *TOOLS])
    assert [(one.name, one.repairs) for one in read.calls] == [("get_weather", ())] * 2
    assert read.calls[0].arguments == {"city": "Oslo"}


# -- all of them


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_has_its_words(template: str) -> None:
    for token in ("<|im_end|>", "<|role_end|>", "</tool_response>"):
        assert token not in neutralise(f"a {token} b", template)
    generated = {**assistant("x"), "raw": "RAW"}
    asked = render([user()], TOOLS, template=template)
    assert asked.endswith(BY_NAME[template].answer)
    assert render([user(), generated], TOOLS, template=template).startswith(f"{asked}RAW")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_call_alone_is_no_answer(template: str) -> None:
    shown = render([user(), assistant("", call("get_time", {}))], template=template)
    assert shown.count("<tool_call>") == 1
