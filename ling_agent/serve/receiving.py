"""Taking a request in: its body, within bounds, and the news that the client has gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.types import Receive

from .refusals import RefusedError, invalid
from .settings import BODY_SECONDS


class ClientGoneError(Exception):
    """The client has gone before its request was whole."""


async def read_json(receive: Receive, headers: Headers, most: int) -> object:
    """The body as JSON.

    A page of another origin can send a form or plain text to a loopback address without being
    asked, but no JSON: so the type has to be right.

    Raises:
        RefusedError: 413 above so many bytes, told by the header or counted; 415, 408 and 400.
        ClientGoneError: The client has gone.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(
            415, "send the header Content-Type: application/json", code="unsupported_media_type"
        )
    body = await _read(receive, headers, most)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("the body is no JSON", code="invalid_json") from None


async def _read(receive: Receive, headers: Headers, most: int) -> bytes:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(body)
    raise RefusedError(408, "the body did not arrive in time", code="request_timeout", close=True)


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the request is larger than {most:,} bytes", code="request_too_large")


async def watch(receive: Receive, gone: Callable[[], Any]) -> None:
    """Call when the client goes, behind the body of its request."""
    message: Any = {}
    while message.get("type") != "http.disconnect":
        try:
            message = await receive()
        except Exception:  # whatever a server or middleware raises here, nobody listens any more
            break
    gone()
