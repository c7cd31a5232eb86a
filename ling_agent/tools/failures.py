"""What a model is told when a tool failed: type and message, on one line, and nothing private."""

from __future__ import annotations

import re

from ..errors import ToolError
from .cutting import cut_text

_MAX_CHARS = 500
_MAX_TOOL_ERROR_TOKENS = 1_000
_MAX_CAUSES = 3

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=://)[^/\s@]+(?=@)"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 ***"),
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d|pwd)[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&)\]}]+)"
        ),
        r"\1***",
    ),
    (re.compile(r"\b(?:sk|pk|ghp|gho|ghs|hf|xox[abp]|glpat|AKIA)[-_]?[A-Za-z0-9_-]{16,}"), "***"),
)
# Where programs and their users live. A path elsewhere ("/v1/models") may be part of a protocol.
_PATH = re.compile(
    r"(?<![\w:/.])(?:/(?:home|Users|root|tmp|var|usr|etc|opt|mnt|srv|private|proc|work|workspace"
    r"|app|data|build|nix|Library)|[A-Za-z]:\\|\\\\)(?:[\\/][^\s'\":;,)\]}]*|[^\s'\":;,)\]}]*\\"
    r"[^\s'\":;,)\]}]*)"
)


def failure_text(error: BaseException, told: str = "") -> str:
    """The observation for an exception.

    A `ToolError` speaks for itself: `Error: ` and its own text. Of any other exception the type
    and the message are told, on one line of at most 500 characters, without credentials, and
    with paths of the machine cut to their last part. Never a traceback.

    Args:
        error: What the tool raised.
        told: The call's arguments as text; a path that the model itself gave is left whole.
    """
    if isinstance(error, ToolError):
        text = str(error).strip() or "the tool failed without saying why"
        return f"Error: {cut_text(text, _MAX_TOOL_ERROR_TOKENS, None)}"
    return f"Error: {_summary(error, told)}"


def _summary(error: BaseException, told: str) -> str:
    if isinstance(error, BaseExceptionGroup):
        causes: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        shown = [_summary(cause, told) for cause in causes[:_MAX_CAUSES]]
        more = len(causes) - len(shown)
        return "; ".join([*shown, *([f"and {more} more"] if more else [])])
    name = type(error).__name__
    message = _private(" ".join(_message(error).split()), told)
    if len(message) > _MAX_CHARS:
        message = message[: _MAX_CHARS - 1] + "…"
    return f"{name}: {message}" if message else name


def _message(error: BaseException) -> str:
    details = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(details):
        # pydantic's own text repeats the input and a link to its documentation.
        try:
            items: list[dict[str, object]] = details(include_input=False, include_url=False)  # pyright: ignore[reportAssignmentType]
            return "; ".join(_located(item) for item in items)
        except Exception:
            return ""
    try:
        return str(error)
    except Exception:
        return ""


def _located(item: dict[str, object]) -> str:
    loc = item.get("loc")
    path = ".".join(str(part) for part in loc) if isinstance(loc, tuple) else ""  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return f"{path}: {item.get('msg')}" if path else str(item.get("msg"))


def _private(text: str, told: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)

    def shorten(match: re.Match[str]) -> str:
        path = match.group()
        if path in told:
            return path
        return "…/" + (re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "")

    return _PATH.sub(shorten, text)
