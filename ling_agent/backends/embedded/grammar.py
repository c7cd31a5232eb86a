"""Tools -> grammars of their calls, compiled by llguidance.

A grammar is a Lark text around the tools' JSON schemas. Calls are written as the chat templates
write them, ``{"name": "…", "arguments": {…}}`` with one blank behind colons and commas: most of a
call is then forced by what was chosen before. An object that lists its properties has no others:
the schemas that a model reads leave ``"additionalProperties": false`` out.

A schema that llguidance cannot hold a model to (it says so, nothing is ignored) is replaced by "any
JSON object" for that tool alone; its arguments are checked after decoding like all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ...extras import require

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_STRICT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_FLEXIBLE = {"whitespace_flexible": True}
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
# Of these llguidance knows the grammar; any other format is an annotation in JSON Schema.
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
_LONGEST_REASON = 100


class CallGrammars:
    """The grammars of one tool set.

    Args:
        tools: OpenAI tool objects.
        tokenizer: llguidance's, of the model.
        answer_schema: JSON schema of the answer in words, for `whole_answer`.

    Attributes:
        notes: What cannot be constrained, one line each.
    """

    def __init__(
        self,
        tools: Sequence[Mapping[str, Any]],
        tokenizer: Any,
        answer_schema: Mapping[str, Any] | None = None,
    ) -> None:
        self._llguidance: Any = _library()
        self.tokenizer = tokenizer
        schemas, notes = _usable_schemas(tools)
        self._schemas = schemas
        self._answer: Mapping[str, Any] | None = None
        if answer_schema is not None:
            tightened = _tightened(answer_schema)
            problem = _problem(tightened)
            if problem:
                notes.append(
                    f"the answer cannot be constrained ({problem}); it is checked after decoding"
                )
            else:
                self._answer = tightened
        self.notes = tuple(notes)
        self._matchers: dict[str, Any] = {}

    @property
    def holds_answers(self) -> bool:
        """Whether the answer in words has a form of its own."""
        return self._answer is not None

    def rest_of_tagged(self) -> Any:
        """A matcher for what follows ``<tool_call>``."""
        lark = f'start: "\\n"? call "\\n"? close\n{self._close()}{self._call(_STRICT)}'
        return self._matcher("tagged", lark)

    def rest_of_untagged(self, *, fenced: bool, pretty: bool) -> Any:
        """A matcher for what follows ``{"name":`` where a call is written without tags.

        Args:
            fenced: Whether it stands in a code block, which has to be closed.
            pretty: Whether it is written over several lines, with white space at will.
        """
        style = _FLEXIBLE if pretty else _STRICT
        fence = ' "\\n"? "```"' if fenced else ""
        body = 'WS? function WS? "}"' if pretty else '" " function "}"'
        lark = f"start: {body}{fence}\nWS: /[ \\n\\t]+/\n{self._function(style)}"
        return self._matcher(f"untagged {fenced} {pretty}", lark)

    def whole_calls(self, only: str | None = None) -> Any:
        """A matcher for an answer that is one call or several, or one call of the tool ``only``."""
        calls = "one" if only is not None else 'one ("\\n" one)*'
        lark = f"start: {calls}\n{self._one(only)}"
        return self._matcher(f"whole {only}", lark)

    def whole_answer(self) -> Any:
        """A matcher for an answer in the form of the answer schema, or calls in its place."""
        assert self._answer is not None
        calls = 'one ("\\n" one)* | ' if self._schemas else ""
        one = self._one(None) if self._schemas else ""
        return self._matcher(
            "answer", f"start: {calls}answer\n{one}{_json('answer', self._answer, _STRICT)}"
        )

    # -- parts of grammars --------------------------------------------------------------------

    def _one(self, only: str | None) -> str:
        call = self._call(_STRICT, only)
        return f'one: {self._tag(OPEN)[0]} "\\n" call "\\n" close\n{self._close()}{call}'

    def _close(self) -> str:
        return f"close: {' | '.join(self._tag(CLOSE))}\n"

    def _tag(self, text: str) -> list[str]:
        """The ways to write a tag: as a special token, where the vocabulary has it, and as text."""
        tokens = self.tokenizer.tokenize_str(text, parse_special=True)
        special = len(tokens) == 1 and self.tokenizer.is_special_token(tokens[0])
        return [text, json.dumps(text)] if special else [json.dumps(text)]

    def _call(self, style: Mapping[str, Any], only: str | None = None) -> str:
        return f'call: "{{\\"name\\": " function "}}"\n{self._function(style, only)}'

    def _function(self, style: Mapping[str, Any], only: str | None = None) -> str:
        """From the name on to the end of the arguments."""
        flexible = style is _FLEXIBLE
        between = (
            'WS? "," WS? "\\"arguments\\"" WS? ":" WS?' if flexible else '", \\"arguments\\": "'
        )
        rules: list[str] = []
        options: list[str] = []
        for number, (name, schema) in enumerate(self._schemas.items()):
            if only is not None and name != only:
                continue
            options.append(
                f"{json.dumps(json.dumps(name, ensure_ascii=False))} {between} args_{number}"
            )
            rules.append(_json(f"args_{number}", schema, style))
        return f"function: {' | '.join(options)}\n{''.join(rules)}"

    def _matcher(self, key: str, lark: str) -> Any:
        compiled = self._matchers.get(key)
        if compiled is None:
            matcher = self._llguidance.LLMatcher
            grammar = matcher.grammar_from_lark(f"%llguidance {{}}\n{lark}")
            compiled = self._matchers[key] = matcher(self.tokenizer, grammar, log_level=0)
        return compiled.deep_copy()


def schema_notes(tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Which tools' arguments cannot be constrained and why, one line each.

    Args:
        tools: OpenAI tool objects.
    """
    return tuple(_usable_schemas(tools)[1])


def _library() -> Any:
    return require("llguidance", extra="llamacpp", why="holding calls to their schema")


def _usable_schemas(
    tools: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    schemas: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for tool in tools:
        function = tool["function"]
        name, schema = function["name"], _tightened(function.get("parameters") or _NO_ARGUMENTS)
        problem = _problem(schema)
        if problem:
            notes.append(
                f"the arguments of {name} cannot be constrained ({problem}); "
                "they are checked after decoding"
            )
        schemas[name] = _ANY_OBJECT if problem else schema
    return schemas, notes


_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def _problem(schema: Mapping[str, Any]) -> str:
    """Why llguidance cannot take a schema, in short; empty when it can."""
    matcher = _library().LLMatcher
    grammar = matcher.grammar_from_lark(
        f"%llguidance {{}}\nstart: v\n{_json('v', schema, _STRICT)}"
    )
    failed, messages = matcher.validate_grammar_with_warnings(grammar)
    if not failed:
        return ""
    reason = " ".join(" ".join(messages).split())
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def _json(rule: str, schema: Mapping[str, Any], style: Mapping[str, Any]) -> str:
    text = json.dumps({**schema, "x-guidance": style}, ensure_ascii=False)
    return f"{rule}: %json {text}\n"


def _tightened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a grammar needs it: closed objects, and only formats that have a grammar."""
    return cast("dict[str, Any]", _tighten(schema))


# Their values are data, or names with schemas, and no schemas themselves.
_DATA = frozenset({"const", "default", "enum", "examples"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def _tighten(node: object) -> object:
    if isinstance(node, list):
        return [_tighten(item) for item in cast("list[object]", node)]
    if not isinstance(node, Mapping):
        return node
    schema = cast("Mapping[str, object]", node)
    changed: dict[str, object] = {}
    for key, value in schema.items():
        if key in _DATA:
            changed[key] = value
        elif key in _NAMED and isinstance(value, Mapping):
            named = cast("Mapping[str, object]", value)
            changed[key] = {name: _tighten(item) for name, item in named.items()}
        elif key != "format" or value in _FORMATS:
            changed[key] = _tighten(value)
    # With allOf the properties are spread over several schemas, none of which lists them all.
    open_ended = {"additionalProperties", "patternProperties", "allOf", "$ref"} & changed.keys()
    if "properties" in changed and not open_ended:
        changed["additionalProperties"] = False
    return changed
