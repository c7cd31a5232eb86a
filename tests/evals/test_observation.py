"""Formats of tool results."""

from __future__ import annotations

from typing import Any

import pytest

from ling_agent.evals.observation import FORMATS, observation_format
from ling_agent.tools.rendering import render

VALUE = {"name": "a", "parts": [{"size": 1, "on": True}, "x"], "none": None, "empty": []}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", '{"name":"a","parts":[{"size":1,"on":true},"x"],"none":null,"empty":[]}'),
        ("compact", '{"name":"a","parts":[{"size":1,"on":true},"x"],"none":null,"empty":[]}'),
        (
            "spaced",
            '{"name": "a", "parts": [{"size": 1, "on": true}, "x"], "none": null, "empty": []}',
        ),
        (
            "lines",
            "name: a\nparts:\n  -\n    size: 1\n    on: true\n  - x\nnone: null\nempty: []",
        ),
    ],
)
def test_the_text_of_an_object(name: str, text: str) -> None:
    assert render(observation_format(name)(VALUE)) == text


def test_indented_is_json_with_line_breaks() -> None:
    assert render(observation_format("indented")({"a": 1})) == '{\n  "a": 1\n}'


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", ["text", 3, None, True])
def test_what_is_neither_list_nor_object_stays(name: str, value: Any) -> None:
    assert observation_format(name)(value) is value
