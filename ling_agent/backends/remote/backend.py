"""`RemoteBackend`: a model behind HTTP; what vLLM, SGLang and the others have in common.

Data flow, in ``mode="chat"``: messages -> `chat_body` -> the server's template, model and tool
parser -> events -> `ChatReader` -> text, calls written back as text -> the turn's parser. In
``mode="raw"``: messages -> `Prompts` -> token ids -> the model -> text -> the turn's parser.
What a server can do is asked once (`discover`); a refusal that shows that it cannot do a thing
changes the facts, and the request is made without it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from ...errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    ContextOverflow,
    ServerMisconfigured,
)
from ...profiles import Profile, get_profile, profile_for_name
from ..base import (
    Backend,
    Chunk,
    Finished,
    ModelInfo,
    ModelRequest,
    PrefillChunk,
    is_small,
)
from .address import Address, parse_address
from .answer_format import answer_fields
from .chat_body import chat_body, in_dialect
from .chat_reader import ChatReader, merged
from .completions import RawPrompts, detect_profile, renders_alike, tokenize
from .discovery import discover
from .events import begun, check, checked, once
from .facts import Kind, ServerFacts, learned_from
from .harmless import harmless_tools
from .jsons import as_object, write_json
from .keys import find_key
from .message_json import MessageEncoder
from .prompt_size import PromptSizes
from .servers import Server, Servers
from .sizes import parameters_of
from .timeouts import Timeouts
from .transport import HttpTransport, Transport

if TYPE_CHECKING:
    from .keys import ApiKey

Mode = Literal["chat", "raw"]
_RENDERED: frozenset[Kind] = frozenset({"vllm", "sglang"})  # where that is tried by itself
_NOT_STREAMED = (
    "answers with tools come in one piece: SGLang drops arguments when it streams calls that are "
    "not held to their schema"
)
# Seconds between two looks at a stream: faster than an eye, or just often enough to end in time.
_WATCHED_PACE, _UNWATCHED_PACE = 0.02, 0.2
_SECONDS_A_TOKEN = 1.0  # of an answer in one piece: slower than anything that is alive


class RemoteBackend(Backend):
    """A model that an OpenAI-compatible server serves; use one of its subclasses.

    Args:
        url: Base URL, or several separated by commas that serve the same model; ``#model`` at the
            end names the served model.
        model: The same as ``#model``.
        api_key: Bearer token, a text or a ``SecretStr``; the default is ``LING_AGENT_API_KEY``. It
            is in no error, event or trajectory.
        mode: ``chat`` uses the server's chat template and tool parser; ``raw`` renders prompts here
            and sends them to ``/v1/completions``, so that each request extends the last one. The
            default is ``raw`` for small models (below 4 billion weights, as their names tell) on
            vLLM and SGLang where our prompts are the server's own, token for token: what such a
            model means to call is then found out as in the embedded engine. Else it is ``chat``.
        stream: False asks for each answer in one piece: cheaper, but a limit or a cancellation
            then loses what was generated, and a stuck server is noticed late.
        constrain: Hold calls and typed answers to their schema where the server can.
        timeouts: How long it may take.
        retries: How often a request is sent again that no server took.
        context_window: Tokens of prompt and answer together, in place of what the server says.
        profile: The model's family, see docs/profiles.md; by default what the served model's name
            says, else ``plain``; with ``raw`` the server's own template decides, where it shows.
        kind: Which program the server is, where the class does not say.
        transport: How the server is asked, in place of HTTP of our own.

    Raises:
        ConfigurationError: Not a base URL, or an argument that is none of its values.
    """

    scheme: ClassVar[Kind] = "openai"

    def __init__(
        self,
        url: str | Address | None,
        *,
        model: str | None = None,
        api_key: ApiKey | None = None,
        mode: Mode | None = None,
        stream: bool = True,
        constrain: bool = True,
        timeouts: Timeouts | None = None,
        retries: int = 4,
        context_window: int | None = None,
        profile: str | Profile | None = None,
        kind: Kind | None = None,
        transport: Transport | None = None,
    ) -> None:
        if mode not in ("chat", "raw", None):
            raise ConfigurationError(f"mode={mode!r}: write 'chat' or 'raw'")
        self._kind: Kind = kind or self.scheme
        self._address = _address(url or "", model, f"{self._kind}:http://localhost:8000")
        self._timeouts = timeouts or Timeouts()
        self._stream = stream
        self._constrain = constrain
        self._window = context_window
        self._profile = get_profile(profile) if isinstance(profile, str) else profile
        self._mode: Mode | None = mode  # None until a server has been asked
        self._sizes = PromptSizes()
        self._messages = MessageEncoder()
        self._raw = RawPrompts()
        self._listed = transport is None
        self.renders_prompts = mode == "raw"  # known for good once `prepare` was called
        transports = [transport] if transport is not None else self._transports(api_key)
        self._servers = Servers([Server(each) for each in transports], retries=retries)

    def _transports(self, api_key: ApiKey | None) -> list[HttpTransport]:
        key = find_key(api_key)
        return [
            HttpTransport(url, api_key=key, timeouts=self._timeouts) for url in self._address.urls
        ]

    @property
    def name(self) -> str:
        return f"{self._kind}:{self._address}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._address)!r})"

    async def describe(self) -> ModelInfo:
        facts = await self.facts()
        return ModelInfo(
            facts.model,
            facts.context_window,
            self._profile_of(facts),
            facts.notes,
            _parameters(facts),
            facts.forces_calls,
        )

    async def prepare(self) -> None:
        if self._mode is None:
            await self.facts()

    async def facts(self) -> ServerFacts:
        """What the server is and can do, as far as it is known now.

        Raises:
            BackendError: It cannot be reached.
        """
        async with self._servers.ask(None, self._known) as facts:
            return cast("ServerFacts", facts)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        def opened(server: Server) -> AbstractAsyncContextManager[object]:
            return self._opened(server, request)

        async with self._servers.ask(request.conversation, opened) as chunks:
            yield cast("AsyncIterator[Chunk]", chunks)

    async def count_tokens(self, text: str) -> int | None:
        try:
            facts = await self.facts()
            if facts.tokenize is None:
                return None
            async with self._servers.ask(None, _transport) as transport:
                return len(await tokenize(cast("Transport", transport), facts, text))
        except BackendError:
            return None

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        for server in self._servers:
            await server.transport.aclose()

    # -- one server ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _known(self, server: Server) -> AsyncGenerator[ServerFacts, None]:
        yield await self._facts(server)

    async def _facts(self, server: Server) -> ServerFacts:
        if server.facts is None:
            async with server.lock():
                if server.facts is None:
                    facts = await self._discover(server.transport)
                    self._check_same_model(facts, server.transport.url)
                    server.facts = facts
        return server.facts

    def _check_same_model(self, facts: ServerFacts, url: str) -> None:
        for other in self._servers:
            if other.facts is not None and other.facts.model != facts.model:
                raise ConfigurationError(
                    f"{other.transport.url} serves {other.facts.model} and {url} {facts.model}: "
                    "name one model behind #"
                )

    async def _discover(self, transport: Transport) -> ServerFacts:
        facts = await discover(
            transport, declared=self._kind, model=self._address.model, listed=self._listed
        )
        if not self._constrain:
            facts = facts.without_constraint()
        if self._window is not None:
            facts = facts.with_window(self._window)
        if self._mode is None:
            await self._choose_mode(transport, facts)
        if self._mode == "raw":
            facts = await self._check_raw(transport, facts)
        return in_dialect(facts, self._profile_of(facts))

    async def _choose_mode(self, transport: Transport, facts: ServerFacts) -> None:
        """Raw for a small model of which we render the prompts as its server does, else chat."""
        guess = self._profile_of(facts)
        held = in_dialect(facts, guess).constraint != "none"
        able = facts.kind in _RENDERED and facts.completions and facts.token_ids and held
        small = is_small(_parameters(facts))
        raw = able and small and await renders_alike(transport, facts, guess)
        if self._mode is None:  # another server may have been asked meanwhile
            self._mode, self.renders_prompts = "raw" if raw else "chat", raw

    async def _check_raw(self, transport: Transport, facts: ServerFacts) -> ServerFacts:
        if not facts.completions:
            raise ServerMisconfigured(f"{transport.url} has no /v1/completions: use mode='chat'")
        if facts.tokenize is not None:
            try:
                await tokenize(transport, facts, "a")
            except BackendRefused as error:
                note = f"prompts are sent as text: the server does not tokenize ({error.reason})"
                facts = facts.with_note(note, tokenize=None, token_ids=False)
        guess = self._profile_of(facts)
        found, note = await detect_profile(transport, facts, guess)
        if self._profile is None:
            self._profile = found
        elif found.template != guess.template:
            note = (
                f"the server's own template is that of the profile {found.name}: "
                f"is {guess.name} meant?"
            )
        return facts.with_note(note) if note else facts

    def _profile_of(self, facts: ServerFacts) -> Profile:
        return self._profile or profile_for_name(facts.model, facts.root)

    @asynccontextmanager
    async def _opened(
        self, server: Server, request: ModelRequest
    ) -> AsyncGenerator[AsyncIterator[Chunk], None]:
        """Send the request to this server, without what it turns out not to have."""
        while True:
            facts = await self._facts(server)
            send = self._send_raw if self._mode == "raw" else self._send_chat
            held = self._holds_answer(request, facts)
            entered = False
            try:
                async with send(server.transport, facts, request) as chunks:
                    # vLLM compiles a schema only when the stream has begun.
                    ready = await begun(chunks) if held else chunks
                    entered = True
                    async with aclosing(ready):
                        yield ready
                    return
            except (BackendRefused, BackendUnavailable) as error:
                learned = None if entered else learned_from(facts, error, answering=held)
                if learned is None:
                    raise
                server.facts = learned

    def _holds_answer(self, request: ModelRequest, facts: ServerFacts) -> bool:
        raw = self._mode == "raw"
        return bool(answer_fields(request, facts, self._profile_of(facts), raw=raw))

    @asynccontextmanager
    async def _send_chat(
        self, transport: Transport, facts: ServerFacts, request: ModelRequest
    ) -> AsyncGenerator[AsyncGenerator[Chunk, None], None]:
        streamed = self._stream and not request.whole
        if streamed and request.tools and not facts.streams_calls:
            streamed, facts = False, facts.with_note(_NOT_STREAMED)
        profile = self._profile_of(facts)
        request = harmless_tools(request, profile.template)
        messages = self._messages.encode(request, facts, profile)
        body = chat_body(request, facts, profile, stream=streamed, messages=messages)

        def size() -> int:
            return messages.size + len(write_json(body.get("tools")))

        fitted = await self._sizes.fitted(
            request,
            facts.context_window,
            size=size,
            count=lambda: _count(transport, facts, body),
            sure=facts.kind != "ollama",
        )
        body[facts.max_tokens_name] = fitted.sampling.max_tokens
        reader = ChatReader(fitted, facts, profile=profile, streamed=streamed, prompt_size=size)
        started = time.perf_counter()
        pace = _pace(request)
        async with self._answers(transport, "/v1/chat/completions", body, pace) as answers:
            yield self._chat_chunks(answers, reader, fitted, transport, started)

    async def _chat_chunks(
        self,
        answers: AsyncIterator[list[Any]],
        reader: ChatReader,
        request: ModelRequest,
        transport: Transport,
        started: float,
    ) -> AsyncGenerator[Chunk, None]:
        first = 0.0
        async for batch in answers:
            chunks: list[Chunk] = []
            for answer in batch:
                check(answer, transport)
                chunks += reader.take(answer)
            if any(not isinstance(chunk, PrefillChunk) for chunk in chunks):
                first = first or time.perf_counter() - started
            for chunk in merged(chunks):
                yield chunk
        if not reader.ended:
            raise transport.words.broken_off()
        seconds = time.perf_counter() - started
        for chunk in reader.finish(seconds=seconds, first_token=first or seconds):
            if isinstance(chunk, Finished):
                self._sizes.learn(request, chunk.usage)
            yield chunk

    @asynccontextmanager
    async def _send_raw(
        self, transport: Transport, facts: ServerFacts, request: ModelRequest
    ) -> AsyncGenerator[AsyncGenerator[Chunk, None], None]:
        prompt = await self._raw.prompt(transport, facts, self._profile_of(facts), request)
        streamed = self._stream and not request.whole
        body = prompt.body(stream=streamed)
        prompt.started = time.perf_counter()
        async with (
            self._answers(transport, "/v1/completions", body, _pace(request)) as answers,
            aclosing(checked(answers, transport)) as events,
        ):
            yield prompt.chunks(events, transport.words.broken_off)

    @asynccontextmanager
    async def _answers(
        self, transport: Transport, path: str, body: dict[str, Any], pace: float
    ) -> AsyncGenerator[AsyncIterator[list[Any]], None]:
        """The events of an answer as they arrive, or its one piece."""
        if body["stream"]:
            async with transport.events(path, body, pace=pace) as events:
                yield events
            return
        longest = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        limit = self._timeouts.first_token + longest * _SECONDS_A_TOKEN
        async with aclosing(once(await transport.post(path, body, limit=limit))) as answers:
            yield answers


def _address(url: str | Address, model: str | None, example: str) -> Address:
    address = url if isinstance(url, Address) else parse_address(url, example=example)
    if model is None:
        return address
    if address.model not in (None, model):
        raise ConfigurationError(f"two models are named: {address.model} and {model}")
    return Address(address.urls, model)


@asynccontextmanager
async def _transport(server: Server) -> AsyncGenerator[Transport, None]:
    yield server.transport


def _parameters(facts: ServerFacts) -> int | None:
    return parameters_of(facts.model, facts.root)


def _pace(request: ModelRequest) -> float:
    if request.stop_when is not None:
        return 0.0
    return _WATCHED_PACE if request.watched else _UNWATCHED_PACE


async def _count(transport: Transport, facts: ServerFacts, body: dict[str, Any]) -> int | None:
    """Tokens of a chat prompt, by the server's own template and tokenizer."""
    if facts.tokenize is None:
        return None
    names = ("model", "messages", "tools", "chat_template_kwargs")
    asked = {name: body[name] for name in names if name in body}
    try:
        limit = transport.timeouts.first_token
        answer = await transport.post(facts.tokenize, asked, limit=limit)
        count = as_object(answer).get("count")
    except ContextOverflow:
        raise
    except BackendError:
        return None
    return count if isinstance(count, int) else None
