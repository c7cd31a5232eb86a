"""Backend strings."""

from __future__ import annotations

import pytest

from ling_agent import ConfigurationError
from ling_agent.backends import (
    Backend,
    LlamaCppBackend,
    OpenAIBackend,
    SGLangBackend,
    VLLMBackend,
    open_backend,
)
from ling_agent.testing import ScriptedBackend


def test_objects_pass_through() -> None:
    backend = ScriptedBackend([])
    assert open_backend(backend) is backend


def test_nothing_stands_for_the_embedded_default() -> None:
    assert open_backend().name == "llamacpp:qwen2.5-coder-0.5b"


def test_llamacpp_takes_aliases_and_paths_and_loads_nothing() -> None:
    for target in ("no-such-alias", "/no/such/file.gguf"):
        backend = open_backend(f"llamacpp:{target}")
        assert isinstance(backend, LlamaCppBackend)
        assert backend.name == f"llamacpp:{target}"


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ("vllm", VLLMBackend),
        ("sglang", SGLangBackend),
        ("openai", OpenAIBackend),
        ("ollama", OpenAIBackend),
        ("llama-server", OpenAIBackend),
    ],
)
def test_remote_servers_are_reached_later(scheme: str, kind: type[Backend]) -> None:
    backend = open_backend(f"{scheme}:http://localhost:8000/v1/#a/b")
    assert isinstance(backend, kind)
    assert backend.name == f"{scheme}:http://localhost:8000#a/b"


@pytest.mark.parametrize("spec", ["", "gpt", "llamacpp:", "llama:x", ":x", "vllm", "sglang:"])
def test_what_is_no_backend_string_says_what_to_write(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="write llamacpp:<alias") as caught:
        open_backend(spec)
    assert "\n" not in str(caught.value)


def test_a_profile_is_known_by_name() -> None:
    assert open_backend("llamacpp:x", profile="ling2").name == "llamacpp:x"
    with pytest.raises(ConfigurationError, match="unknown profile 'nope'"):
        open_backend("llamacpp:x", profile="nope")
    with pytest.raises(ConfigurationError, match="Backend object"):
        open_backend(ScriptedBackend([]), profile="ling2")
