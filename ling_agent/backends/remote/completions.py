"""``mode="raw"``: prompts that are rendered here, sent to ``/v1/completions`` as token ids.

Text that is tokenized twice may come out in other tokens than were generated, and then the prefix
cache is lost behind that place. So the ids of a conversation are kept: a prompt that begins with
the text that is known gets the known ids, and only the rest is tokenized, by the server. Where a
server takes no ids the prompt is sent as text.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from ...errors import BackendError, BackendUnavailable, ContextOverflow
from ...hermes import render
from ...messages import UserMessage, to_openai
from ...profiles import PLAIN, PROFILES, Profile
from ...results import Usage
from ..base import DRAFTS, Chunk, Finished, FinishReason, ModelRequest, TextChunk
from ..prompts import Prompts
from .answer_format import answer_fields, not_held_raw
from .chat_body import (
    chat_messages,
    sampling_fields,
    stream_options,
    template_fields,
)
from .chat_reader import NO_CACHE_REPORT, NO_USAGE
from .facts import ServerFacts
from .jsons import Json, as_object, write_json
from .progress import Progress
from .raw_form import as_sent, form_fields, weigh_fields, weights_of
from .transport import Transport
from .written import WrittenList

_REMEMBERED = 256  # conversations; each may hold 256K ids
_PROBE = UserMessage("Hello.")
_PROBE_MESSAGES = [to_openai(_PROBE)]


@dataclass(frozen=True, slots=True)
class _Known:
    """A text and the ids that stand for exactly it."""

    text: str
    ids: WrittenList


class RawPrompts:
    """The token ids of one backend's conversations."""

    def __init__(self) -> None:
        self._prompts = Prompts()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._stop_ids: dict[str, list[int]] = {}

    async def prompt(
        self,
        transport: Transport,
        facts: ServerFacts,
        profile: Profile,
        request: ModelRequest,
    ) -> RawPrompt:
        """The request as it is sent.

        Raises:
            ContextOverflow: It does not fit.
        """
        form = form_fields(request, facts, profile) | weigh_fields(request, facts)
        request = as_sent(request, facts)
        text = self._prompts.render(request, profile.template)
        prompt = RawPrompt(self, facts, profile, request, text, form)
        if facts.token_ids and facts.tokenize is not None:
            prompt.ids = await self._ids(transport, facts, request.conversation, text)
            prompt.stop_ids = await self._stops(transport, facts, profile)
            prompt.fit()
            # Now, for an answer that is left in the middle: the next prompt still extends this one.
            if prompt.is_kept:
                self.keep(request.conversation, text, prompt.ids)
        return prompt

    def keep(self, conversation: str, text: str, ids: WrittenList) -> None:
        """Remember the ids of a conversation's text."""
        if not conversation:
            return
        self._known[conversation] = _Known(text, ids)
        self._known.move_to_end(conversation)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def _ids(
        self, transport: Transport, facts: ServerFacts, conversation: str, text: str
    ) -> WrittenList:
        known = self._known.get(conversation)
        if known is None or not text.startswith(known.text):
            known = _Known("", WrittenList())
        return known.ids.plus(await tokenize(transport, facts, text[len(known.text) :]))

    async def _stops(self, transport: Transport, facts: ServerFacts, profile: Profile) -> list[int]:
        """The ids of the profile's stop texts that are single tokens."""
        if profile.name not in self._stop_ids:
            found = [await tokenize(transport, facts, stop) for stop in profile.stop]
            self._stop_ids[profile.name] = [ids[0] for ids in found if len(ids) == 1]
        return self._stop_ids[profile.name]


@dataclass(slots=True)
class RawPrompt:
    """One request of the raw mode.

    Attributes:
        form: What the answer is held to, and how long it is at most where that is known.
        ids: The prompt's ids; None when it is sent as text.
        stop_ids: What ends the answer.
        longest: Tokens of the answer at most.
        started: When it was sent.
    """

    prompts: RawPrompts
    facts: ServerFacts
    profile: Profile
    request: ModelRequest
    text: str
    form: dict[str, Any] = field(default_factory=dict[str, Any])
    ids: WrittenList | None = None
    stop_ids: list[int] = field(default_factory=list[int])
    longest: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def is_kept(self) -> bool:
        """Whether the next prompt of the conversation extends it; not that of a question aside."""
        return not self.request.weigh and self.request.tool_choice not in DRAFTS

    def fit(self) -> None:
        """Leave as much room for the answer as there is.

        Raises:
            ContextOverflow: There is none.
        """
        window, wanted = self.facts.context_window, self.request.sampling.max_tokens
        size = 0 if self.ids is None else self.ids.length
        self.longest = wanted if window is None else min(wanted, window - size)
        if self.longest < 1 and window is not None:
            raise ContextOverflow(
                f"the prompt has {size:,} tokens and the context window {window:,}: shorten the "
                "task or the tools' results, or serve the model with a longer window",
                prompt_tokens=size,
                context_window=window,
            )

    def body(self, *, stream: bool) -> dict[str, Any]:
        """The body of ``/v1/completions``."""
        facts, request = self.facts, self.request
        body: dict[str, Any] = {
            "model": facts.model,
            "prompt": self.text if self.ids is None else self.ids,
            **sampling_fields(request.sampling, facts),
            "stream": stream,
            "skip_special_tokens": False,
        }
        body["max_tokens"] = self.longest or request.sampling.max_tokens
        body.pop("max_completion_tokens", None)
        if self.stop_ids:
            # Not as texts: a server holds text back that could be the beginning of one.
            body["stop_token_ids"] = self.stop_ids
        else:
            body["stop"] = list(self.profile.stop)
        if self.ids is None:
            body["add_special_tokens"] = False
        else:
            body["return_token_ids"] = True
        if stream:
            body |= stream_options(facts, running=request.stop_when is not None)
            if facts.kind == "llama-server" and request.watched:
                body["return_progress"] = True
        held = answer_fields(request, facts, self.profile, raw=True)
        return body | (held or self.form)

    async def chunks(
        self, answers: AsyncIterator[Any], broken_off: Callable[[], BackendError]
    ) -> AsyncGenerator[Chunk, None]:
        """Read the answer; keeps the conversation's ids when it has ended by itself."""
        reader = _Reader(self)
        if self.request.prefill:
            yield TextChunk(self.request.prefill)
        progress = Progress()
        async for answer in answers:
            if chunk := progress.take(answer):
                yield chunk
            piece = reader.take(answer)
            if not piece:
                continue
            yield TextChunk(piece)
            if self.request.stop_when is not None and self.request.stop_when(piece):
                reader.finish_reason, reader.left = "stop", True
                break
        else:
            if reader.finish_reason is None:
                raise broken_off()
            self._keep(reader)
        yield reader.finished()

    def _keep(self, reader: _Reader) -> None:
        """What was generated, too, where its ids stand for exactly its text."""
        if self.ids is None or not self.is_kept:
            return
        generated, text = reader.ids, self.text
        if generated and generated[-1] in self.stop_ids:
            generated = generated[:-1]
        if reader.finish_reason == "stop" and len(reader.ids) == reader.completion_tokens:
            text += reader.text
        else:
            generated = []
        self.prompts.keep(self.request.conversation, text, self.ids.plus(generated))


class _Reader:
    """Reads the events of one completion."""

    def __init__(self, prompt: RawPrompt) -> None:
        self._prompt = prompt
        self._started = prompt.started
        self._first = 0.0
        self._usage: Json = {}
        self._pieces: list[str] = []
        self.ids: list[int] = []
        self.finish_reason: str | None = None
        self.left = False  # in the middle
        self.weights: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def completion_tokens(self) -> int:
        """As the server counts them, else one a piece."""
        count = self._usage.get("completion_tokens")
        return count if isinstance(count, int) else len(self.ids) or len(self._pieces)

    def take(self, answer: dict[str, Any]) -> str:
        """The text of an event."""
        if usage := as_object(answer.get("usage")):
            self._usage = usage
        choices = answer.get("choices")
        if not choices:
            return ""
        choice = choices[0]
        self.weights = self.weights or weights_of(self._prompt.request, choice)
        self.ids += choice.get("token_ids") or ()
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text = "" if self._prompt.request.weigh else choice.get("text") or ""
        for stop in self._prompt.profile.stop:  # of a server that does not take it off
            text = text.removesuffix(stop)
        if text:
            self._first = self._first or time.perf_counter() - self._started
            self._pieces.append(text)
        return text

    def finished(self) -> Finished:
        seconds = time.perf_counter() - self._started
        cached = as_object(self._usage.get("prompt_tokens_details")).get("cached_tokens")
        prompt_tokens = self._usage.get("prompt_tokens")
        notes = list(self._prompt.facts.notes)
        if note := not_held_raw(self._prompt.request, self._prompt.facts, self._prompt.profile):
            notes.append(note)
        if cached is None and self._prompt.facts.kind in NO_CACHE_REPORT and not self.left:
            notes.append(NO_CACHE_REPORT[self._prompt.facts.kind])
        if not isinstance(prompt_tokens, int):
            if not self.left:
                notes.append(NO_USAGE)
            ids = self._prompt.ids
            prompt_tokens = ids.length if ids is not None else len(self._prompt.text) // 4
        first = self._first or seconds
        usage = Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=cached if isinstance(cached, int) else None,
            requests=1,
            seconds=seconds,
            prefill_seconds=first,
            decode_seconds=max(seconds - first, 0.0),
        )
        reason: FinishReason = "length" if self.finish_reason == "length" else "stop"
        return Finished(reason, usage, notes=tuple(notes), weights=self.weights)


async def tokenize(transport: Transport, facts: ServerFacts, text: str) -> list[int]:
    """The ids of a text, special tokens in it included, by the server's tokenizer.

    Raises:
        BackendError: The server cannot.
    """
    if not text:
        return []
    asked = {"model": facts.model, "prompt": text, "add_special_tokens": False}
    limit = transport.timeouts.first_token
    answer = as_object(await transport.post(facts.tokenize or "/tokenize", asked, limit=limit))
    tokens = answer.get("tokens")
    if not isinstance(tokens, list):
        raise BackendUnavailable(f"{transport.url}/tokenize returned no tokens")
    return cast("list[int]", tokens)


async def renders_alike(transport: Transport, facts: ServerFacts, profile: Profile) -> bool:
    """Whether our prompts are the server's own, token for token; False where it does not tell."""
    if facts.tokenize is None:
        return False
    try:
        theirs = (await transport.post(facts.tokenize, _probe(facts, profile)))["tokens"]
        text = render(_PROBE_MESSAGES, template=profile.template)
        return await tokenize(transport, facts, text) == theirs
    except (BackendError, KeyError, TypeError):
        return False


async def detect_profile(
    transport: Transport, facts: ServerFacts, guess: Profile
) -> tuple[Profile, str]:
    """The profile whose template is the server's own, by comparing tokens.

    One profile of each template is tried, the guess first; the server's template is told what that
    profile would tell it about thinking.

    Returns:
        The profile, the guess where the server cannot be asked; and a note where our prompt differs
        from the server's.
    """
    if facts.tokenize is None:
        return guess, ""
    try:
        answers: dict[bytes, Any] = {}
        for profile in _candidates(guess):
            asked = _probe(facts, profile)
            key = write_json(asked)
            if key not in answers:
                answers[key] = (await transport.post(facts.tokenize, asked))["tokens"]
            text = render(_PROBE_MESSAGES, template=profile.template)
            if await tokenize(transport, facts, text) == answers[key]:
                return profile, ""
    except (BackendError, KeyError, TypeError):
        return guess, ""
    return guess, (
        f"prompts of the template {guess.template} differ from the server's own template: "
        "give profile=… or use mode='chat'"
    )


def _candidates(guess: Profile) -> Iterable[Profile]:
    """The guess, then one profile of each other template.

    Those that always think come last: with thinking on, the prompts of others are like theirs.
    """
    known = {guess.template: guess}
    for profile in sorted(
        (PLAIN, *PROFILES.values()), key=lambda each: each.thinking.switch == "always"
    ):
        known.setdefault(profile.template, profile)
    return known.values()


def _probe(facts: ServerFacts, profile: Profile) -> dict[str, Any]:
    """Asks for the ids of a prompt by the server's own template."""
    return {
        "model": facts.model,
        "messages": chat_messages([_PROBE], facts, profile),
        "add_generation_prompt": True,
        **template_fields(facts, profile),
    }
