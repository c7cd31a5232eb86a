"""What strangers are told of an error: clients of an API or of an MCP tool.

Messages of errors name addresses, files and models, which belong into the log. What a client reads
is chosen by the error's class.
"""

from __future__ import annotations

from .answers import AnswerError
from .errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ContextOverflow,
    HermesError,
    LingAgentError,
    StoreError,
    Vetoed,
)

OUR_FAULT = "the server has met an error; its log says which"

_TEXTS: tuple[tuple[type[LingAgentError] | tuple[type[LingAgentError], ...], str], ...] = (
    (ContextOverflow, "the conversation is longer than the model's context window"),
    (BackendUnavailable, "the model cannot be reached, or broke off its answer"),
    (BackendError, "the model's server refused the request"),
    ((HermesError, AnswerError), "the model's answers could not be used"),
    (StoreError, "the conversation cannot be kept or read"),
    (ConfigurationError, "the agent is not configured well"),
)


def told_to_strangers(error: LingAgentError) -> str:
    """The text, on one line."""
    if isinstance(error, Vetoed):
        return str(error)  # the words of whoever wrote the hook, for those whom it refuses
    return next((text for kind, text in _TEXTS if isinstance(error, kind)), OUR_FAULT)
