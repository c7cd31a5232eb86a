"""The server is what it is taken for: it is healthy, lists the model and answers."""

from __future__ import annotations

from collections.abc import Generator

import httpx2
import pytest

from scripts.servers.kinds import MODEL
from scripts.servers.launch import LocalServer


@pytest.fixture
def client(server: LocalServer) -> Generator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=120.0, trust_env=False) as client:
        yield client


def test_it_is_healthy(client: httpx2.Client) -> None:
    assert client.get("/health").status_code == 200


def test_it_lists_the_model_with_its_context_length(client: httpx2.Client) -> None:
    listed = client.get("/v1/models").raise_for_status().json()["data"]

    assert [(model["id"], model["max_model_len"]) for model in listed] == [(MODEL, 8192)]


def test_it_answers(client: httpx2.Client) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 32,
    }

    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()

    choice = answer["choices"][0]
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] < 32
