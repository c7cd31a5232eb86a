"""Backend strings: ``llamacpp:qwen2.5-coder-0.5b`` -> the object behind it."""

from __future__ import annotations

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
        ConfigurationError: Not a backend string, or one that this version does not have.
    """
    if isinstance(spec, Backend):
        if profile is not None:
            raise ConfigurationError("profile: give it to the Backend object itself")
        return spec
    text = DEFAULT_BACKEND if spec is None else spec
    scheme, colon, target = text.partition(":")
    if scheme == "llamacpp" and target:
        from .llama_cpp import LlamaCppBackend

        return LlamaCppBackend(target, profile=profile)
    if colon and scheme in _REMOTE:
        raise ConfigurationError(
            f"backend {text!r}: remote servers are not part of this version yet; "
            "use llamacpp:<alias or path to a .gguf>, or pass a Backend object"
        )
    raise ConfigurationError(
        f"unknown backend {text!r}: write llamacpp:<alias or path to a .gguf>, "
        "for example llamacpp:qwen2.5-coder-0.5b"
    )
