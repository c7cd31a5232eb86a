"""What a model is told when a tool failed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from ling_agent.tools import RunContext, Tool, ToolOutcome, execute_call, tool
from ling_agent.tools.failures import failure_text

pytestmark = pytest.mark.anyio


async def call(made: Tool[..., Any]) -> ToolOutcome:
    return await execute_call(made, "c1", {}, RunContext(None))


async def test_an_exception_group_is_told_by_its_causes() -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    @tool
    async def f() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail, "a is broken")

    assert (await call(f)).text == "Error: ValueError: a is broken"


def test_failures_are_one_short_line_without_private_things() -> None:
    assert failure_text(ValueError("a\n  b\nc")) == "Error: ValueError: a b c"
    assert failure_text(ValueError()) == "Error: ValueError"
    assert len(failure_text(ValueError("x" * 10_000))) < 600
    hidden = [
        ("postgres://admin:hunter2@db/prod is down", "hunter2"),
        ("401 for Authorization: Bearer abcdefghijklmnop", "abcdefghijklmnop"),
        ("bad api_key=abc123 given", "abc123"),
        ('{"password": "hunter2"}', "hunter2"),
        ("key sk-abcdefghijklmnopqrstu rejected", "abcdefghijklmnopqrstu"),
        ("cannot open '/home/ann/project/data.csv'", "/home/ann"),
        (r"cannot open C:\Users\ann\data.csv", "Users"),
    ]
    for text, secret in hidden:
        assert secret not in failure_text(ValueError(text)), text
    kept = ["GET https://example.org/v1/models: 404", "no route /v1/models", "max_tokens exceeded"]
    for text in kept:
        assert failure_text(ValueError(text)) == f"Error: ValueError: {text}"


def test_a_path_that_the_model_gave_is_left_whole() -> None:
    error = FileNotFoundError("no such file: /tmp/notes/a.txt")
    assert "/tmp" not in failure_text(error)
    assert failure_text(error, '{"path": "/tmp/notes/a.txt"}').endswith("/tmp/notes/a.txt")


async def test_a_validation_error_from_inside_a_tool_is_short() -> None:
    class Reply(BaseModel):
        price: float

    @tool
    def f() -> Reply:
        return Reply.model_validate({"price": "a secret"})

    text = (await call(f)).text
    assert text.startswith("Error: ValidationError: price: Input should be a valid number")
    assert "secret" not in text
    assert "\n" not in text
