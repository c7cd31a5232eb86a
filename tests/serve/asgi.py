"""A client inside the process: it calls an ASGI app directly, may go away, and reads slowly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio

from ..helpers import GUARD

Json = dict[str, Any]


@dataclass
class Answer:
    """What an app sent.

    Attributes:
        status: Of HTTP; 0 when nothing came.
        headers: By their names in small letters.
        parts: The body as it came.
        complete: Whether the app said that it was all.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    parts: list[bytes] = field(default_factory=list[bytes])
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        """The error of an answer that is one."""
        return self.json()["error"]

    def data(self) -> list[Any]:
        """The chunks of a stream, which ends as it should; comments are left out."""
        *blocks, rest = self.body.decode().split("\n\n")
        assert rest == ""
        lines = [block for block in blocks if not block.startswith(":")]
        assert all(line.startswith("data: ") and "\n" not in line for line in lines)
        assert lines.pop() == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@dataclass
class Call:
    """One request to an app.

    Attributes:
        gone: Set it to go away.
        seen: Set when the first part of the body has come.
    """

    answer: Answer = field(default_factory=Answer)
    gone: anyio.Event = field(default_factory=anyio.Event)
    seen: anyio.Event = field(default_factory=anyio.Event)

    async def make(
        self,
        app: Any,
        path: str,
        body: bytes | list[bytes] = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        """Call the app until it returns."""
        given = {"host": "testserver", "content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        pieces = [body] if isinstance(body, bytes) else list(body)

        async def receive() -> Json:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        with anyio.fail_after(GUARD):
            await app(scope, receive, self._send)
        return self.answer

    async def _send(self, message: Json) -> None:
        await anyio.lowlevel.checkpoint()
        answer = self.answer
        if message["type"] == "http.response.start":
            assert not answer.status
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
            return
        assert answer.status
        assert not answer.complete
        answer.parts.append(message.get("body", b""))
        answer.complete = not message.get("more_body", False)
        self.seen.set()


async def post(app: Any, path: str, body: object, **headers: str) -> Answer:
    """Send JSON; underscores of header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await Call().make(app, path, json.dumps(body).encode(), headers=named)


async def get(app: Any, path: str, query: str = "", **headers: str) -> Answer:
    """Get a path."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await Call().make(app, path, method="GET", query=query, headers=named)


def user(text: str) -> Json:
    """A message of the user."""
    return {"role": "user", "content": text}


def request(*messages: Json | str, **more: Any) -> Json:
    """A request for the agent called ``agent``."""
    said = [user(each) if isinstance(each, str) else each for each in messages]
    return {"model": "agent", "messages": said, **more}


async def chat(app: Any, *messages: Json | str, session: str = "", **more: Any) -> Answer:
    """Ask the agent."""
    headers = {"X_Session_Id": session} if session else {}
    return await post(app, "/v1/chat/completions", request(*messages, **more), **headers)


def content(chunks: list[Any]) -> str:
    """What a plain client reads of a stream."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def events(chunks: list[Any]) -> list[Json]:
    """The run's events, which are numbered without a gap."""
    told = [chunk["ling_agent"] for chunk in chunks if "ling_agent" in chunk]
    assert [each["sequence"] for each in told] == list(range(len(told)))
    return [each["event"] for each in told]
