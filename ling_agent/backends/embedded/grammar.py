"""Tools -> grammars of their calls, compiled by llguidance.

A grammar is a Lark text around the tools' JSON schemas. Calls are written as the chat templates
write them, ``{"name": "…", "arguments": {…}}`` with one blank behind colons and commas: most of a
call is then forced by what was chosen before. An object that lists its properties has no others:
the schemas that a model reads leave ``"additionalProperties": false`` out.

A schema that a model cannot be held to is replaced by "any JSON object" for that tool alone, see
`schemas`; its arguments are checked after decoding like all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import DRAFTS, DraftForm
from .python_rules import python_rules
from .schemas import (
    STRICT,
    argument_schemas,
    json_rule,
    library,
    tightened,
    why_not,
    without_impossible,
)

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_FLEXIBLE = {"whitespace_flexible": True}


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
        self._llguidance: Any = library()
        self.tokenizer = tokenizer
        self._schemas, notes = argument_schemas(tools)
        self._answer: Mapping[str, Any] | None = None
        if answer_schema is not None:
            closed = tightened(answer_schema)
            problem = why_not(closed)
            if problem:
                notes.append(
                    f"the answer cannot be constrained ({problem}); it is checked after decoding"
                )
            else:
                self._answer = closed
        self.notes = tuple(notes)
        self._matchers: dict[str, Any] = {}

    @property
    def holds_answers(self) -> bool:
        """Whether the answer in words has a form of its own."""
        return self._answer is not None

    def rest_of_tagged(self) -> Any:
        """A matcher for what follows ``<tool_call>``; None without tools.

        It accepts at the end of the call, and any text behind that, since a token may hold both.
        """
        if not self._schemas:
            return None
        start = 'start: "\\n"? call "\\n"? close tail\ntail: /(?s:.*)/\n'
        return self._matcher("tagged", start + self._close() + self._call(STRICT))

    def rest_of_untagged(self, *, fenced: bool, pretty: bool) -> Any:
        """A matcher for what follows ``{"name":`` where a call has no tags; None without tools.

        It accepts at the end of the call, and white space behind that.

        Args:
            fenced: Whether it stands in a code block, which has to be closed.
            pretty: Whether it is written over several lines, with white space at will.
        """
        if not self._schemas:
            return None
        style = _FLEXIBLE if pretty else STRICT
        fence = ' "\\n"? "```"' if fenced else ""
        body = 'WS? function WS? "}"' if pretty else '" " function "}"'
        lark = f"start: {body}{fence} tail\ntail: /\\s*/\nWS: /[ \\n\\t]+/\n{self._function(style)}"
        return self._matcher(f"untagged {fenced} {pretty}", lark)

    def whole_calls(self, only: str | None = None) -> Any:
        """A matcher for an answer that is one call or several, or one call of the tool ``only``.

        None where there is no such tool.
        """
        if not self._schemas or (only is not None and only not in self._schemas):
            return None
        calls = "one" if only is not None else 'one ("\\n" one)*'
        lark = f"start: {calls}\n{self._one(only)}"
        return self._matcher(f"whole {only}", lark)

    def drafted_calls(self, form: DraftForm) -> Any:
        """A matcher for all calls at once, in one of the `DRAFTS`; None without tools."""
        if not self._schemas:
            return None
        if form == "listed":
            return self._drafts(form, self._call(STRICT))
        matcher = self._drafts(form, python_rules(self._schemas))
        if not matcher.is_error():
            return matcher
        # In JSON an argument that no value fits is never given; a rule of its own it cannot have.
        possible = {name: without_impossible(schema) for name, schema in self._schemas.items()}
        return self._drafts(form, python_rules(possible), " possible")

    def _drafts(self, form: DraftForm, calls: str, note: str = "") -> Any:
        written = DRAFTS[form]
        between, end = json.dumps(written.separator), json.dumps(written.end)
        each = r'"# " /[^\n]{1,100}/ "\n" call' if form == "commented" else "call"
        lark = f"start: each ({between} each)* {end}\neach: {each}\n{calls}"
        return self._matcher(f"{form}{note}", lark)

    def whole_answer(self, *, untagged_calls: bool = False) -> Any:
        """A matcher for an answer in the form of the answer schema.

        Args:
            untagged_calls: Or calls without tags in its place, which begin with a bracket, too.
        """
        assert self._answer is not None
        start, calls = "answer", ""
        if untagged_calls and self._schemas:
            names = [f"call_{number}" for number in range(len(self._schemas))]
            start = f'call ("\\n" call)* | answer\ncall: {" | ".join(names)}'
            # As JSON, too: a text that begins like both would be read as only one of them.
            calls = "".join(map(_call_rule, names, self._schemas.items()))
        answer = json_rule("answer", self._answer, STRICT)
        return self._matcher(f"answer {bool(calls)}", f"start: {start}\n{calls}{answer}")

    @property
    def holds_calls(self) -> bool:
        """Whether there are tools to call."""
        return bool(self._schemas)

    # -- parts of grammars --------------------------------------------------------------------

    def _one(self, only: str | None) -> str:
        call = self._call(STRICT, only)
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
            rules.append(json_rule(f"args_{number}", schema, style))
        return f"function: {' | '.join(options)}\n{''.join(rules)}"

    def _matcher(self, key: str, lark: str) -> Any:
        compiled = self._matchers.get(key)
        if compiled is None:
            matcher = self._llguidance.LLMatcher
            grammar = matcher.grammar_from_lark(f"%llguidance {{}}\n{lark}")
            compiled = self._matchers[key] = matcher(self.tokenizer, grammar, log_level=0)
        return compiled.deep_copy()


def _call_rule(rule: str, tool: tuple[str, Mapping[str, Any]]) -> str:
    """A rule for a call of one tool, written as JSON."""
    name, arguments = tool
    # What the arguments refer to is looked up from the root.
    definitions = {key: arguments[key] for key in ("$defs", "definitions") if key in arguments}
    call = {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
        **definitions,
    }
    return json_rule(rule, call, STRICT)
