"""How a server is asked to hold an answer in words to a JSON schema.

Only where no call may come: a server holds the whole answer, and would make calls impossible. Most
take OpenAI's ``response_format``. vLLM and SGLang are given a structural tag in its place:

- it takes 'perhaps reasoning, then JSON', where ``response_format`` forbids the ``<think>`` of
  servers that run without a reasoning parser (with one, reasoning is exempt by itself);
- it bounds white space, in which small models lose themselves: the 0.5B wrote blanks behind a colon
  until its token limit (seen on vLLM 0.32).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ...profiles import Profile
from ..base import ModelRequest
from ..embedded.schemas import tightened
from .facts import ServerFacts
from .jsons import write_json

_NO_RAW_FORMAT = (
    "typed answers are not held to their schema: /v1/completions of this server does not take "
    "one; use mode='chat'"
)
_IN_REASONING = (
    "typed answers are not held to their schema: the model's prompts end inside its reasoning, "
    "which has no form; use mode='chat' and a server with a reasoning parser"
)
# What OpenAI's strict mode knows; it wants every property required and every object closed.
_STRICT_WORDS = frozenset(
    {"type", "description", "enum", "const", "properties", "required", "items", "anyOf", "$ref"}
    | {"$defs", "additionalProperties", "format", "pattern", "minimum", "maximum", "minItems"}
    | {"maxItems", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)


def is_held(request: ModelRequest) -> bool:
    """Whether the whole answer is to be held to a schema: it has one, and no call may come."""
    no_calls = not request.tools or request.tool_choice == "none"
    return request.answer_schema is not None and no_calls and not request.prefill.strip()


def answer_fields(
    request: ModelRequest, facts: ServerFacts, profile: Profile, *, raw: bool = False
) -> dict[str, Any]:
    """The fields of the body; empty where nothing is held.

    Args:
        request: What is asked.
        facts: Of the server that is asked.
        profile: Of the model; one that thinks may do so first.
        raw: Whether it is asked by ``/v1/completions``.
    """
    schema = request.answer_schema
    if schema is None or not is_held(request) or facts.answer_format == "none":
        return {}
    if raw and not_held_raw(request, facts, profile):
        return {}
    closed = tightened(schema)
    if facts.answer_format == "structural_tag":
        tag = answer_tag(closed, thinks=profile.thinks)
        if facts.kind == "sglang":
            return {"response_format": tag}
        return {"structured_outputs": {"structural_tag": write_json(tag).decode()}}
    if raw and facts.kind == "llama-server":
        return {"json_schema": closed}
    strict = facts.kind != "openai" or allows_strict(closed)
    form = {"name": "answer", "schema": closed, "strict": strict}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def not_held_raw(request: ModelRequest, facts: ServerFacts, profile: Profile) -> str:
    """Why an answer by ``/v1/completions`` is not held to its schema; empty when it is."""
    if facts.answer_format == "none" or not is_held(request):
        return ""
    if profile.starts_in_reasoning:
        return _IN_REASONING
    return _NO_RAW_FORMAT if facts.kind in ("openai", "ollama") else ""


def answer_tag(schema: Mapping[str, Any], *, thinks: bool) -> dict[str, Any]:
    """The structural tag 'JSON that fits', or 'the same behind reasoning'; deterministic."""
    answer = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": 1}
    if not thinks:
        return {"type": "structural_tag", "format": answer}
    thinking = {
        "type": "tag",
        "begin": "<think>",
        "content": {"type": "any_text"},
        "end": "</think>",
    }
    space = {"type": "regex", "pattern": "[ \\n]{0,4}"}
    behind = {"type": "sequence", "elements": [thinking, space, answer]}
    return {"type": "structural_tag", "format": {"type": "or", "elements": [answer, behind]}}


def allows_strict(schema: object) -> bool:
    """Whether a schema is one that OpenAI's ``strict`` takes: it refuses the others."""
    if not isinstance(schema, Mapping):
        return False
    node = cast("Mapping[str, Any]", schema)
    if not node.keys() <= _STRICT_WORDS:
        return False
    properties: Mapping[str, Any] = node.get("properties", {})
    if node.get("type") == "object" and (
        node.get("additionalProperties") is not False
        or set(node.get("required", ())) != set(properties)
    ):
        return False
    parts = [*properties.values(), *node.get("$defs", {}).values(), *node.get("anyOf", ())]
    if "items" in node:
        parts.append(node["items"])
    return all(map(allows_strict, parts))
