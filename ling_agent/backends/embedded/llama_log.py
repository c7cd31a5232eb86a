"""llama.cpp's log: silent, but for the reason of the newest failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ERROR = 4  # GGML_LOG_LEVEL_ERROR


class LlamaLog:
    """Keeps llama.cpp's last error lines; the rest of its log is dropped."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def __call__(self, level: int, text: bytes, _data: object) -> None:
        if level == _ERROR:
            self._errors = [*self._errors[-9:], text.decode("utf-8", "replace").strip()]

    def take_errors(self) -> list[str]:
        """The error lines since the last call, without llama.cpp's function names."""
        errors, self._errors = self._errors, []
        return [line.partition(": ")[2] or line for line in errors]


_captured: list[tuple[LlamaLog, Callable[..., None]]] = []


def capture_log(lib: Any) -> LlamaLog:
    """Take over llama.cpp's log, which is one for the process: anew with each model.

    Somebody else may have taken it meanwhile, and lost the function that it then calls.
    """
    if not _captured:
        capture = LlamaLog()
        _captured.append((capture, lib.llama_log_callback(capture)))
    capture, callback = _captured[0]
    lib.llama_log_set(callback, None)
    capture.take_errors()  # those of another model
    return capture
