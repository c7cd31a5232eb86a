"""What a request means, and what is refused instead of being ignored."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ling_agent import Sampling
from ling_agent.messages import to_openai
from ling_agent.serve.ask import Ask, read_ask
from ling_agent.serve.refusals import RefusedError

from .asgi import request, user

SYSTEM = {"role": "system", "content": "Be brief."}


def refused(body: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read_ask(body)
    assert caught.value.status == 400
    assert "\n" not in str(caught.value)
    return caught.value


def said(ask: Ask, instructions: str = "") -> list[tuple[str, str]]:
    """The conversation in front of the task."""
    messages = map(to_openai, ask.log(instructions).messages())
    return [(message["role"], message["content"]) for message in messages]


class TestMessages:
    def test_the_last_is_the_task(self) -> None:
        ask = read_ask(request("first", {"role": "assistant", "content": "yes"}, "second"))
        assert ask.task == "second"
        assert said(ask) == [("user", "first"), ("assistant", "yes")]

    def test_alone_it_needs_no_log(self) -> None:
        assert not read_ask(request("task")).begins_with_more
        assert read_ask(request(SYSTEM, "task")).begins_with_more

    def test_system_messages_stand_behind_the_agents_instructions(self) -> None:
        developer = {"role": "developer", "content": [{"type": "text", "text": "In French."}]}
        ask = read_ask(request(SYSTEM, "a", {"role": "assistant", "content": "b"}, developer, "c"))
        assert said(ask, "You sell.") == [
            ("system", "You sell.\n\nBe brief.\n\nIn French."),
            ("user", "a"),
            ("assistant", "b"),
        ]

    def test_calls_and_their_results_are_taken_over(self) -> None:
        function = {"name": "add", "arguments": '{"a": 1}'}
        calls = [{"id": "x", "type": "function", "function": function}]
        ask = read_ask(
            request(
                "a",
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "x", "content": "2"},
                {"role": "assistant", "content": "It is 2."},
                "b",
            )
        )
        messages = ask.log("").messages()
        assert to_openai(messages[1])["tool_calls"][0]["function"]["arguments"] == {"a": 1}
        assert to_openai(messages[2])["name"] == "add"

    def test_text_parts_are_joined(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert read_ask(request({"role": "user", "content": parts})).task == "ab"

    @pytest.mark.parametrize(
        "messages",
        [
            None,
            [],
            "task",
            ["task"],
            [SYSTEM],
            [user("a"), {"role": "assistant", "content": "b"}],
            [user("a"), {"role": "tool", "tool_call_id": "x", "content": "2"}],
            [user(" ")],
            [{"role": "user", "content": 5}],
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            [{"role": "oracle", "content": "a"}, user("b")],
            [{"role": "assistant", "tool_calls": [{"id": "x"}]}, user("b")],
            [{"content": "a"}, user("b")],
        ],
    )
    def test_others_are_refused(self, messages: Any) -> None:
        error = refused({"model": "agent", "messages": messages})
        assert error.param == "messages"


class TestFields:
    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("tools", [{"type": "function", "function": {"name": "f"}}], "unsupported_parameter"),
            ("functions", [{"name": "f"}], "unsupported_parameter"),
            ("tool_choice", "required", "unsupported_parameter"),
            ("n", 2, "unsupported_parameter"),
            ("n", True, "unsupported_parameter"),
            ("stop", "\n", "unsupported_parameter"),
            ("stop", ["a"], "unsupported_parameter"),
            ("response_format", {"type": "json_object"}, "unsupported_parameter"),
            ("logprobs", True, "unsupported_parameter"),
            ("logit_bias", {"5": 1}, "unsupported_parameter"),
            ("presence_penalty", 0.5, "unsupported_parameter"),
            ("modalities", ["audio"], "unsupported_parameter"),
            ("reasoning_effort", "low", "unsupported_parameter"),
            ("store", True, "unsupported_parameter"),
            ("temprature", 1, "unknown_parameter"),
            ("stream", "yes", "invalid_value"),
            ("temperature", "hot", "invalid_value"),
            ("temperature", -1, "invalid_value"),
            ("temperature", True, "invalid_value"),
            ("top_p", 0, "invalid_value"),
            ("max_tokens", 0, "invalid_value"),
            ("max_completion_tokens", 1.5, "invalid_value"),
            ("max_tokens", math.inf, "invalid_value"),
            ("top_k", math.inf, "invalid_value"),
            ("temperature", math.inf, "invalid_value"),
            ("seed", 1.5, "invalid_value"),
            ("seed", math.nan, "invalid_value"),
            ("seed", math.inf, "invalid_value"),
            ("stream_options", {"include_usage": True}, "invalid_value"),
        ],
    )
    def test_what_would_be_silently_wrong_is_refused(
        self, name: str, value: Any, code: str
    ) -> None:
        error = refused(request("task", **{name: value}))
        assert (error.param, error.code) == (name, code)
        assert name in str(error)

    @pytest.mark.parametrize(
        "more",
        [
            {"n": 1, "stop": None, "tools": [], "tool_choice": "auto", "logit_bias": {}},
            {"presence_penalty": 0.0, "frequency_penalty": 0, "top_logprobs": 0},
            {"response_format": {"type": "text"}, "modalities": ["text"], "store": False},
            {"user": "me", "metadata": {"a": "b"}, "parallel_tool_calls": True},
        ],
    )
    def test_what_changes_nothing_is_taken(self, more: dict[str, Any]) -> None:
        assert read_ask(request("task", **more)).sampling == {}

    @pytest.mark.parametrize("body", [None, [], "x", {}, {"model": 5}, {"messages": [user("a")]}])
    def test_no_request(self, body: Any) -> None:
        refused(body)

    def test_usage_is_for_streams(self) -> None:
        options = {"include_usage": True, "include_obfuscation": False}
        ask = read_ask(request("task", stream=True, stream_options=options))
        assert (ask.stream, ask.include_usage) == (True, True)
        error = refused(request("task", stream=True, stream_options={"include_all": True}))
        assert error.param == "stream_options.include_all"


class TestSampling:
    def test_it_takes_the_place_of_the_agents(self) -> None:
        given: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "seed": 5, "top_k": 40}
        ask = read_ask(request("task", **given))
        agents = Sampling(min_p=0.1, max_tokens=100)
        assert ask.sampling_from(agents) == Sampling(**given, min_p=0.1, max_tokens=100)

    def test_the_agents_longest_answer_is_a_bound(self) -> None:
        agents = Sampling(max_tokens=100)
        for given, least in (
            ({"max_tokens": 50}, 50),
            ({"max_tokens": 500}, 100),
            ({"max_completion_tokens": 20, "max_tokens": 30}, 20),
        ):
            assert read_ask(request("task", **given)).sampling_from(agents).max_tokens == least

    def test_nothing_given_changes_nothing(self) -> None:
        agents = Sampling(temperature=0.3)
        assert read_ask(request("task", temperature=None)).sampling_from(agents) == agents
