"""`EvalOptions`: its settings are written into results and reports."""

from __future__ import annotations

import json

import pytest

from ling_agent.evals.options import EvalOptions


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ("vllm:http://me:s3cret@host:8000", "vllm:http://host:8000"),
        ("vllm:http://s3cret@host:8000/v1#ling", "vllm:http://host:8000/v1#ling"),
        ("vllm:http://a:s3,cret@one,https://b:s3cret@two#m", "vllm:http://one,https://two#m"),
        ("openai:https://me:s3@cret@host/v1", "openai:https://host/v1"),
        ("openai:https://host/v1#@vendor/model", "openai:https://host/v1#@vendor/model"),
        ("openai:https://host/@team/v1", "openai:https://host/@team/v1"),
        ("llamacpp:./a@b.gguf", "llamacpp:./a@b.gguf"),
        ("", ""),
    ],
)
def test_no_password_is_among_the_settings(spec: str, kept: str) -> None:
    settings = EvalOptions(backend=spec, user_backend=spec).settings()
    assert (settings["backend"], settings["user_backend"]) == (kept, kept)
    assert "cret" not in json.dumps(settings)
