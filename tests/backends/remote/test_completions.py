"""``mode="raw"``: each prompt extends the last one, token by token.

The server is a stand-in: its tokenizer makes words of a text, its model writes characters, so that
text which is tokenized again comes out in other tokens than were generated.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest

from ling_agent import Agent, ContextOverflow, RunResult, Sampling
from ling_agent.backends import ModelRequest, VLLMBackend
from ling_agent.backends.base import Finished, TextChunk
from ling_agent.errors import ServerMisconfigured
from ling_agent.hermes import render
from ling_agent.messages import AssistantMessage, UserMessage

from .hostile import Exchange, HostileServer, answer, hostile

pytestmark = pytest.mark.anyio

_TOKENS = re.compile(r"<\|im_start\|>|<\|im_end\|>|<\|endoftext\|>|\s*\w+|\s*[^\w\s]|\s+")
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
PLANNED = f"Plan: use the tool `add` to add both.\n{CALL}"
END = "<|im_end|>"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@dataclass
class Model:
    """A server with a reversible tokenizer and a model that carries out a plan.

    Attributes:
        template: Of its own chat template.
        takes_ids: Whether it takes prompts of token ids.
        told: Whether it sends usage.
        prompts: What was asked, as ids or as text.
        counted: Texts that it tokenized.
    """

    template: str = "chatml"
    takes_ids: bool = True
    told: bool = True
    prompts: list[Any] = field(default_factory=list[Any])
    bodies: list[Any] = field(default_factory=list[Any])
    counted: list[str] = field(default_factory=list[str])
    _words: dict[str, int] = field(default_factory=dict[str, int])

    def ids(self, text: str) -> list[int]:
        return [self._id(word) for word in _TOKENS.findall(text)]

    def text(self, prompt: list[int] | str) -> str:
        if isinstance(prompt, str):
            return prompt
        words = {number: word for word, number in self._words.items()}
        return "".join(words[number] for number in prompt)

    def _id(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))

    async def tokenize(self, exchange: Exchange) -> None:
        asked = exchange.json
        if "messages" in asked:
            text = render(asked["messages"], template=self.template)
        else:
            text = asked["prompt"]
            self.counted.append(text)
        ids = self.ids(text)
        await exchange.respond({"tokens": ids, "count": len(ids)})

    async def complete(self, exchange: Exchange) -> None:
        body = exchange.json
        prompt = body["prompt"]
        if isinstance(prompt, list) and not self.takes_ids:
            await exchange.respond({"error": "prompt must be a string"}, status=400)
            return
        self.prompts.append(prompt)
        self.bodies.append(body)
        said = self._answer(self.text(prompt))  # pyright: ignore[reportUnknownArgumentType]
        tokens = [*said, END][: body["max_tokens"]]
        ends = tokens[-1] == END
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}  # pyright: ignore[reportUnknownArgumentType]
        if not body["stream"]:
            text = "".join(tokens).removesuffix(END)
            ids = [self._id(token) for token in tokens]
            choice = {"text": text, "token_ids": ids, "finish_reason": "stop" if ends else "length"}
            await exchange.respond({"choices": [choice], "usage": usage})
            return
        await exchange.begin_events()
        for number, token in enumerate(tokens, start=1):
            finish = None if number < len(tokens) else "stop" if ends else "length"
            choice: dict[str, Any] = {"index": 0, "text": token, "finish_reason": finish}
            if token == END:
                choice["text"] = ""
            if body.get("return_token_ids"):
                choice["token_ids"] = [self._id(token)]
            await exchange.event({"choices": [choice]})
            await anyio.lowlevel.checkpoint()
        if self.told:
            await exchange.event({"choices": [], "usage": usage})
        await exchange.end_events()

    def _answer(self, prompt: str) -> str:
        begun = prompt.rpartition("<|im_start|>assistant\n")[2]
        if "<tool_response>" in prompt:
            return "It is 3, as the tool says."[len(begun) :]
        if not begun:
            return CALL
        assert PLANNED.startswith(begun), begun
        return PLANNED[len(begun) :]


@asynccontextmanager
async def serving(
    model: Model, *, window: int = 8192, routes: dict[str, object] | None = None
) -> AsyncGenerator[HostileServer, None]:
    models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": window}]}
    known: dict[str, object] = {"/v1/models": models, "/tokenize": model.tokenize}
    async with hostile(model.complete, routes=known | (routes or {})) as server:
        yield server


async def run(model: Model, *, stream: bool = True, planning: Any = "inline") -> RunResult:
    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw", stream=stream)
        result = await Agent(backend, tools=[add], planning=planning).run("What is 1 + 2?")
        await backend.aclose()
    return result


def assert_each_extends_the_one_before(prompts: list[Any]) -> None:
    for number in range(1, len(prompts)):
        before, after = prompts[number - 1], prompts[number]
        assert after[: len(before)] == before, f"prompt {number} does not extend the one before"


@pytest.mark.parametrize("planning", ["off", "inline"])
@pytest.mark.parametrize("stream", [True, False])
async def test_each_prompt_of_a_run_extends_the_one_before(stream: bool, planning: str) -> None:
    model = Model()
    result = await run(model, stream=stream, planning=planning)
    assert result.output == "It is 3, as the tool says."
    assert result.usage.tool_calls == 1
    assert result.usage.requests == len(model.prompts) == (4 if planning == "inline" else 2)
    assert all(isinstance(prompt, list) for prompt in model.prompts)
    assert_each_extends_the_one_before(model.prompts)
    assert_each_extends_the_one_before([model.text(prompt) for prompt in model.prompts])


async def test_what_was_generated_keeps_its_own_tokens() -> None:
    model = Model()
    await run(model, planning="off")
    first, second = model.prompts
    generated = [model.ids(character)[0] for character in CALL]
    assert second[len(first) :][: len(generated)] == generated, "characters, not words"


async def test_only_what_is_new_is_tokenized() -> None:
    model = Model()
    await run(model, planning="off")
    long = [text for text in model.counted if "What is 1 + 2?" in text]
    assert len(long) == 1, "the task was sent to the tokenizer again"


async def test_the_plan_is_shown_and_the_message_is_whole() -> None:
    model = Model()
    result = await run(model)
    assert result.plan is not None
    assert result.plan.text == "use the tool `add` to add both."
    message = result.steps[0].message
    assert message.raw == PLANNED
    assert model.text(model.prompts[-1]).count(PLANNED) == 1


async def test_an_answer_that_is_left_in_the_middle_leaves_the_ids_as_they_were() -> None:
    model = Model()
    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw")
        task = UserMessage("What is 1 + 2?")
        request = ModelRequest(
            (task,), conversation="c", stop_when=lambda piece: piece == "{", tools=()
        )
        said = ""
        for _ in range(2):
            async with backend.stream(request) as chunks:
                seen = [chunk async for chunk in chunks]
            said = "".join(chunk.text for chunk in seen if isinstance(chunk, TextChunk))
            assert said == "<tool_call>\n{", "the piece that ends it is the last one"
            assert isinstance(seen[-1], Finished)
            assert seen[-1].usage.completion_tokens == len(said)
        following = ModelRequest(
            (task, AssistantMessage("", raw=said), UserMessage("Go on.")), conversation="c"
        )
        async with backend.stream(following) as chunks:
            assert [chunk async for chunk in chunks]
        first, again, last = model.prompts
        assert first == again
        assert_each_extends_the_one_before([first, last])
        assert said + END in model.text(last)
        await backend.aclose()


async def test_an_answer_that_was_cut_is_continued_from_its_text() -> None:
    model = Model()
    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw")
        task = UserMessage("What is 1 + 2?")
        request = ModelRequest((task,), conversation="c", sampling=Sampling(max_tokens=5))
        async with backend.stream(request) as chunks:
            seen = [chunk async for chunk in chunks]
        end = seen[-1]
        assert isinstance(end, Finished)
        assert end.finish_reason == "length"
        following = ModelRequest((task, AssistantMessage("", raw=CALL[:5])), conversation="c")
        async with backend.stream(following) as chunks:
            assert [chunk async for chunk in chunks]
        assert_each_extends_the_one_before(model.prompts)
        await backend.aclose()


async def test_conversations_do_not_share_their_ids() -> None:
    model = Model()
    async with serving(model) as server:
        agent = Agent(VLLMBackend(server.url, mode="raw"), tools=[add], planning="off")
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(agent.run, f"What is 1 + 2? ({number})")
    for number in range(4):
        own = [p for p in model.prompts if f"({number})" in model.text(p)]
        assert len(own) == 2
        assert_each_extends_the_one_before(own)


@pytest.mark.parametrize("planning", ["off", "inline"])
async def test_a_server_that_takes_no_ids_gets_text_and_a_note_says_so(planning: str) -> None:
    model = Model(takes_ids=False)
    result = await run(model, planning=planning)
    assert result.output == "It is 3, as the tool says."
    assert all(isinstance(prompt, str) for prompt in model.prompts)
    assert_each_extends_the_one_before(model.prompts)
    assert "prompts are sent as text: the server refused token ids" in "\n".join(result.notes)
    assert all(body["stop"] == [END, "<|endoftext|>"] for body in model.bodies)


def described(*paths: str) -> dict[str, object]:
    """The server's own description, with these paths."""
    return {"/openapi.json": {"paths": dict.fromkeys(paths, 1)}}


@pytest.mark.parametrize(
    ("routes", "note"),
    [
        ({"/tokenize": answer({"detail": "Not Found"}, status=404)}, "does not tokenize"),
        (described("/v1/completions", "/v1/models"), "no /tokenize here"),
    ],
)
async def test_a_server_without_a_tokenizer_gets_text(routes: dict[str, object], note: str) -> None:
    model = Model()
    async with serving(model, routes=routes) as server:
        backend = VLLMBackend(server.url, mode="raw")
        result = await Agent(backend, tools=[add], planning="off").run("What is 1 + 2?")
        await backend.aclose()
    assert result.output == "It is 3, as the tool says."
    assert all(isinstance(prompt, str) for prompt in model.prompts)
    assert note in "\n".join(result.notes)


async def test_a_server_without_raw_completions_is_told_before_anything_is_sent() -> None:
    model = Model()
    async with serving(model, routes=described("/v1/chat/completions", "/tokenize")) as server:
        backend = VLLMBackend(server.url, mode="raw")
        with pytest.raises(ServerMisconfigured, match="use mode='chat'"):
            await backend.describe()
        await backend.aclose()
    assert model.prompts == []


async def test_a_prompt_that_does_not_fit_is_never_sent() -> None:
    model = Model()
    async with serving(model, window=50) as server:
        backend = VLLMBackend(server.url, mode="raw")
        request = ModelRequest((UserMessage("word " * 60),), conversation="c")
        with pytest.raises(ContextOverflow, match="the context window 50") as caught:
            async with backend.stream(request):
                pass
        assert caught.value.context_window == 50
        assert caught.value.prompt_tokens > 60
        assert model.prompts == []
        await backend.aclose()


async def test_an_answer_is_asked_for_no_longer_than_there_is_room() -> None:
    model = Model()
    async with serving(model, window=50) as server:
        backend = VLLMBackend(server.url, mode="raw")
        async with backend.stream(ModelRequest((UserMessage("Hi."),))) as chunks:
            assert [chunk async for chunk in chunks]
        (body,) = model.bodies
        assert body["max_tokens"] == 50 - len(body["prompt"])
        await backend.aclose()


# Without tools the templates of Qwen3 and Hermes are ``plain``, and that of Ling 2.5 is ``ling2``:
# the model's name has to tell.
@pytest.mark.parametrize(
    "template", ["chatml", "plain", "ling1", "ling2", "ling2.5-thinking", "ling3", "ling3-thinking"]
)
async def test_the_profile_is_that_of_the_servers_own_template(template: str) -> None:
    model = Model(template=template)
    async with serving(model) as server:
        backend = VLLMBackend(server.url, mode="raw")
        info = await backend.describe()
        assert info.profile.template == template
        assert not any("template" in note for note in info.notes)
        await backend.aclose()


async def switching(model: Model, exchange: Exchange) -> None:
    """Ling 3.0's own template: thinking is on unless a request says otherwise."""
    asked = exchange.json
    if "messages" in asked:
        on = asked.get("chat_template_kwargs", {}).get("enable_thinking", True)
        model.template = "ling3-thinking" if on else "ling3"
    await model.tokenize(exchange)


@pytest.mark.parametrize("name", [None, "ling-3.0", "ling-3.0:thinking"])
async def test_the_servers_template_is_told_what_a_profile_says_of_thinking(
    name: str | None,
) -> None:
    """Without a name it is taken for Ling 3.0 and not for Ring, whose prompts look like these."""
    model = Model()
    routes: dict[str, object] = {"/tokenize": partial(switching, model)}
    async with serving(model, routes=routes) as server:
        backend = VLLMBackend(server.url, mode="raw", profile=name)
        info = await backend.describe()
        await backend.aclose()
    assert info.profile.name == (name or "ling-3.0")
    assert not any("template" in note for note in info.notes)


async def test_a_template_is_asked_once_for_the_same_prompt() -> None:
    model, asked = Model(), list[Any]()

    async def other(exchange: Exchange) -> None:
        body = exchange.json
        if "messages" in body:
            asked.append(body)
        await exchange.respond({"tokens": [len(asked)] if "messages" in body else [0]})

    async with serving(model, routes={"/tokenize": other}) as server:
        backend = VLLMBackend(server.url, mode="raw")
        assert any("differ" in note for note in (await backend.describe()).notes)
        await backend.aclose()
    assert len(asked) == 2, "with and without a variable of the template"


async def test_a_template_that_is_none_of_ours_is_noted() -> None:
    async def other(exchange: Exchange) -> None:
        tokens = [1, 2, 3] if "messages" in exchange.json else [4]
        await exchange.respond({"tokens": tokens, "count": len(tokens)})

    async with serving(Model(), routes={"/tokenize": other}) as server:
        backend = VLLMBackend(server.url, mode="raw")
        notes = (await backend.describe()).notes
        assert any("differ from the server's own template: give profile=…" in n for n in notes)
        await backend.aclose()


async def test_it_stops_at_tokens_and_tells_what_is_missing() -> None:
    model = Model(told=False)
    result = await run(model, planning="off")
    assert result.output == "It is 3, as the tool says."
    assert "the server sends no usage" in "\n".join(result.notes)
    assert result.usage.prompt_tokens == sum(map(len, model.prompts)), "they are known anyway"
    for body in model.bodies:
        assert body["stop_token_ids"] == [model.ids(END)[0], model.ids("<|endoftext|>")[0]]
        assert "stop" not in body
        assert body["skip_special_tokens"] is False
        assert "response_format" not in body


async def test_the_arguments_of_a_begun_call_are_constrained_as_the_rest_is() -> None:
    model = Model()
    await run(model)
    assert len(model.bodies) == 4
    free, plan, begun, last = (body["structured_outputs"] for body in model.bodies)
    assert free == plan == last != begun
    assert model.text(model.prompts[2]).endswith('"arguments": ')
    assert '{"type":"const_string","value":"}\\n</tool_call>"}' in begun["structural_tag"]
