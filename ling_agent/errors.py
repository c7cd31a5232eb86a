"""Every error that ling_agent raises on purpose.

::

    LingAgentError
    ├── ConfigurationError        wrong arguments, a missing extra, an unknown alias: fix the call
    ├── CatalogError              a model file that cannot be had
    │   ├── DownloadError         no source could be reached, or the disk refused the bytes
    │   └── DigestMismatch        the bytes are not the ones that the catalogue names
    ├── BackendError              the model could not be asked, or did not answer
    │   ├── BackendUnavailable    not reachable, not loaded, out of memory
    │   ├── BackendRefused        the server said no: the key, the model's name, a field
    │   ├── ContextOverflow       the prompt is longer than the context window
    │   └── ServerMisconfigured   reachable, but a flag is missing
    ├── ToolError                 raised by a tool: its text is told to the model
    ├── Vetoed                    a hook refused the task or a model request
    ├── AnswerError               an answer that is not of the agent's output_type
    ├── HermesError               text that cannot be rendered in, or read from, the wire format
    └── StoreError                what is kept on disk cannot be read or written

Each message is one line: what happened, and what to do about it. `HermesError` lives in
`ling_agent.hermes` (which imports nothing from this package) and is registered here, `AnswerError`
in `ling_agent.answers`.
"""

from __future__ import annotations

from .hermes.types import HermesError as _HermesError


class LingAgentError(Exception):
    """Base of every error that ling_agent raises on purpose."""


class ConfigurationError(LingAgentError):
    """The call cannot work as written: wrong arguments, a missing extra, an unknown name."""


class CatalogError(LingAgentError):
    """A model file that cannot be had."""


class DownloadError(CatalogError):
    """No source delivered the file, or the disk did not take it."""


class DigestMismatch(CatalogError):
    """The file's SHA-256 is not the catalogue's; the message names both."""


class BackendError(LingAgentError):
    """The model could not be asked, or did not answer."""


class BackendUnavailable(BackendError):
    """The backend cannot be reached, does not answer, or the model cannot be loaded.

    Attributes:
        retry: Whether asking again is safe, because nothing was generated.
        retry_after: Seconds after which the server wants to be asked again; None when it did not
            say.
    """

    def __init__(
        self, message: str, *, retry: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after = retry_after


class BackendRefused(BackendError):
    """The server refused the request as it was sent; asking again would not help.

    Attributes:
        status: HTTP status, for example 401, 404 or 400.
        reason: The server's own words, on one line; empty when it gave none.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ContextOverflow(BackendError):
    """The prompt does not fit the context window.

    Attributes:
        prompt_tokens: Size of the prompt in tokens.
        context_window: Tokens that the model accepts, prompt and answer together.
    """

    def __init__(self, message: str, *, prompt_tokens: int = 0, context_window: int = 0) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.context_window = context_window


class ServerMisconfigured(BackendError):
    """The server answers, but was started without something that is needed."""


class ToolError(LingAgentError):
    """Raise it in a tool to tell the model what went wrong; the text is the observation."""


class Vetoed(LingAgentError):
    """A hook refused the task, or did not let the model be asked; the message has its reason."""


class HermesError(LingAgentError, _HermesError):
    """Text that cannot be rendered in the Hermes format."""


class StoreError(LingAgentError):
    """A trajectory, or the state of a run, that cannot be read or written."""
