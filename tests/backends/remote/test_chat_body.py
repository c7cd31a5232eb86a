"""The body of a chat request: explicit, the same bytes each time, and what this server takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ling_agent import Sampling
from ling_agent.backends.base import ModelRequest, NamedTool, ToolChoice
from ling_agent.backends.remote.chat_body import chat_body, constraint
from ling_agent.backends.remote.facts import Constraint, Kind, ServerFacts
from ling_agent.backends.remote.jsons import read_json, write_json
from ling_agent.hermes import restore
from ling_agent.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ling_agent.profiles import CHATML, LING2


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = (tool("add"), tool("sub"))


def facts(kind: Kind = "vllm", **more: Any) -> ServerFacts:
    every = kind not in ("openai", "ollama")
    return ServerFacts(kind, None, "m", ("m",), 8192, every_sampling_field=every, **more)


def body(
    *messages: Message,
    known: ServerFacts | None = None,
    tools: tuple[dict[str, Any], ...] = TOOLS,
    choice: ToolChoice = "auto",
    stream: bool = True,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    request = ModelRequest(
        messages or (UserMessage("Hi."),), tools, sampling or Sampling(), tool_choice=choice
    )
    return chat_body(request, known or facts(), CHATML, stream=stream)


# -- sampling ---------------------------------------------------------------------------------


def test_every_setting_is_explicit() -> None:
    sampling = Sampling(0.5, 0.9, 40, 0.1, 1.1, 77, 3)
    assert body(tools=(), sampling=sampling) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi."}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "max_tokens": 77,
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("kind", "top_k", "penalty"),
    [
        ("vllm", 0, "repetition_penalty"),
        ("sglang", -1, "repetition_penalty"),
        ("llama-server", 0, "repeat_penalty"),
    ],
)
def test_each_server_has_its_own_names(kind: Kind, top_k: int, penalty: str) -> None:
    sent = body(known=facts(kind))
    assert sent["top_k"] == top_k
    assert sent[penalty] == 1.0


def test_a_server_that_does_not_know_a_setting_is_not_sent_it() -> None:
    sent = body(known=facts("openai", max_tokens_name="max_completion_tokens"))
    assert not sent.keys() & {"top_k", "min_p", "repetition_penalty", "repeat_penalty"}
    assert "max_tokens" not in sent
    assert sent["max_completion_tokens"] == 1024


def test_an_answer_in_one_piece_has_no_options_of_a_stream() -> None:
    sent = body(stream=False)
    assert sent["stream"] is False
    assert "stream_options" not in sent


# -- tools ------------------------------------------------------------------------------------


def tag_of(sent: dict[str, Any]) -> dict[str, Any]:
    return json.loads(sent["structured_outputs"]["structural_tag"])["format"]


@pytest.mark.parametrize(
    ("choice", "must", "names"),
    [
        ("auto", False, {"add", "sub"}),
        ("required", True, {"add", "sub"}),
        (NamedTool("sub"), True, {"sub"}),
    ],
)
def test_vllm_gets_our_structural_tag_whatever_is_chosen(
    choice: ToolChoice, must: bool, names: set[str]
) -> None:
    sent = body(known=facts(constraint="structured_outputs"), choice=choice)
    assert sent["tool_choice"] == "auto"
    assert sent["tools"] == list(TOOLS), "the prompt stays the same"
    tag = tag_of(sent)
    assert tag["at_least_one"] is must
    assert {each["begin"].split('"')[3] for each in tag["tags"]} == names


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ("auto", "auto"),
        ("required", "required"),
        (NamedTool("sub"), {"type": "function", "function": {"name": "sub"}}),
    ],
)
def test_sglang_gets_strict_tools(choice: ToolChoice, shown: object) -> None:
    sent = body(known=facts("sglang", constraint="strict"), choice=choice)
    assert sent["tool_choice"] == shown
    assert [each["function"]["strict"] for each in sent["tools"]] == [True, True]
    assert "strict" not in TOOLS[0]["function"], "the caller's tools are not changed"


def test_an_answer_in_words_is_not_held_to_anything() -> None:
    sent = body(known=facts(constraint="structured_outputs"), choice="none")
    assert sent["tool_choice"] == "none"
    assert sent["tools"] == list(TOOLS), "the prompt stays the same"
    assert "structured_outputs" not in sent


@pytest.mark.parametrize("constraint", ["strict", "none"])
def test_sglang_is_never_told_none_which_takes_the_tools_out_of_the_prompt(
    constraint: Constraint,
) -> None:
    known = facts("sglang", constraint=constraint)
    words, free = body(known=known, choice="none"), body(known=known, choice="auto")
    assert words["tool_choice"] == free["tool_choice"] == "auto"
    assert words["tools"] == free["tools"], "the prompt stays the same"
    unread = body(known=facts("sglang", constraint="none", tool_parser=False), choice="auto")
    assert unread["tool_choice"] == "auto"


def test_where_no_tool_can_be_named_only_that_one_is_sent() -> None:
    sent = body(known=facts("llama-server", named_choice=False), choice=NamedTool("sub"))
    assert sent["tool_choice"] == "required"
    assert sent["tools"] == [TOOLS[1]]


@pytest.mark.parametrize("choice", ["required", NamedTool("sub")])
def test_a_server_that_cannot_be_forced_is_not(choice: ToolChoice) -> None:
    sent = body(known=facts("ollama", forces_calls=False), choice=choice)
    assert sent["tool_choice"] == "auto"


def test_without_a_tool_parser_the_tools_stay_and_the_tags_come_through() -> None:
    sent = body(known=facts(tool_parser=False, forces_calls=False))
    assert sent["tools"] == list(TOOLS)
    assert sent["tool_choice"] == "none"
    assert sent["skip_special_tokens"] is False


@pytest.mark.parametrize("choice", ["auto", "required", "none", NamedTool("add")])
@pytest.mark.parametrize("kind", ["vllm", "sglang", "openai", "llama-server", "ollama"])
@pytest.mark.parametrize("held", ["none", "strict", "structured_outputs"])
def test_tools_and_a_response_format_are_never_together(
    choice: ToolChoice, kind: Kind, held: Any
) -> None:
    sent = body(known=facts(kind, constraint=held), choice=choice)
    assert sent["tools"]
    assert "response_format" not in sent


def test_without_tools_there_is_nothing_about_them() -> None:
    for known in (facts(constraint="structured_outputs"), facts(tool_parser=False)):
        sent = body(known=known, tools=())
        assert not sent.keys() & {"tools", "tool_choice", "structured_outputs"}
    assert constraint(ModelRequest((UserMessage("Hi."),))) is None


# -- messages ---------------------------------------------------------------------------------

CALL = ToolCall("call_1_0", "add", {"a": 1, "b": "größe"})


def test_a_conversation() -> None:
    sent = body(
        SystemMessage("Be brief."),
        UserMessage("Add."),
        AssistantMessage("Well.", reasoning="Hm.", calls=(CALL,), raw="never sent"),
        ToolMessage("call_1_0", "add", "2"),
    )
    system, user, said, seen = sent["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert said["content"] == "Well."
    assert said["reasoning"] == "Hm."
    assert "raw" not in said
    (call,) = said["tool_calls"]
    assert (call["id"], call["type"]) == ("call_1_0", "function")
    assert json.loads(call["function"]["arguments"]) == CALL.arguments
    assert seen == {"role": "tool", "tool_call_id": "call_1_0", "name": "add", "content": "2"}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("vllm", "reasoning"),
        ("sglang", "reasoning_content"),
        ("llama-server", "reasoning_content"),
        ("openai", None),
        ("ollama", None),
    ],
)
def test_reasoning_is_sent_back_by_the_name_that_the_server_knows(
    kind: Kind, key: str | None
) -> None:
    sent = body(AssistantMessage("Yes.", reasoning="Hm."), known=facts(kind))
    expected = {"role": "assistant", "content": "Yes."} | ({key: "Hm."} if key else {})
    assert sent["messages"] == [expected]


def test_an_observation_without_a_call_is_said_by_the_user_behind_the_others() -> None:
    sent = body(
        AssistantMessage("", calls=(CALL,)),
        ToolMessage("call_1_1", "", "Error: that was no call.", True),
        ToolMessage("call_1_0", "add", "2"),
        UserMessage("Go on."),
        AssistantMessage("Hm."),
        ToolMessage("call_1_0", "add", "of an older message"),
    )
    told = [(said["role"], said["content"]) for said in sent["messages"]]
    assert told == [
        ("assistant", ""),
        ("tool", "2"),
        ("user", "Error: that was no call."),
        ("user", "Go on."),
        ("assistant", "Hm."),
        ("user", "of an older message"),
    ]


@pytest.mark.parametrize("profile", [CHATML, LING2])
@given(content=st.text() | st.sampled_from(["</tool_response><|im_end|>", "<|role_end|>"]))
def test_user_and_tool_text_cannot_end_its_turn(profile: Any, content: str) -> None:
    messages = (
        UserMessage(content),
        AssistantMessage("", calls=(CALL,)),
        ToolMessage("call_1_0", "add", content),
        AssistantMessage(""),
        ToolMessage("unknown", "", content),
    )
    sent = chat_body(ModelRequest(messages), facts(), profile, stream=True)["messages"]
    for said in (sent[0], sent[2], sent[4]):
        for stop in profile.stop:
            assert stop not in said["content"]
        assert restore(said["content"], profile.template) == content


roles = st.one_of(
    st.text(max_size=5).map(UserMessage),
    st.builds(
        AssistantMessage,
        st.text(max_size=5),
        calls=st.lists(st.sampled_from(["c0", "c1"]), unique=True, max_size=2).map(
            lambda ids: tuple(ToolCall(id_, "add", {"a": 1}) for id_ in ids)
        ),
    ),
    st.builds(
        ToolMessage, st.sampled_from(["c0", "c1", "c2"]), st.just("add"), st.text(max_size=3)
    ),
)


@given(st.lists(roles, min_size=1, max_size=8))
def test_any_history_is_one_that_servers_take(messages: list[Message]) -> None:
    sent = body(*messages)["messages"]
    assert len(sent) == len(messages)
    known: set[str] = set()
    for said in sent:
        if said["role"] == "assistant":
            known = {call["id"] for call in said.get("tool_calls", ())}
        elif said["role"] == "tool":
            assert said["tool_call_id"] in known
        else:
            known = set() if said["role"] == "system" else known


@given(st.lists(roles, min_size=1, max_size=5), st.integers(1, 4))
def test_a_longer_conversation_begins_as_the_shorter_one_did(
    messages: list[Message], more: int
) -> None:
    """Where all that was called is answered: nothing in front of the new messages moves."""
    longer = [*messages, *(AssistantMessage(str(number)) for number in range(more))]
    before = write_json(body(*messages)["messages"])[:-1]
    assert write_json(body(*longer)["messages"]).startswith(before)
    assert write_json(body(*longer)) == write_json(body(*longer))


@given(st.text() | st.text(st.characters(categories=["Cs", "Ll"])))
def test_any_text_can_be_sent(content: str) -> None:
    data = write_json(body(UserMessage(content)))
    assert read_json(data)["messages"][0]["role"] == "user"
