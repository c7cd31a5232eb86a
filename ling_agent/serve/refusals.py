"""`RefusedError`: errors as OpenAI's API writes them, without what is the server's own affair."""

from __future__ import annotations

import math
from typing import Any

from ..answers import AnswerError
from ..errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ContextOverflow,
    HermesError,
    LingAgentError,
    StoreError,
    Vetoed,
)
from ..strangers import OUR_FAULT, told_to_strangers

__all__ = ["OUR_FAULT", "RefusedError", "invalid", "refusal_of", "unsupported"]

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: Of HTTP.
        code: What it is, for programs.
        param: The field of the request that is meant.
        retry_after: Seconds after which trying again makes sense.
        close: Whether the connection cannot be used on.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: float | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.close = close

    def body(self) -> dict[str, Any]:
        """The JSON that OpenAI's clients read."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": _TYPES.get(self.status, default),
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Those that go with it."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.close:
            headers["connection"] = "close"
        return headers


def invalid(message: str, param: str | None = None, *, code: str = "invalid_value") -> RefusedError:
    """A request that has to be written otherwise."""
    return RefusedError(400, message, code=code, param=param)


def unsupported(param: str, why: str) -> RefusedError:
    """A field that would be without effect, or with another than it says."""
    return RefusedError(400, f"{param}: {why}", code="unsupported_parameter", param=param)


def refusal_of(error: LingAgentError) -> RefusedError:
    """What a client is told of an error that ended a run; the rest is for the log."""
    text = told_to_strangers(error)
    match error:
        case ContextOverflow():
            return RefusedError(400, text, code="context_length_exceeded", param="messages")
        case BackendUnavailable():
            wait = error.retry_after or 5
            return RefusedError(503, text, code="model_unavailable", retry_after=wait)
        case BackendError():
            return RefusedError(502, text, code="model_refused")
        case HermesError() | AnswerError():
            return RefusedError(502, text, code="unusable_model_output")
        case Vetoed():
            return RefusedError(400, text, code="refused_by_hook", param="messages")
        case StoreError():
            return RefusedError(500, text, code="store_error")
        case ConfigurationError():
            return RefusedError(500, text, code="server_misconfigured")
        case _:
            return RefusedError(500, text, code="server_error")
