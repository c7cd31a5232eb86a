"""Tools -> the Lark rules of their calls as Python, `hermes.python_calls`.

Arguments come in the order of their declaration, optional ones or not: a rule for each place where
the first one may stand, and one for each where a further one may.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...hermes.python_calls import constants, keywords, may_be_empty
from .schemas import STRICT, json_rule


def python_rules(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """The rule ``call`` and those it needs.

    Args:
        schemas: JSON schemas of the arguments by the tool's name, as a grammar needs them.
    """
    calls: list[str] = []
    rules: list[str] = []
    for number, (name, schema) in enumerate(schemas.items()):
        declared = keywords(schema)
        calls.append(f'{_text(f"{name}(")} args_{number} ")"')
        if declared is None:
            none = '"" | ' if may_be_empty(schema) else ""
            rules.append(f'args_{number}: {none}"**" all_{number}\n')
            rules.append(json_rule(f"all_{number}", schema, STRICT))
        else:
            rules += _keyword_rules(number, schema, declared)
    return f"call: {' | '.join(calls)}\n{''.join(rules)}"


def _keyword_rules(
    tool: int, schema: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    required = set[str](schema.get("required") or ())
    # What the arguments refer to is looked up from the root.
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    last = len(declared)
    rules = [f"args_{tool}: first_{tool}_0\n"]
    for at, (name, value) in enumerate(declared.items()):
        rest = f"value_{tool}_{at} more_{tool}_{at + 1}"
        first, more = f"{_text(f'{name}=')} {rest}", f"{_text(f', {name}=')} {rest}"
        if name not in required:
            first += f" | first_{tool}_{at + 1}"
            more += f" | more_{tool}_{at + 1}"
        rules += [f"first_{tool}_{at}: {first}\n", f"more_{tool}_{at}: {more}\n"]
        words = list(map(_text, constants(value)))
        if words and value.get("type") == "boolean":
            rules.append(f"value_{tool}_{at}: {' | '.join(words)}\n")
        else:
            rules.append(f"value_{tool}_{at}: {' | '.join([*words, f'json_{tool}_{at}'])}\n")
            rules.append(json_rule(f"json_{tool}_{at}", {**value, **shared}, STRICT))
    return [*rules, f'first_{tool}_{last}: ""\n', f'more_{tool}_{last}: ""\n']


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
