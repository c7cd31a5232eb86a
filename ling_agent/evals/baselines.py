"""The same cases as other stacks do them, on the same weights: what there is without this package.

============================ ==================================================================
name                         what is asked
============================ ==================================================================
``auto``                     the server: plain ``tools``, ``tool_choice`` ``auto``; the server's
                             own parser reads the calls
``required``                 the same with ``required``
``auto-strict``,             the same with ``"strict": true`` in each function
``required-strict``
``llama-template``           llama-cpp-python's chat completion with the GGUF's own template
``llama-chatml``             its chat format ``chatml-function-calling``
============================ ==================================================================

The first four are for servers, the last two for a model in this process. Function documents, system
messages, temperature and the longest answer are those that our agent gets; nothing else is added.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import anyio
import anyio.to_thread

from ..backends.registry import DEFAULT_BACKEND
from ..backends.remote.address import parse_address
from ..backends.remote.keys import find_key
from ..errors import BackendRefused, BackendUnavailable, ConfigurationError
from ..extras import require
from ..limits import Sampling
from ..results import Usage
from .options import EvalOptions
from .subject import Answer, Subject

Choice = Literal["auto", "required"]

_SERVER: Mapping[str, tuple[Choice, bool]] = {
    "auto": ("auto", False),
    "required": ("required", False),
    "auto-strict": ("auto", True),
    "required-strict": ("required", True),
}
_EMBEDDED: Mapping[str, str | None] = {
    "llama-template": None,
    "llama-chatml": "chatml-function-calling",
}
BASELINES = (*_SERVER, *_EMBEDDED)
"""Their names."""

_TIMEOUT = 600.0
_WINDOW = 16_384


def baseline(options: EvalOptions) -> Subject:
    """The stack that an evaluation's settings name.

    Raises:
        ConfigurationError: There is none of that name, or not for this backend.
    """
    name = options.baseline
    if name not in BASELINES:
        raise ConfigurationError(f"baseline={name!r}: write {', '.join(BASELINES)}")
    scheme, _, target = (options.backend or DEFAULT_BACKEND).partition(":")
    sampling = Sampling(
        temperature=options.temperature, max_tokens=options.max_tokens, seed=options.sampling_seed
    )
    if name in _SERVER:
        if scheme == "llamacpp":
            raise ConfigurationError(
                f"baseline={name!r} asks a server: give --backend vllm:http://… or another one "
                f"(for a model in this process there are {', '.join(_EMBEDDED)})"
            )
        choice, strict = _SERVER[name]
        return ServerBaseline(target, choice=choice, strict=strict, sampling=sampling)
    if scheme != "llamacpp":
        raise ConfigurationError(
            f"baseline={name!r} runs a model in this process: give --backend llamacpp:<model> "
            f"(for servers there are {', '.join(_SERVER)})"
        )
    return LlamaCppBaseline(target, chat_format=_EMBEDDED[name], sampling=sampling)


class ServerBaseline(Subject):
    """A server's own tool calling: one chat completion, read as the server reads it.

    Args:
        address: Base URL, and perhaps ``#model``.
        choice: The ``tool_choice``.
        strict: Whether functions are sent as strict ones.
        sampling: How tokens are chosen.
    """

    def __init__(
        self, address: str, *, choice: Choice, strict: bool = False, sampling: Sampling
    ) -> None:
        from httpx2 import AsyncClient, Timeout

        where = parse_address(address)
        self.name = f"{choice}-strict" if strict else choice
        self._url, self._model = where.urls[0], where.model
        self._choice, self._strict, self._sampling = choice, strict, sampling
        key = find_key(None)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = AsyncClient(headers=headers, timeout=Timeout(_TIMEOUT))

    async def answer(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Answer:
        body = {
            "model": await self._served(),
            "messages": list(messages),
            "temperature": self._sampling.temperature,
            "max_tokens": self._sampling.max_tokens,
            "seed": self._sampling.seed,
        }
        if tools:
            body |= {"tools": [self._sent(tool) for tool in tools], "tool_choice": self._choice}
        prompt = json.dumps(body, ensure_ascii=False)
        started = time.perf_counter()
        try:
            said = await self._request("POST", "/v1/chat/completions", body)
        except BackendRefused as error:  # of this request: the stack does not answer this case
            seconds = time.perf_counter() - started
            return Answer((), "", "", prompt, seconds=seconds, status="failed", error=str(error))
        return _read(said, prompt, time.perf_counter() - started)

    def _sent(self, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._strict:
            return tool
        return {**tool, "function": {**tool["function"], "strict": True}}

    async def _served(self) -> str:
        if self._model is None:
            listed = await self._request("GET", "/v1/models")
            self._model = str(listed["data"][0]["id"])
        return self._model

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        from httpx2 import HTTPError

        try:
            response = await self._client.request(method, f"{self._url}{path}", json=body)
        except HTTPError as error:
            raise BackendUnavailable(
                f"{self._url} does not answer ({type(error).__name__}: {error})"
            ) from None
        if response.status_code in (502, 503, 504):
            raise BackendUnavailable(f"{self._url} answers with {response.status_code}")
        if response.status_code != 200:
            reason = " ".join(response.text.split())[:300]
            raise BackendRefused(
                f"{self._url}{path} answers with {response.status_code}: {reason}",
                status=response.status_code,
                reason=reason,
            )
        return response.json()

    async def describe(self) -> Mapping[str, Any]:
        return {
            "subject": f"baseline {self.name}",
            "backend": self._url,
            "model": await self._served(),
            **_sampling(self._sampling),
        }

    async def aclose(self) -> None:
        await self._client.aclose()


class LlamaCppBaseline(Subject):
    """llama-cpp-python's own chat completion, one at a time.

    Args:
        model: An alias of the catalogue or a path to a ``.gguf``.
        chat_format: Of llama-cpp-python; None takes the file's template.
        sampling: How tokens are chosen.
    """

    def __init__(self, model: str, *, chat_format: str | None, sampling: Sampling) -> None:
        self.name = "llama-template" if chat_format is None else "llama-chatml"
        self._name, self._format, self._sampling = model, chat_format, sampling
        self._lock = anyio.Lock()
        self._llama: Any = None

    async def answer(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Answer:
        request: dict[str, Any] = {"messages": list(messages)}
        if tools:
            request |= {"tools": list(tools), "tool_choice": "auto"}
        prompt = json.dumps(request, ensure_ascii=False)
        async with self._lock:
            started = time.perf_counter()
            try:
                said = await anyio.to_thread.run_sync(self._complete, request)
            except ValueError as error:  # such as a prompt that is too long
                seconds = time.perf_counter() - started
                return Answer(
                    (), "", "", prompt, seconds=seconds, status="failed", error=str(error)
                )
            return _read(said, prompt, time.perf_counter() - started)

    def _complete(self, request: dict[str, Any]) -> Any:
        sampling = self._sampling
        return self._loaded().create_chat_completion(
            **request,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            repeat_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
        )

    def _loaded(self) -> Any:
        if self._llama is None:
            from ..catalog import resolve

            llama_cpp: Any = require("llama_cpp", extra="llamacpp", why="this baseline")
            path = str(resolve(self._name))
            try:
                self._llama = llama_cpp.Llama(
                    path, n_ctx=_WINDOW, chat_format=self._format, verbose=False
                )
            except (OSError, ValueError) as error:
                raise BackendUnavailable(f"{path} cannot be loaded: {error}") from None
        return self._llama

    async def describe(self) -> Mapping[str, Any]:
        return {
            "subject": f"baseline {self.name}",
            "backend": f"llamacpp:{self._name}",
            "model": self._name,
            **_sampling(self._sampling),
        }

    async def aclose(self) -> None:
        if self._llama is not None:
            self._llama.close()
            self._llama = None


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "sampling_seed": sampling.seed,
    }


def _read(said: Any, prompt: str, seconds: float) -> Answer:
    """A chat completion as an answer; with arguments that are no JSON there are no calls, as the
    benchmark's package has it.
    """
    choice = said["choices"][0]
    message = choice["message"]
    found: list[Any] = message.get("tool_calls") or []
    status = str(choice.get("finish_reason") or "")
    try:
        calls = tuple(_call(item["function"]) for item in found)
    except ValueError:
        calls, status = (), "unreadable_arguments"
    usage = cast("dict[str, int]", said.get("usage") or {})
    content = message.get("content") or ""
    return Answer(
        calls=calls,
        content=content,
        text=json.dumps(message, ensure_ascii=False) if found else content,
        prompt=prompt,
        usage=Usage(
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            requests=1,
            tool_calls=len(calls),
            seconds=seconds,
        ),
        seconds=seconds,
        status=status,
    )


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments: Any = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return {"name": function["name"], "arguments": arguments}
