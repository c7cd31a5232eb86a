"""Backend strings: ``llamacpp:qwen2.5-coder-0.5b``, ``vllm:http://a:8000`` -> the objects."""

from __future__ import annotations

from typing import cast

from ..errors import ConfigurationError
from ..profiles import Profile
from .base import Backend

DEFAULT_BACKEND = "llamacpp:qwen2.5-coder-0.5b"
_REMOTE = ("vllm", "sglang", "openai", "ollama", "llama-server")


def open_backend(
    spec: str | Backend | None = None, *, profile: Profile | str | None = None
) -> Backend:
    """The backend that a string names; objects are passed through, None is the embedded default.

    Nothing is loaded or reached yet: that happens at the first request.

    Args:
        spec: A backend string, an object, or None.
        profile: Facts about the model's family in place of those that its file tells.

    Raises:
        ConfigurationError: Not a backend string.
    """
    if isinstance(spec, Backend):
        if profile is not None:
            raise ConfigurationError("profile: give it to the Backend object itself")
        return spec
    text = DEFAULT_BACKEND if spec is None else spec
    scheme, _, target = text.partition(":")
    if scheme == "llamacpp" and target:
        from .llama_cpp import LlamaCppBackend

        return LlamaCppBackend(target, profile=profile)
    if scheme in _REMOTE and target:
        return _remote(scheme, target, profile)
    raise ConfigurationError(
        f"unknown backend {text!r}: write llamacpp:<alias or path to a .gguf>, for example "
        "llamacpp:qwen2.5-coder-0.5b, or vllm:<base url>, for example vllm:http://localhost:8000 "
        f"(also {', '.join(f'{name}:' for name in _REMOTE[1:])})"
    )


def _remote(scheme: str, target: str, profile: Profile | str | None) -> Backend:
    if scheme == "vllm":
        from .vllm import VLLMBackend

        return VLLMBackend(target, profile=profile)
    if scheme == "sglang":
        from .sglang import SGLangBackend

        return SGLangBackend(target, profile=profile)
    from .openai import Flavour, OpenAIBackend

    return OpenAIBackend(target, flavour=cast("Flavour", scheme), profile=profile)
