"""`OpenAIBackend`: any other OpenAI-compatible server, and clients of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError
from ..profiles import Profile
from .remote.address import Address
from .remote.backend import Mode, RemoteBackend
from .remote.client_transport import ClientTransport
from .remote.timeouts import Timeouts

if TYPE_CHECKING:
    from .remote.keys import ApiKey

Flavour = Literal["openai", "ollama", "llama-server"]


class OpenAIBackend(RemoteBackend):
    """A model behind an OpenAI-compatible API: ``openai:http://localhost:8080#model``.

    Args:
        url: Base URL, as for the others; None with a client.
        client: An ``openai.AsyncOpenAI`` or ``AsyncAzureOpenAI`` of yours, used as given: its
            authentication, proxies and retries stay its own, and it is not closed.
        model: Name of the served model; a client's must be given, since what it lists is not
            always what it may use.
        flavour: ``ollama`` and ``llama-server`` are asked for their window in their own ways.
        api_key: As for the others; a client brings its own.
        mode: As for the others, but never ``raw`` by itself; that does not work with a client.
        stream: As for the others.
        constrain: As for the others; only servers that turn out to be vLLM or SGLang can.
        timeouts: As for the others.
        retries: As for the others, on top of a client's own.
        context_window: As for the others.
        profile: As for the others.

    Raises:
        ConfigurationError: Both or neither of URL and client, or a client without a model.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Any = None,
        model: str | None = None,
        flavour: Flavour = "openai",
        api_key: ApiKey | None = None,
        mode: Mode = "chat",
        stream: bool = True,
        constrain: bool = True,
        timeouts: Timeouts | None = None,
        retries: int = 4,
        context_window: int | None = None,
        profile: str | Profile | None = None,
    ) -> None:
        if (url is None) == (client is None):
            raise ConfigurationError("give either a base URL or client=…, not both or neither")
        if flavour not in ("openai", "ollama", "llama-server"):
            raise ConfigurationError(
                f"flavour={flavour!r}: write 'openai', 'ollama' or 'llama-server'"
            )
        transport = None
        if client is not None:
            if model is None or api_key is not None or mode != "chat":
                raise ConfigurationError(
                    "with client=… give model=…, no api_key (the client has its own) and "
                    "mode='chat'"
                )
            transport = ClientTransport(client, timeouts=timeouts or Timeouts())
        super().__init__(
            url if transport is None else Address((transport.url,), model),
            kind=flavour,
            transport=transport,
            model=model,
            api_key=api_key,
            mode=mode,
            stream=stream,
            constrain=constrain,
            timeouts=timeouts,
            retries=retries,
            context_window=context_window,
            profile=profile,
        )
