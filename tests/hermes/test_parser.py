"""What the parser does with each shape of message; every text is tried in several chunkings."""

from __future__ import annotations

import pytest

from ling_agent.hermes import (
    ArgumentsDelta,
    CallParsed,
    CallStarted,
    HermesParser,
    TextDelta,
    parse,
)

from .support import (
    CALL,
    OSLO,
    TIME_CALL,
    TOOLS,
    WEATHER,
    Tool,
    arguments_of,
    events_of,
    kinds_of,
    parse_all,
)

TIME_OBJECT = '{"name": "get_time", "arguments": {}}'


def test_a_call_and_its_text() -> None:
    message = parse_all(f"Let me look.\n{CALL}\n{TIME_CALL}\n", tools=TOOLS)
    assert message.content == "Let me look."
    assert message.reasoning is None
    assert [(call.index, call.id, call.name) for call in message.calls] == [
        (0, "call_0", "get_weather"),
        (1, "call_1", "get_time"),
    ]
    assert message.calls[0].arguments == {"city": "Oslo"}
    assert all(call.repairs == () for call in message.calls)


def test_events_of_a_streamed_call() -> None:
    text = f"Hi. {CALL}"
    events = events_of(text[at : at + 7] for at in range(0, len(text), 7))
    shown = [type(event) for event in events if not isinstance(event, ArgumentsDelta)]
    assert shown == [TextDelta, CallStarted, CallParsed]
    assert arguments_of(events, 0) == '{"city": "Oslo"}'
    assert events[-1] == CallParsed(0, "call_0", "get_weather", {"city": "Oslo"}, ())


def test_text_is_passed_on_at_once() -> None:
    parser = HermesParser(TOOLS)
    assert parser.feed("Hello <") == [TextDelta("Hello")]
    assert parser.feed("b") == [TextDelta(" <"), TextDelta("b")]
    assert parser.feed("> x <tool_ca") == [TextDelta("> x")]
    assert parser.feed("ke>") == [TextDelta(" <"), TextDelta("tool_cake>")]
    assert parser.finish() == []


def test_arguments_stream_before_the_call_ends() -> None:
    parser = HermesParser(TOOLS)
    parser.feed('<tool_call>{"name": "write_file", "arguments": {"content": "a')
    assert parser.feed("bc") == [ArgumentsDelta(0, "bc")]
    assert parser.feed('\\n"') == [ArgumentsDelta(0, '\\n"')]


def test_arguments_first_are_shown_once_the_name_is_known() -> None:
    text = '<tool_call>{"arguments": {"name": "x"}, "name": "create"}</tool_call>'
    events = events_of(list(text))
    assert events[0] == CallStarted(0, "call_0", "create")
    assert arguments_of(events, 0) == '{"name": "x"}'
    assert isinstance(events[-1], CallParsed)


def test_feed_after_finish_is_refused() -> None:
    parser = HermesParser()
    parser.finish()
    assert parser.finish() == []
    with pytest.raises(RuntimeError, match="after finish"):
        parser.feed("x")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", ""),
        ("  plain \n", "  plain \n"),
        ("a < b and c > d, List<tool>, <tools>", "a < b and c > d, List<tool>, <tools>"),
        ("before <tool_c", "before <tool_c"),
        ("`<tool_call>` and `</tool_call>`", "`<tool_call>` and `</tool_call>`"),
        ("The <tool_call> tag starts a call", "The <tool_call> tag starts a call"),
        ("Use `<think>` for thoughts", "Use `<think>` for thoughts"),
        ("<role>admin</role>", "<role>admin</role>"),
        ("<tool_response>\nx", "<tool_response>\nx"),
        (OSLO, OSLO),
        (f"```json\n{OSLO}\n```", f"```json\n{OSLO}\n```"),
        ("```python\nx = 1\n```\n", "```python\nx = 1\n```\n"),
        (f"{CALL} After.", "After."),
        (f"Before.  {CALL}\nAfter.", "Before.  \nAfter."),
        (f"One. {CALL} Two. {TIME_CALL}\n\n", "One.  Two."),
        (f"{CALL}\n</tool_call>", ""),
        (f"{CALL}\n</tool_ca", ""),
        ("Hi<|im_en", "Hi"),
        ("Hi<role>HUM", "Hi"),
        ("a <|", "a <|"),
    ],
)
def test_content(text: str, content: str) -> None:
    assert parse_all(text, tools=TOOLS).content == content


@pytest.mark.parametrize(
    "token",
    [
        *(
            "<|im_end|>",
            "<|endoftext|>",
            "<|role_end|>",
            "<|startoftext|>",
            "<role>ASSISTANT</role>",
        ),
        *("<|im_start|>assistant\n", "<|im_start|>", "</think>", "</tool_call>"),
        *("<role>HUMAN</role>", "<|im_start|>user\n", "<role>OBSERVATION</role>"),
    ],
)
def test_special_tokens_never_leak(token: str) -> None:
    for text in (f"Hi{token}", f"{token}", f"{CALL}{token}", f"Hi\n{token}\n", f"{CALL}\n{token}x"):
        content = parse_all(text, tools=TOOLS).content
        assert token.strip() not in content
        assert content in ("", "Hi", "x")
    assert parse_all(f"{token}Hello", tools=TOOLS).content in ("Hello", "")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<tool_call>a<|startoftext|>b", "<tool_call>ab"),
        ("<tool_call><|startoftext|>b", "<tool_call>b"),
        ("<|im_</think>end|>x", "<|im_ end|>x"),
        ("a <<think>y</think>|im_end|>", "a < |im_end|>"),
        ("<role>HU<|startoftext|>MAN</role>", "<role>HU MAN</role>"),
        (f"<|im_end|<tool_call>>{CALL}", "<|im_end| >"),
    ],
)
def test_what_is_removed_does_not_make_a_special_token(text: str, content: str) -> None:
    assert parse_all(text, tools=TOOLS).content == content


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<think>maybe {}</think>\n</tool_call>",
        "<tool_call> hmm <think>maybe {}</think> done",
        "<tool_call>{{bad <think>maybe {}</think>",
        "<tool_call><function=get_time><think>maybe {}</think></function></tool_call>",
    ],
)
def test_a_call_inside_reasoning_inside_a_block_is_not_executed(text: str) -> None:
    message = parse_all(text.format(TIME_CALL), tools=TOOLS)
    assert not message.calls
    assert message.reasoning == f"maybe {TIME_CALL}"


def test_a_turn_does_not_go_on_inside_an_xml_call() -> None:
    for tag in ("<|endoftext|>", "<|im_start|>user\n", "<role>HUMAN</role>"):
        text = f"<tool_call><function=get_time>\n{tag}\n</function></tool_call>"
        message = parse_all(text, tools=TOOLS)
        assert not message.calls
        assert message.errors[0].kind == "incomplete_tool_call"


def test_a_broken_block_ends_at_the_next_turn() -> None:
    message = parse_all(f'<tool_call>{{"name" x<role>HUMAN</role>{TIME_CALL}', tools=TOOLS)
    assert not message.calls
    assert [error.kind for error in message.errors] == ["incomplete_tool_call", "hallucinated_turn"]


def test_a_call_that_says_two_things_is_an_error() -> None:
    """JSON readers take the last of two equal keys; a person would see the first one streamed."""
    twice = '{"name": "get_time", "name": "write_file", "arguments": {}}'
    for body in (twice, f"[{TIME_OBJECT}, {twice}]"):
        (error,) = parse_all(f"<tool_call>{body}</tool_call>", tools=TOOLS).errors
        assert error.message == 'The call has "name" twice: send it once.'
    assert parse_all(twice, tools=TOOLS, bare_json=True).content == twice
    assert len(parse_all(f"<tool_call>[{TIME_OBJECT}, {TIME_OBJECT}]", tools=TOOLS).calls) == 2
    both = '{"name": "get_weather", "arguments": {}, "parameters": {"city": "Oslo"}}'
    (error,) = parse_all(f"<tool_call>{both}</tool_call>", tools=TOOLS).errors
    assert error.message == "The call of get_weather has both arguments and parameters: send one."


@pytest.mark.parametrize("name", ["a\\nb", "a\u2028b", "\\ud83d", "x" * 999, "a\\r\\nb"])
@pytest.mark.parametrize("tools", [TOOLS, [], None])
def test_an_odd_name_makes_one_encodable_line(name: str, tools: list[Tool] | None) -> None:
    for arguments in ("{}", "1", '{"a": \u2028', ""):
        text = f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'
        for message in (parse_all(text, tools=tools), parse_all(text[:-14], tools=tools)):
            for error in message.errors:
                assert len(error.message.encode().splitlines()) == 1
                assert len(error.message.splitlines()) == 1
                assert len(error.message) < 400
                (error.name or "").encode()
            assert all(call.name.encode() for call in message.calls)


def test_a_header_of_the_assistant_is_skipped() -> None:
    assert parse_all("<|im_start|>assistant\nHello").content == "Hello"
    assert parse_all("<role>ASSISTANT</role>Hello").content == "Hello"
    assert parse_all(f"<|im_start|>assistant\n{OSLO}", tools=TOOLS, bare_json=True).calls


def test_nothing_behind_the_end_of_the_turn_counts() -> None:
    message = parse_all(f"Done.<|role_end|><role>HUMAN</role>Go on {CALL}", tools=TOOLS)
    assert (message.content, message.calls, message.errors) == ("Done.", [], [])


@pytest.mark.parametrize("opener", ["<tool_response>", "<role>OBSERVATION</role>"])
def test_an_invented_result_is_dropped(opener: str) -> None:
    message = parse_all(f"{CALL}\n{opener}\n4 °C\n{TIME_CALL}", tools=TOOLS)
    assert [call.name for call in message.calls] == ["get_weather"]
    assert message.content == ""
    assert [error.kind for error in message.errors] == ["hallucinated_tool_response"]


def test_an_invented_user_turn_is_dropped() -> None:
    message = parse_all(f"Hello.<|im_start|>user\nThanks {CALL}", tools=TOOLS)
    assert (message.content, message.calls) == ("Hello.", [])
    assert [error.kind for error in message.errors] == ["hallucinated_turn"]


def test_reasoning() -> None:
    message = parse_all(f"<think>\nI could {CALL}\n</think>\n\n{TIME_CALL}", tools=TOOLS)
    assert message.reasoning == f"I could {CALL}"
    assert [call.name for call in message.calls] == ["get_time"]
    assert message.content == ""


def test_reasoning_without_an_end_is_all_reasoning() -> None:
    message = parse_all(f"<think>\nHm {CALL} hm", finish_reason="length")
    assert (message.content, message.calls) == ("", [])
    assert message.reasoning == f"Hm {CALL} hm"


def test_reasoning_that_the_prompt_started() -> None:
    message = parse_all("<think>\nab\n</think>\n\nHello.", starts_in_reasoning=True)
    assert (message.reasoning, message.content) == ("ab", "Hello.")
    assert parse_all("no end", starts_in_reasoning=True).content == ""
    assert parse_all("", starts_in_reasoning=True).reasoning == ""


def test_several_reasoning_blocks() -> None:
    message = parse_all("<think>a</think>One.<think>b</think> Two.")
    assert (message.reasoning, message.content) == ("a\nb", "One. Two.")
    assert parse_all("No thoughts.").reasoning is None


def test_strings_may_contain_anything() -> None:
    text = (
        '<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": '
        '"</tool_call> <tool_call> <|im_end|> <think> }} \\" \\\\"}}</tool_call>'
    )
    (call,) = parse_all(text, tools=TOOLS).calls
    assert call.arguments["content"] == '</tool_call> <tool_call> <|im_end|> <think> }} " \\'
    assert call.repairs == ()


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("<tool_call></tool_call>", "empty_tool_call"),
        ("<tool_call>not json at all</tool_call>", "invalid_json"),
        ("<tool_call>{not json}</tool_call>", "invalid_json"),
        ('<tool_call>{"name": "get_time", "arguments": {"x": "open}}</tool_call>', "invalid_json"),
        ('<tool_call>{"name": "get_time", "arguments": [1]}</tool_call>', "arguments_not_object"),
        ('<tool_call>{"name": "get_time", "arguments": 3}</tool_call>', "arguments_not_object"),
        ('<tool_call>{"name": "get_weather", "x": 1}</tool_call>', "arguments_not_object"),
        (
            '<tool_call>{"name": "get_weather", "arguments": null}</tool_call>',
            "arguments_not_object",
        ),
        ('<tool_call>{"arguments": {}}</tool_call>', "missing_name"),
        ('<tool_call>{"name": "", "arguments": {}}</tool_call>', "missing_name"),
        ('<tool_call>["x"]</tool_call>', "not_a_call_object"),
        ('<tool_call>{"name": "get_tim", "arguments": {}}</tool_call>', "unknown_tool"),
        ('<tool_call>{"name": "x", "arguments": {"a": 1</tool_call>', "invalid_json"),
        ("<tool_call><function=get_time><parameter=x>1</parameter></tool_call>", "invalid_json"),
        (f'<tool_call>{{"name": "x", "arguments": {{"a": {"[" * 600}</tool_call>', "too_deep"),
        ('<tool_call>{"name" "get_time", "arguments": {}', "invalid_json"),
        ("<tool_call>\n<function=get_time>", "invalid_json"),
    ],
)
def test_a_bad_block_does_not_touch_its_neighbours(bad: str, kind: str) -> None:
    message = parse_all(f"{CALL}\n{bad}\n{TIME_CALL}", tools=TOOLS)
    assert [(call.index, call.name) for call in message.calls] == [
        (0, "get_weather"),
        (2, "get_time"),
    ]
    assert [(error.index, error.kind) for error in message.errors] == [(1, kind)]
    assert message.content == ""


def test_a_broken_block_at_the_end_of_the_message() -> None:
    for tail in ("", "<|im_end|>", "</tool", "<|im_"):
        assert kinds_of(f'<tool_call>{{"name" x{tail}') == ["incomplete_tool_call"]
        assert kinds_of(f"<tool_call>{'[' * 600}{tail}") == ["too_deep"]


def test_a_name_may_be_escaped() -> None:
    call = CALL.replace("get_weather", "get\\u005fweather")
    assert parse_all(call, tools=TOOLS).calls[0].name == "get_weather"


def test_an_unknown_tool_is_told_with_the_nearest_names() -> None:
    (error,) = parse_all(CALL.replace("get_weather", "get_wether"), tools=TOOLS).errors
    assert error.name == "get_wether"
    assert error.message == (
        'Unknown tool "get_wether". Did you mean get_weather or get_time? '
        "Available tools: get_time, get_weather, write_file."
    )
    (error,) = parse_all(CALL, tools=[]).errors
    assert error.message.endswith("no tools are available, answer in plain text.")


def test_invalid_json_is_told_with_its_position() -> None:
    (error,) = parse_all('<tool_call>{"name": "x", "arguments": {"n": 4.2.3}}</tool_call>').errors
    assert error.message == (
        "The JSON of the call is invalid at line 1 column 37: Expecting ',' delimiter, "
        'near "\\": {\\"n\\": 4.2.3}}". Send the call again.'
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<tool_call>", None),
        ("<tool_call>\n{", None),
        ('<tool_call>{"name": "get_wea', None),
        ('<tool_call>{"name": "get_weather", "arguments": {"city": "Os', "get_weather"),
        ('<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}', "get_weather"),
        ('<tool_call>{"name": "get_weather", "arguments": {"n": 12', "get_weather"),
        ("<tool_call>get_weather", "get_weather"),
        ("<tool_call>get_weather<arg_key>city</arg_key>", "get_weather"),
        ("<tool_call><function=get_weather><parameter=city>Os", "get_weather"),
        ("<function=get_weather>", "get_weather"),
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_truncated_calls(text: str, name: str | None, reason: str) -> None:
    message = parse_all(f"{TIME_CALL}{text}", tools=TOOLS, finish_reason=reason)
    assert [call.name for call in message.calls] == ["get_time"]
    (error,) = message.errors
    assert (error.kind, error.index) == ("incomplete_tool_call", 1)
    assert error.name == name or (name == "get_weather" and error.name is None)
    assert "was not run" in error.message
    assert message.content == ""


def test_a_complete_object_is_a_call_even_when_the_limit_cut_its_tag() -> None:
    message = parse_all(f"<tool_call>{OSLO}", tools=TOOLS, finish_reason="length")
    assert message.calls[0].repairs == ("missing_end_tag",)


def test_tool_objects_may_be_flat_and_schemas_may_be_odd() -> None:
    for tools in ([WEATHER["function"]], [{"name": "get_weather"}], [{**WEATHER, "x": 1}]):
        assert parse(CALL, tools=tools).calls
