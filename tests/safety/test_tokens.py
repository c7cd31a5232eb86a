"""Real vocabularies: no text that is not the template's becomes a special token."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from ling_agent import Agent, Document, Limits, Sampling, Tool, catalog
from ling_agent.backends import LlamaCppBackend, ModelRequest, VLLMBackend
from ling_agent.hermes import neutralise, render
from ling_agent.messages import to_openai
from tests.backends.remote.hostile import Exchange, hostile

from .support import CORPUS, conversation, tools

pytestmark = pytest.mark.model

_SPECIAL = 1 | 8 | 16  # llama.cpp's attributes: unknown, control, user-defined
MODELS = ("qwen2.5-coder-0.5b", "smollm2-135m")


class Special:
    """A real vocabulary, and which of its tokens are special."""

    def __init__(self, alias: str) -> None:
        from llama_cpp import llama_cpp as library

        from tests.backends.embedded.vocabularies import load

        self._vocabulary = load(alias).vocabulary
        self.ids = {
            token
            for token in range(self._vocabulary.size)
            if library.llama_vocab_get_attr(self._vocabulary.pointer, token) & _SPECIAL
        }

    @property
    def texts(self) -> list[str]:
        return [self._vocabulary.piece(token).decode() for token in sorted(self.ids)]

    def tokens(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text)

    def count(self, prompt: str | list[int]) -> Counter[int]:
        """How often each special token is in a prompt."""
        tokens = self.tokens(prompt) if isinstance(prompt, str) else prompt
        return Counter(token for token in tokens if token in self.ids)


@pytest.fixture(scope="module", params=MODELS)
def special(request: pytest.FixtureRequest) -> Special:
    return Special(str(request.param))


def prompt_of(text: str) -> str:
    messages = [to_openai(message) for message in conversation(text)]
    return render(messages, tools(text), template="chatml")


def test_unbroken_texts_are_special(special: Special) -> None:
    """So that the tests below are worth something."""
    assert len(special.ids) > 10
    assert all(special.count(text) for text in special.texts)


def test_each_special_token_of_the_vocabulary_is_broken(special: Special) -> None:
    for text in special.texts:
        for around in (text, f"a{text}b", f"<{text}>", f"{text}{text}", f"[{text}]"):
            assert not special.count(neutralise(around, "chatml")), around


def test_no_text_of_the_corpus_is_a_special_token_in_a_prompt(special: Special) -> None:
    expected = special.count(prompt_of("plain"))
    for name, injection in CORPUS.items():
        assert special.count(prompt_of(injection)) == expected, name


def test_no_special_token_joins_across_two_texts(special: Special) -> None:
    plain = special.count(
        render(
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], template="chatml"
        )
    )
    for text in special.texts:
        for at in range(1, len(text)):
            halves = [{"role": "user", "content": part} for part in (text[:at], text[at:])]
            assert special.count(render(halves, template="chatml")) == plain, text


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_gets_no_special_token_from_a_text(special: Special) -> None:
    """``mode="raw"``: the ids that are sent, by the tokenizer of a real vocabulary."""

    async def tokenize(exchange: Exchange) -> None:
        ids = special.tokens(exchange.json.get("prompt", "x"))
        await exchange.respond({"tokens": ids, "count": len(ids)})

    async def complete(exchange: Exchange) -> None:
        await exchange.begin_events()
        choice = {"index": 0, "text": "Nothing.", "finish_reason": "stop"}
        await exchange.event({"choices": [choice]})
        await exchange.end_events()

    models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 131_072}]}
    routes: dict[str, object] = {"/tokenize": tokenize, "/v1/models": models}
    async with hostile(complete, routes=routes) as server:
        backend = VLLMBackend(server.url, mode="raw", profile="chatml")
        for text in ("plain", *CORPUS.values()):
            request = ModelRequest(tuple(conversation(text)), tools(text))
            async with backend.stream(request) as chunks:
                assert [chunk async for chunk in chunks]
        await backend.aclose()
    plain, *prompts = [cast("list[int]", body["prompt"]) for body in server.requests]
    assert all(isinstance(token, int) for token in plain)
    for name, prompt in zip(CORPUS, prompts, strict=True):
        assert special.count(prompt) == special.count(plain), name


class Recording(LlamaCppBackend):
    """The embedded backend, which remembers the prompts that its engine was given."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.prompts: list[str] = []

    def _request(self, *given: Any, **options: Any) -> Any:
        made = super()._request(*given, **options)
        self.prompts.append(made.prompt)
        return made


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_prompts_in_process_hold_the_tokens_of_their_own_turns_only() -> None:
    """What the engine of a real model is given, by a run and by a request with every kind of text.

    Compared with the same where every text is plain. The tests above have the whole corpus; here
    each prompt is evaluated.
    """
    alias = "smollm2-135m"
    path = catalog.cached_path(alias)
    assert path is not None, f"run `ling-agent models pull {alias}` (`make test` does)"
    special = Special(alias)
    backend = Recording(str(path), n_ctx=4096)
    one = Sampling(max_tokens=1)

    def given(**more: Any) -> str:
        return f"{more}"

    async def counts(text: str) -> list[Counter[int]]:
        backend.prompts.clear()
        schema = {"type": "object", "properties": {text[:40]: {"type": "string"}}}
        look = Tool.from_schema("look", f"Look. {text}", schema, given)
        agent = Agent(
            backend, tools=[look], planning="off", limits=Limits(max_steps=1), sampling=one
        )
        await agent.run(f"Look. {text}", documents=[Document(text, name=f"{text[:20]}.txt")])
        request = ModelRequest(tuple(conversation(text)), tools(text), one)
        async with backend.stream(request) as chunks:
            assert [chunk async for chunk in chunks]
        return [special.count(prompt) for prompt in backend.prompts]

    expected = await counts("plain")
    assert len(expected) == 2
    for name in ("response-close-turn", "chatml-assistant-turn"):
        assert await counts(CORPUS[name]) == expected, name
    await backend.aclose()
