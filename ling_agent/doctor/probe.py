"""`Probe`: asks a backend one thing at a time and keeps the answers, for the checks to compare.

`ServerProbe` speaks with one server below `RemoteBackend`, which would mend what is to be seen;
`EmbeddedProbe` asks the engine in this process.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..backends.base import Backend, Finished, ModelRequest, ReasoningChunk, TextChunk
from ..backends.remote.chat_body import chat_body
from ..backends.remote.chat_reader import ChatReader
from ..backends.remote.discovery import discover
from ..backends.remote.facts import Kind, ServerFacts, adaptation
from ..backends.remote.jsons import Json, as_object, write_json
from ..backends.remote.transport import HttpTransport
from ..errors import BackendError, BackendRefused
from ..profiles import CHATML, Profile, profile_for_name
from .advice import DoctorKind
from .answers import Answer
from .known import Bound, Cards, known_format, known_model, served_bound
from .questions import long_question

_CHAT = "/v1/chat/completions"
_ABOUT_CALLS = ("tool_parser", "constraint", "forces_calls", "named_choice")


@dataclasses.dataclass(frozen=True, slots=True)
class Called:
    """A request whose call the server has read, and the answer in one piece."""

    request: ModelRequest
    constrained: bool
    more: Mapping[str, Any]
    answer: Answer


class Probe(ABC):
    """What the checks of a server and of the embedded engine share.

    Args:
        nonce: Begins the long prompts, so that no earlier examination has left them in the prefix
            cache: the first answer must be computed from nothing.

    Attributes:
        bound: How fast the card allows it to be, where that is known.
    """

    kind: DoctorKind

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self.answers: list[Answer] = []
        self.bound: Bound | None = None
        self._long: list[Answer] = []

    @property
    @abstractmethod
    def window(self) -> int | None:
        """Tokens of prompt and answer together; None when unknown."""

    @abstractmethod
    async def ask(self, request: ModelRequest, *, stream: bool = False) -> Answer:
        """Ask once.

        Raises:
            BackendError: There is no answer.
        """

    async def long_answers(self, count: int) -> list[Answer]:
        """The answers to one long question, asked so many times."""
        request = long_question(self.nonce, self.window)
        while len(self._long) < count:
            self._long.append(await self.ask(request))
        return self._long[:count]


class ServerProbe(Probe):
    """One server.

    Args:
        transport: How it is asked.
        declared: What the caller says it is.
        model: Name of the served model; None takes the only one.
        nonce: See `Probe`.
        cards: What it runs on, as far as the caller says it.

    Attributes:
        kind: What it turned out to be.
        facts: What discovery says, once `discover` was called.
        info: SGLang's ``/server_info``; empty elsewhere. It may hold keys: never print it.
        called: A request that brought a call.
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        declared: Kind,
        model: str | None,
        nonce: str,
        cards: Cards | None = None,
    ) -> None:
        super().__init__(nonce)
        self.transport = transport
        self.declared: Kind = declared
        self.kind = declared
        self.model = model
        self.cards = cards
        self.info: Json = {}
        self.called: Called | None = None
        self._facts: ServerFacts | None = None

    @property
    def facts(self) -> ServerFacts:
        assert self._facts is not None, "discover() comes first"
        return self._facts

    @facts.setter
    def facts(self, facts: ServerFacts) -> None:
        self._facts = facts

    @property
    def profile(self) -> Profile:
        return profile_for_name(self.facts.model, self.facts.root)

    @property
    def window(self) -> int | None:
        return self.facts.context_window

    async def discover(self) -> None:
        """Ask what it is.

        Raises:
            BackendError: Not reachable, or no API.
            ConfigurationError: The model is not served, or several are and none was named.
        """
        self.facts = await discover(self.transport, declared=self.declared, model=self.model)
        self.kind = self.facts.kind
        if self.facts.kind == "sglang":
            try:
                self.info = as_object(await self.transport.get("/server_info"))
            except BackendError:
                self.info = {}
        self.bound = self._find_bound()

    def _find_bound(self) -> Bound | None:
        names = (self.facts.model, self.facts.root)
        model = known_model(*names)
        if self.cards is None or model is None:
            return None
        told = str(self.info.get("quantization") or "")
        default = "bf16" if self.kind in ("vllm", "sglang") else ""  # the others serve GGUF files
        form = known_format(model, names, told, default=default)
        return served_bound(model, form, self.cards) if form else None

    async def alive(self) -> bool:
        """Whether it still answers."""
        try:
            await self.transport.get("/v1/models")
        except BackendError:
            return False
        return True

    async def ask(
        self,
        request: ModelRequest,
        *,
        stream: bool = False,
        constrained: bool = False,
        more: Mapping[str, Any] | None = None,
        without: Sequence[str] = (),
    ) -> Answer:
        """Ask once; fields that the server does not know are left out, as a backend would.

        Args:
            request: What is asked.
            stream: Whether the answer comes in events.
            constrained: Whether calls are held to their schema.
            more: Fields of the body on top.
            without: Fields that are left out of it.

        Raises:
            BackendRefused: The server said no, for a reason that has to do with calls.
            BackendError: There is no answer.
        """
        while True:
            facts = self.facts if constrained else self.facts.without_constraint()
            body = chat_body(request, facts, self.profile, stream=stream) | dict(more or {})
            body = {name: value for name, value in body.items() if name not in without}
            try:
                answer = await self._answer(request, facts, body)
            except BackendRefused as error:
                if not self._learn(facts, error):
                    raise
            else:
                self.answers.append(answer)
                return answer

    def _learn(self, facts: ServerFacts, error: BackendRefused) -> bool:
        learned = adaptation(facts, error.reason)
        if learned is None or any(
            getattr(learned, name) != getattr(facts, name) for name in _ABOUT_CALLS
        ):
            return False
        self.facts = dataclasses.replace(learned, constraint=self.facts.constraint)
        return True

    async def _answer(
        self, request: ModelRequest, facts: ServerFacts, body: dict[str, Any]
    ) -> Answer:
        reader = ChatReader(
            request,
            facts,
            profile=self.profile,
            streamed=body["stream"],
            prompt_size=lambda: len(write_json(body)),
        )
        taken = _Taken(request, streamed=body["stream"])
        if body["stream"]:
            async with self.transport.events(_CHAT, body) as batches:
                async for batch in batches:
                    for event in batch:
                        self._take(event, reader, taken)
        else:
            limit = self.transport.timeouts.first_token + request.sampling.max_tokens
            self._take(await self.transport.post(_CHAT, body, limit=limit), reader, taken)
        if not reader.ended:
            raise self.transport.words.broken_off()
        now = taken.elapsed()
        for chunk in reader.finish(seconds=now, first_token=taken.first or now):
            taken.chunk(chunk)
        return taken.answer(self.profile)

    def _take(self, event: Any, reader: ChatReader, taken: _Taken) -> None:
        data = as_object(event)
        if error := data.get("error"):
            raise self.transport.words.in_stream(error)
        taken.usage_told = taken.usage_told or isinstance(
            as_object(data.get("usage")).get("prompt_tokens"), int
        )
        for chunk in reader.take(data):
            taken.chunk(chunk)


class EmbeddedProbe(Probe):
    """The engine in this process."""

    def __init__(self, backend: Backend, nonce: str) -> None:
        super().__init__(nonce)
        self.kind = "llamacpp"
        self.backend = backend
        self._window: int | None = None

    @property
    def window(self) -> int | None:
        return self._window

    async def describe(self) -> tuple[str, int | None, tuple[str, ...]]:
        """Load the model: its name, its window, what was degraded."""
        info = await self.backend.describe()
        self._window = info.context_window
        return info.model, info.context_window, info.notes

    async def ask(self, request: ModelRequest, *, stream: bool = False) -> Answer:
        taken = _Taken(request, streamed=True)
        taken.usage_told = True
        async with self.backend.stream(request) as chunks:
            async for chunk in chunks:
                taken.chunk(chunk)
        answer = taken.answer(CHATML)
        self.answers.append(answer)
        return answer


class _Taken:
    """Collects the chunks of one answer with their times."""

    def __init__(self, request: ModelRequest, *, streamed: bool) -> None:
        self._request = request
        self._streamed = streamed
        self._started = time.perf_counter()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._finished: Finished | None = None
        self._last = 0.0
        self._pieces = 0
        self.first = 0.0
        self.usage_told = False

    def elapsed(self) -> float:
        return time.perf_counter() - self._started

    def chunk(self, chunk: object) -> None:
        if isinstance(chunk, Finished):
            self._finished = chunk
        elif isinstance(chunk, TextChunk | ReasoningChunk) and chunk.text:
            self._last = self.elapsed()
            self.first = self.first or self._last
            self._pieces += 1
            (self._text if isinstance(chunk, TextChunk) else self._reasoning).append(chunk.text)

    def answer(self, profile: Profile) -> Answer:
        assert self._finished is not None, "every stream ends with it"
        return Answer.read(
            self._request,
            self._finished,
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            bare_json=profile.bare_json,
            streamed=self._streamed,
            usage_told=self.usage_told,
            first=self.first,
            last=self._last,
            pieces=self._pieces,
        )
