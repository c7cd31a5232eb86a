"""What goes wrong between here and a server -> one error with its cause and the next step.

`BackendUnavailable.retry` is set only where nothing can have been generated: no connection, 429,
502, 503, 504. The server's own words are repeated, on one line, without the API key.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx2

from ...errors import BackendError, BackendRefused, BackendUnavailable, ContextOverflow
from ...secrets import Redactor
from .jsons import as_list, as_object, read_json

_LONGEST_REASON = 400
_SHORTEST_KEY = 4  # a shorter one is no key, and stands in many words
_RETRIED = {429, 502, 503, 504}


class Wording:
    """Makes the errors of one server.

    Args:
        url: Base URL, as errors name it.
        secrets: Texts that no error may repeat.
    """

    def __init__(self, url: str, secrets: tuple[str, ...] = ()) -> None:
        self.url = url
        self._secrets = Redactor((s for s in secrets if len(s) >= _SHORTEST_KEY), mask="[key]")

    def one_line(self, text: str) -> str:
        """A text of a server, as far as an error repeats it."""
        line = " ".join(self._secrets.text(text).split())
        return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"

    def cause(self, error: Exception) -> Exception | None:
        """What an error may be raised from: this one, unless a traceback would show a secret."""
        said = f"{error} {error!r}"
        return error if self._secrets.text(said) == said else None

    def transport(self, error: Exception, *, during: str) -> BackendError:
        """The error for one of the HTTP client.

        Args:
            error: What the client raised.
            during: ``connect`` or ``answer``.
        """
        reason = self.one_line(_root(error))
        if isinstance(error, httpx2.ConnectTimeout):
            return BackendUnavailable(
                f"{self.url} does not accept a connection: is the host right, and not behind a "
                "firewall?",
                retry=True,
            )
        if isinstance(error, httpx2.ConnectError):
            return BackendUnavailable(
                f"cannot reach {self.url}: {reason}{_connect_hint(reason, error)}",
                retry=not _is_tls(error),
            )
        if isinstance(error, httpx2.SSEError):
            return BackendUnavailable(
                f"{self.url} does not stream as it should: {reason}: is it an OpenAI-compatible "
                "server?"
            )
        if isinstance(error, httpx2.DecodingError):
            return BackendUnavailable(f"{self.url} sent what cannot be decompressed: {reason}")
        if during == "connect":
            return BackendUnavailable(
                f"{self.url} closed the connection without an answer ({reason}): look into its log"
            )
        return BackendUnavailable(
            f"{self.url} broke off its answer ({reason}): look into its log, then resume the run"
        )

    def no_answer(self, seconds: float, *, waiting_for: str, option: str) -> BackendUnavailable:
        """Nothing came within a time limit."""
        return BackendUnavailable(
            f"{self.url}: no {waiting_for} within {seconds:g} s: is the server overloaded or "
            f"stuck? A larger Timeouts({option}=…) waits longer"
        )

    def broken_off(self) -> BackendUnavailable:
        """The stream ended in the middle."""
        return BackendUnavailable(
            f"{self.url} broke off its answer before it was finished: look into its log, then "
            "resume the run"
        )

    def not_json(self, body: bytes, content_type: str) -> BackendUnavailable:
        """A body that should have been JSON."""
        try:
            text = body[:2000].decode()
        except UnicodeDecodeError:
            return BackendUnavailable(f"{self.url} sent bytes that are not UTF-8: is it the API?")
        if "html" in content_type or text.lstrip().lower().startswith(("<!doctype", "<html")):
            return BackendUnavailable(
                f"{self.url} answers with a web page, not JSON: write the base URL of the API, "
                "and look for a proxy or a login in front of it"
            )
        begins = self.one_line(text[:80]) or "nothing"
        return BackendUnavailable(f"{self.url} did not answer with JSON but with: {begins}")

    def bad_event(self, error: Exception) -> BackendUnavailable:
        """A streamed event that is not JSON, or not UTF-8."""
        what = "is not UTF-8" if "unicode" in str(error).lower() else "is not JSON"
        return BackendUnavailable(
            f"{self.url} streamed an event that {what} ({self.one_line(str(error))}): is it an "
            "OpenAI-compatible server?"
        )

    def status(self, code: int, body: bytes, headers: Mapping[str, str]) -> BackendError:
        """The error for an HTTP status that is not 200."""
        reason = self.one_line(_reason(body))
        said = f": {reason}" if reason else ""
        if code in _RETRIED:
            what = "is overloaded" if code == 429 else "is not ready"
            after = _retry_after(headers)
            return BackendUnavailable(
                f"{self.url} {what} ({code}){said}", retry=True, retry_after=after
            )
        if code in (401, 403):
            return BackendRefused(
                f"{self.url} refused the API key ({code}){said}: give api_key=… or set "
                "LING_AGENT_API_KEY",
                status=code,
                reason=reason,
            )
        if code in (400, 413, 422) and _is_overflow(reason):
            return ContextOverflow(f"{self.url}: the prompt does not fit{said}")
        if code == 404:
            return BackendRefused(
                f"{self.url} does not know this ({code}){said}: check the base URL and the name "
                "of the model behind #",
                status=code,
                reason=reason,
            )
        if code >= 500:
            return BackendUnavailable(f"{self.url} failed ({code}){said}: look into its log")
        if 300 <= code < 400:
            where = self.one_line(headers.get("location", "another place"))
            return BackendRefused(f"{self.url} sends to {where}: write that URL", status=code)
        return BackendRefused(
            f"{self.url} refused the request ({code}){said}", status=code, reason=reason
        )

    def in_stream(self, error: object) -> BackendError:
        """The error for one that came as an event of a stream."""
        reason = self.one_line(_message(error) or str(error))
        if _is_overflow(reason):
            return ContextOverflow(f"{self.url}: the prompt does not fit: {reason}")
        return BackendUnavailable(
            f"{self.url} failed in the middle of its answer: {reason}: look into its log, then "
            "resume the run"
        )


def _root(error: BaseException) -> str:
    """The innermost cause that says something: wrappers say 'All connection attempts failed'."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 8:
        if isinstance(seen, BaseExceptionGroup):
            seen = cast("BaseExceptionGroup[Exception]", seen).exceptions[0]
            continue
        if str(seen):
            texts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return texts[-1] if texts else type(error).__name__


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _connect_hint(reason: str, error: BaseException) -> str:
    if not _is_tls(error):
        return ": is the server running, and is this its port?"
    if "WRONG_VERSION" in reason or "record layer" in reason.lower():
        return ": the server does not speak TLS there; write http://"
    if "CERTIFICATE_VERIFY" in reason:
        return ": its certificate is not trusted; add its authority to the file of SSL_CERT_FILE"
    return ": TLS failed; check the URL and the server's certificate"


def _reason(body: bytes) -> str:
    """The server's own words in the body of an error."""
    try:
        return _message(read_json(body)) or ""
    except ValueError:
        text = body[:2000].decode(errors="replace").strip()
        return "" if text.startswith("<") else text


def _message(data: Any) -> str | None:
    if isinstance(data, str):
        return data
    if items := as_list(data):
        return "; ".join(filter(None, map(_message, items)))
    told = as_object(data)
    keys = (key for key in ("error", "message", "detail", "msg") if key in told)
    return next(filter(None, (_message(told[key]) for key in keys)), None)


def _is_overflow(reason: str) -> bool:
    text = reason.lower()
    return any(
        sign in text
        for sign in (
            "maximum context length",
            "context length",
            "context window",
            "context_length_exceeded",
            "exceed_context_size",
            "longer than the model",
            "max_model_len",
            "exceeds the available context",
        )
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a number or a date."""
    value = headers.get("retry-after", "")
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    from datetime import datetime

    return max((when - datetime.now(when.tzinfo)).total_seconds(), 0.0)
