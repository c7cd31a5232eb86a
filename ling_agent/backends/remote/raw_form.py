"""What the answer of ``/v1/completions`` is held to: calls, a list of them, or words.

A prompt that we render may end inside a call, up to its arguments; those are then held to the
tool's schema, as they are where the model begins the call itself. Where a call's first argument is
begun, too, the server begins it anew: its grammar knows no half objects.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from ...hermes.draft_grammar import list_tag, python_tag
from ...hermes.grammar import arguments_tag
from ...profiles import Profile
from ..base import DRAFTS, ModelRequest
from .chat_body import constraint
from .facts import ServerFacts
from .jsons import write_json

LOGPROBS = 20
"""Likely tokens that are asked for: as many as vLLM gives without another setting."""

UNLIKELY = -100.0
"""The log-probability of a word that is not among them."""

_BEGUN = re.compile(r'<tool_call>\s*\{"name": "([^"\\]+)", "arguments":( (?:\{"?)?)?\Z')
_IN_WORDS = r"[^\[{`<\s][\s\S]*"  # as calls do not begin


def as_sent(request: ModelRequest, facts: ServerFacts) -> ModelRequest:
    """The request without what its prefill has begun of arguments: the server writes that anew.

    ``stop_when`` is not given it twice.
    """
    begun = _begun(request, facts)
    if begun is None:
        return request
    stop_when = request.stop_when
    if stop_when is not None:
        stop_when = _Behind((begun[2] or "").strip(), stop_when)
    prefill = f'{request.prefill[: begun.end(1)]}", "arguments": '
    return dataclasses.replace(request, prefill=prefill, stop_when=stop_when)


def form_fields(request: ModelRequest, facts: ServerFacts, profile: Profile) -> dict[str, Any]:
    """The fields of the body; empty where the answer is free.

    Args:
        request: What is asked.
        facts: Of the server that is asked.
        profile: Of the model: one that writes calls without tags is kept from it by a grammar
            where an answer in words is asked for.
    """
    if facts.constraint == "none" or not request.tools or request.weigh:
        return {}
    if request.tool_choice in DRAFTS:
        return _structural(_draft_tag(request), facts)
    if request.tool_choice == "none":
        return _in_words(facts) if profile.bare_json and not request.prefill.strip() else {}
    begun = _begun(request, facts)
    if begun is not None:
        more = request.tools if request.stop_when is None else ()  # else its caller ends it
        return _structural(arguments_tag(_begun_schema(request, begun), more), facts)
    inside = request.prefill.rfind("<tool_call>") > request.prefill.rfind("</tool_call>")
    tag = None if inside else constraint(request)
    return {} if tag is None else _structural(tag, facts)


def weigh_fields(request: ModelRequest, facts: ServerFacts) -> dict[str, Any]:
    """What is asked for where only the odds of some words are wanted."""
    if not request.weigh:
        return {}
    return {"max_tokens": 1} | ({"logprobs": LOGPROBS} if facts.logprobs else {})


def weights_of(request: ModelRequest, choice: Mapping[str, Any]) -> tuple[float, ...]:
    """The log-probabilities of the words that were asked about; none where the server is silent."""
    logprobs: Any = choice.get("logprobs")
    if not request.weigh or not isinstance(logprobs, dict):
        return ()
    likely = _likely(logprobs)  # pyright: ignore[reportUnknownArgumentType]
    if not likely:
        return ()
    return tuple(likely.get(word, UNLIKELY) for word in request.weigh)


class _Behind:
    """Hands the pieces of an answer on, without the text that they begin with."""

    def __init__(self, known: str, take: Callable[[str], bool]) -> None:
        self._known = known
        self._take = take

    def __call__(self, piece: str) -> bool:
        while self._known and piece:
            if piece[0] == self._known[0]:
                self._known = self._known[1:]
            elif not piece[0].isspace():
                self._known = ""
                break
            piece = piece[1:]
        return self._take(piece)


def _likely(logprobs: Mapping[str, Any]) -> dict[str, float]:
    """Of the first token, in either of the two forms that servers have."""
    if top := logprobs.get("top_logprobs"):
        return {str(token): float(value) for token, value in dict(top[0] or {}).items()}
    if content := logprobs.get("content"):
        return {each["token"]: float(each["logprob"]) for each in content[0]["top_logprobs"]}
    return {}


def _draft_tag(request: ModelRequest) -> dict[str, Any]:
    written = DRAFTS[request.tool_choice]
    if request.tool_choice == "listed":
        return list_tag(request.tools, separator=written.separator, end=written.end)
    commented = request.tool_choice == "commented"
    return python_tag(
        request.tools, separator=written.separator, end=written.end, commented=commented
    )


def _begun(request: ModelRequest, facts: ServerFacts) -> re.Match[str] | None:
    if facts.constraint == "none" or request.tool_choice == "none":
        return None
    begun = _BEGUN.search(request.prefill)
    known = begun is not None and _schema(request, begun[1]) is not None
    return begun if known else None


def _begun_schema(request: ModelRequest, begun: re.Match[str]) -> Mapping[str, Any]:
    schema = _schema(request, begun[1]) or {}
    if begun[2] == ' {"' and "minProperties" not in schema:
        return {**schema, "minProperties": 1}
    return schema


def _schema(request: ModelRequest, name: str) -> Mapping[str, Any] | None:
    for tool in request.tools:
        if tool["function"]["name"] == name:
            return tool["function"].get("parameters") or {"type": "object"}
    return None


def _structural(tag: Mapping[str, Any], facts: ServerFacts) -> dict[str, Any]:
    if facts.kind == "sglang":
        return {"response_format": tag}  # there are no tools in this request
    return {"structured_outputs": {"structural_tag": write_json(tag).decode()}}


def _in_words(facts: ServerFacts) -> dict[str, Any]:
    if facts.kind == "sglang":
        return {"regex": _IN_WORDS}
    return {"structured_outputs": {"regex": _IN_WORDS}}
