"""The package's ground truth as calls, and as what a model would write to make them."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ling_agent import Tool
from ling_agent.evals.benchmark import Case

Call = dict[str, Any]

_JAVA_SUFFIXES = {"long": "L", "float": "f"}


def possible_calls(case: Case) -> Iterator[list[Call]]:
    """Calls that the possible answers of a single-turn case allow: the first value of each
    parameter, with the optional ones and without.
    """
    yield [_call(case, answer, optional=True) for answer in case.data["answer"]]
    yield [_call(case, answer, optional=False) for answer in case.data["answer"]]


def _call(case: Case, answer: Mapping[str, Any], *, optional: bool) -> Call:
    ((name, allowed),) = answer.items()
    functions = {item["name"]: item for item in case.data["entry"]["function"]}
    required = functions[name]["parameters"]["required"]
    arguments: dict[str, Any] = {}
    for parameter, values in allowed.items():
        if "" in values and parameter not in required and not optional:
            continue
        given = [value for value in values if value != ""]
        if not given:
            if parameter in required:  # an empty text is what is meant then
                arguments[parameter] = ""
            continue
        details = functions[name]["parameters"]["properties"].get(parameter, {})
        arguments[parameter] = _written(case.category, given[0], details)
    return {"name": name.replace(".", "_"), "arguments": arguments}


def _written(category: str, value: Any, details: Mapping[str, Any]) -> Any:
    if category == "simple_java":
        return java(value, details)
    if category == "simple_javascript":
        return javascript(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """The keys of an object, and of those in a list, have lists of possible values each."""
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, options in cast("dict[str, list[Any]]", value).items():
        given = [option for option in options if option != ""]
        if given or "" not in options:
            found[key] = given[0]
    return found


def java(value: Any, details: Mapping[str, Any]) -> str:
    """A value as Java source."""
    kind = details["type"]
    if isinstance(value, list):
        inner, several = details["items"]["type"], cast("list[Any]", value)
        items = ", ".join(_java_item(item, inner) for item in several)
        if kind == "Array":
            return f"new {inner}[]{{{items}}}"
        return f"new ArrayList<>(Arrays.asList({items}))"
    if isinstance(value, dict):
        keys = cast("dict[str, list[Any]]", value)
        puts = " ".join(f'put("{key}", {_java_item(v[0])});' for key, v in keys.items())
        return f"new HashMap<>() {{{{ {puts} }}}}"
    return value if isinstance(value, str) else _java_item(value, kind)


def _java_item(value: Any, kind: str = "") -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}{_JAVA_SUFFIXES.get(kind, '')}"
    return json.dumps(value)


def javascript(value: Any) -> str:
    """A value as JavaScript source."""
    if isinstance(value, dict):
        keys = cast("dict[str, list[Any]]", value)
        pairs = ", ".join(f"{key}: {json.dumps(_plain(v[0]))}" for key, v in keys.items())
        return f"{{{pairs}}}"
    return value if isinstance(value, str) else json.dumps(value)


def replies(case: Case) -> list[str]:
    """What a model writes that does in each turn what the ground truth does, in one message."""
    texts: list[str] = []
    for turn in case.data["answer"]:
        if turn:
            texts.append("\n".join(written(call) for call in parsed(case, turn)))
        texts.append("Done.")
    return texts


def written(call: Call) -> str:
    """A call as a model writes it."""
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def parsed(case: Case, turn: Sequence[str]) -> list[Call]:
    """The calls of a turn; arguments by position get the names of the function document."""
    tools = [*case.data["tools"], *itertools.chain(*case.data.get("later", {}).values())]
    orders = {
        tool["function"]["name"]: list(tool["function"]["parameters"]["properties"])
        for tool in tools
    }
    calls: list[Call] = []
    for text in turn:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        arguments = dict(zip(orders[name], map(ast.literal_eval, node.args), strict=False))
        arguments |= {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        calls.append({"name": name, "arguments": arguments})
    return calls


def tool_of(schema: Mapping[str, Any]) -> Tool[..., Any]:
    """A tool of a case that does nothing."""

    def nothing(**arguments: Any) -> str:
        return "ok"

    function = schema["function"]
    return Tool.from_schema(
        function["name"], function["description"], function["parameters"], nothing
    )
