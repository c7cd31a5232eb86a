"""`ServerFacts`: what a server is and what it can do, found out once.

Where each fact comes from: the kind and version from ``/version``, ``/server_info``, ``/props``,
``/api/version`` and ``owned_by`` of ``/v1/models``; the window from the same; what requests may
hold from the server's own OpenAPI description, which vLLM and SGLang publish at ``/openapi.json``,
and from a table by kind where there is none. A request that shows that a fact was wrong changes it:
see `adaptation`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

from ...errors import BackendRefused, BackendUnavailable

Kind = Literal["vllm", "sglang", "llama-server", "ollama", "openai"]
Constraint = Literal["structured_outputs", "strict", "none"]
AnswerFormat = Literal["structural_tag", "json_schema", "none"]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server, as it is now.

    Attributes:
        kind: Which program it is; ``openai`` is any other.
        version: Its version; None when it does not say.
        model: Name to ask for.
        models: All names that it lists.
        context_window: Tokens of prompt and answer together; None when it does not say.
        root: Where the model came from, as far as it says; often a path.
        constraint: How calls are held to their schema: ``structured_outputs`` takes our own
            structural tag, ``strict`` a flag of each tool, ``none`` nothing.
        answer_format: How a typed answer is held to its schema: ``structural_tag`` takes our own
            tag, which leaves room for reasoning, ``json_schema`` OpenAI's ``response_format``.
        tool_parser: Whether it reads calls from the text; without, tools are sent all the same and
            the calls are read here.
        forces_calls: Whether ``tool_choice: required`` is obeyed.
        named_choice: Whether ``tool_choice`` may name a tool.
        tokenize: Path that counts tokens of a text; None when there is none.
        completions: Whether ``/v1/completions`` takes prompts that we render.
        token_ids: Whether prompts may be token ids, and generated ids come back.
        usage_in_stream: Whether a stream can be asked for its usage.
        running_usage: Whether each streamed event may carry the usage so far.
        max_tokens_name: ``max_tokens`` or ``max_completion_tokens``.
        logprobs: Whether it tells as many likely tokens as are asked for.
        every_sampling_field: Whether ``top_k``, ``min_p`` and ``repetition_penalty`` are known.
        notes: What is missing and what to do about it, one line each.
    """

    kind: Kind
    version: str | None
    model: str
    models: tuple[str, ...]
    context_window: int | None
    root: str = ""
    constraint: Constraint = "none"
    answer_format: AnswerFormat = "json_schema"
    tool_parser: bool = True
    forces_calls: bool = True
    named_choice: bool = True
    tokenize: str | None = None
    completions: bool = True
    token_ids: bool = False
    usage_in_stream: bool = True
    running_usage: bool = False
    max_tokens_name: str = "max_tokens"
    logprobs: bool = True
    every_sampling_field: bool = False
    notes: tuple[str, ...] = ()

    def with_note(self, note: str, **changes: object) -> ServerFacts:
        """These facts, changed, and why."""
        notes = self.notes if note in self.notes else (*self.notes, note)
        return dataclasses.replace(self, notes=notes, **changes)  # pyright: ignore[reportArgumentType]

    @property
    def streams_calls(self) -> bool:
        """Whether streamed calls can be trusted.

        SGLang's parser, streaming, makes complete JSON of what it has read of broken JSON, and so
        drops arguments without a trace (seen in 0.5.23); held to the schema nothing is broken, and
        in one piece such a call vanishes as a whole, which is noticed.
        """
        return not (self.kind == "sglang" and self.tool_parser and self.constraint == "none")

    def without_constraint(self) -> ServerFacts:
        """For callers who do not want calls and answers to be held to their schema."""
        return dataclasses.replace(self, constraint="none", answer_format="none")

    def with_simpler_answers(self, reason: str) -> ServerFacts | None:
        """With the next simpler way to hold answers to their schema; None when none is left.

        Args:
            reason: Why the server refused this one.
        """
        if self.answer_format == "structural_tag":
            return dataclasses.replace(self, answer_format="json_schema")
        if self.answer_format == "json_schema":
            note = f"typed answers are not held to their schema: the server refused that ({reason})"
            return self.with_note(note, answer_format="none")
        return None

    def with_window(self, tokens: int) -> ServerFacts:
        """With a window that the caller knows better."""
        notes = tuple(note for note in self.notes if "context window" not in note)
        return dataclasses.replace(self, context_window=tokens, notes=notes)


_NO_PARSER = (
    "the server was started without a tool parser, so calls are read by the client: "
    "start it with --enable-auto-tool-choice --tool-call-parser hermes"
)


_SCHEMA_WORDS = r"structur|grammar|guided|\bstrict\b|json.?schema|\bregex"


def adaptation(facts: ServerFacts, reason: str, *, answering: bool = False) -> ServerFacts | None:
    """What a refusal teaches about the server.

    Args:
        facts: As the refused request was made.
        reason: The server's words.
        answering: Whether the request held its answer to a schema.

    Returns:
        Other facts, with which the request is made again, or None when it says nothing that could
        be done without.
    """
    text = reason.lower()
    if facts.tool_parser and re.search(r"enable-auto-tool-choice|tool-call-parser", text):
        forced = facts.constraint == "structured_outputs"  # our own tag needs no parser
        return facts.with_note(_NO_PARSER, tool_parser=False, forces_calls=forced)
    if answering and _blames_schema(text):
        return facts.with_simpler_answers(reason)
    if facts.logprobs and "logprobs" in text:
        note = f"how sure the model is of a call stays unknown: the server refused that ({reason})"
        return facts.with_note(note, logprobs=False)
    if facts.constraint != "none" and re.search(_SCHEMA_WORDS, text):
        note = f"calls are not held to their schema: the server refused that ({reason})"
        return facts.with_note(note, constraint="none")
    if facts.max_tokens_name == "max_tokens" and "max_completion_tokens" in text:
        return dataclasses.replace(facts, max_tokens_name="max_completion_tokens")
    if facts.forces_calls and "tool_choice" in text:
        note = f"the server cannot be made to call a tool ({reason})"
        return facts.with_note(note, forces_calls=False, named_choice=False)
    if facts.token_ids and re.search(r"token_ids|prompt.*(?:string|\bstr\b|list|type)", text):
        note = f"prompts are sent as text: the server refused token ids ({reason})"
        return facts.with_note(note, token_ids=False)
    if facts.every_sampling_field and re.search(r"top_k|min_p|repetition_penalty", text):
        note = f"top_k, min_p and repetition_penalty are not sent: refused by the server ({reason})"
        return facts.with_note(note, every_sampling_field=False)
    if "stream_options" in text:
        if facts.running_usage:
            return dataclasses.replace(facts, running_usage=False)
        if facts.usage_in_stream:
            return dataclasses.replace(facts, usage_in_stream=False)
    return None


def learned_from(
    facts: ServerFacts, error: BackendRefused | BackendUnavailable, *, answering: bool
) -> ServerFacts | None:
    """What an error before any piece of an answer teaches about the server.

    A schema is also given up for a refusal that says nothing, and for a failure that blames it.

    Args:
        facts: As the request was made.
        error: What came in place of the answer.
        answering: Whether the request held its answer to a schema.
    """
    if isinstance(error, BackendUnavailable):
        blamed = answering and not error.retry and _blames_schema(str(error).lower())
        return facts.with_simpler_answers(str(error)) if blamed else None
    learned = adaptation(facts, error.reason, answering=answering)
    if learned is None and answering and error.status in (400, 422):
        return facts.with_simpler_answers(error.reason)
    return learned


def _blames_schema(text: str) -> bool:
    return re.search(rf"{_SCHEMA_WORDS}|response_format|schema", text) is not None
