"""Tools -> the grammar 'free text, or a valid call', as a structural tag.

A structural tag is what xgrammar's servers (vLLM, SGLang) take: text is free until a trigger, then
one of the tags must follow, whose content satisfies the tool's schema. Both forms of a call are
listed, with line breaks inside the tags and without: a model that was tuned on one of them is not
pushed off its path. Behind a call the text is free again, so that several calls may be joined by a
line break, which the grammar of vLLM's own ``required`` refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_TRIGGER = "<tool_call>"
_COMPACT: Mapping[str, Any] = {"max_whitespace_cnt": 1}  # on one line
_FORMS = (("<tool_call>\n", "\n</tool_call>"), ("<tool_call>", "</tool_call>"))


def structural_tag(
    tools: Iterable[Mapping[str, Any]],
    *,
    only: str | None = None,
    at_least_one: bool = False,
) -> dict[str, Any]:
    """The structural tag for these tools.

    Args:
        tools: OpenAI tool objects.
        only: Name of the one tool that may be called.
        at_least_one: The text begins with a call.

    Returns:
        ``{"type": "structural_tag", "format": …}``, deterministic.
    """
    tags: list[dict[str, Any]] = []
    for function in _functions(tools):
        if only is None or function["name"] == only:
            tags += _tags(function)
    return {
        "type": "structural_tag",
        "format": {
            "type": "triggered_tags",
            "triggers": [_TRIGGER],
            "tags": tags,
            "at_least_one": at_least_one,
            "stop_after_first": False,
        },
    }


def arguments_tag(
    schema: Mapping[str, Any], more: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The structural tag for the rest of a call that is begun up to its arguments.

    Args:
        schema: JSON schema of the arguments.
        more: OpenAI tool objects of what may follow: free text and calls. Without them the call
            is the end.
    """
    arguments = {"type": "json_schema", "json_schema": schema, **_COMPACT}
    end = {"type": "const_string", "value": f"}}{_FORMS[0][1]}"}
    tools = list(more)
    behind = [structural_tag(tools)["format"]] if tools else []
    return _sequence(arguments, end, *behind)


def _sequence(*elements: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "structural_tag",
        "format": {"type": "sequence", "elements": list(elements)},
    }


def _functions(tools: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [tool["function"] for tool in tools]


def _tags(function: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_tag(function, opening, closing) for opening, closing in _FORMS]


def _tag(function: Mapping[str, Any], opening: str, closing: str) -> dict[str, Any]:
    name = json.dumps(function["name"], ensure_ascii=False)
    schema: Mapping[str, Any] = function.get("parameters") or {"type": "object"}
    return {
        "type": "tag",
        "begin": f'{opening}{{"name": {name}, "arguments": ',
        "content": {"type": "json_schema", "json_schema": schema},
        "end": f"}}{closing}",
    }
