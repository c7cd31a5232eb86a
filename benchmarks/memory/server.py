"""A server that plays vLLM for one run: ``python -m benchmarks.memory.server STEPS``.

A process of its own, so that none of its time is the client's. It prints its port and serves until
its standard input ends, which also happens when the benchmark dies. ``GET /report`` says what
it has seen. What the model says is in `conversation`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any

from . import steps
from .conversation import Answer, Conversation

MODEL = "scripted"
VERSION = "0.32.0"
CONTEXT_WINDOW = 262_144
_CREATED = 1_764_000_000
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Server:
    """Answers the requests of one conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive until the client closes it."""
        try:
            while True:
                method, path, body = await _request(reader)
                writer.write(self._answer(method, path, body))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server ends
        finally:
            writer.close()

    def _answer(self, method: str, path: str, body: bytes) -> bytes:
        match method, path:
            case "POST", "/v1/chat/completions":
                request: dict[str, Any] = json.loads(body)
                answer = self._conversation.answer(request)
                return _streamed(answer) if request.get("stream") else _json(_whole(answer))
            case "POST", "/tokenize":
                count = self._conversation.count(json.loads(body))
                found = {"count": count, "max_model_len": CONTEXT_WINDOW, "tokens": [0] * count}
                return _json(found)
            case "GET", "/v1/models":
                return _json(_models())
            case "GET", "/version":
                return _json({"version": VERSION})
            case "GET", "/report":
                return _json(self._conversation.report())
            case _:
                return _json({"detail": "Not Found"}, HTTPStatus.NOT_FOUND)


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path without a query, and body."""
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    length = 0
    for line in fields:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return method, target.partition("?")[0], await reader.readexactly(length)


def _json(body: object, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nserver: uvicorn\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _models() -> dict[str, Any]:
    entry = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "vllm"}
    entry |= {"root": MODEL, "parent": None, "max_model_len": CONTEXT_WINDOW}
    return {"object": "list", "data": [entry]}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-0", "object": kind, "created": _CREATED, "model": MODEL}


def _call(answer: Answer) -> dict[str, Any]:
    function = {"name": steps.TOOL, "arguments": answer.call}
    return {"id": answer.id, "type": "function", "function": function}


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


def _whole(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    message["tool_calls"] = [_call(answer)] if answer.call else []
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
    return {**_head("chat.completion"), "choices": [choice], "usage": _usage(answer)}


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.call else "stop"


def _streamed(answer: Answer) -> bytes:
    """The answer as events, written at once: what a stream costs is another benchmark's matter."""
    head = _head("chat.completion.chunk")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"{word} "} for word in answer.content.split(" ")[:-1]]
    deltas.append({"content": answer.content.rpartition(" ")[2]})
    if answer.call:
        deltas.append({"tool_calls": [{"index": 0, **_call(answer)}]})
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": _reason(answer)})
    events = [{**head, "choices": [choice]} for choice in choices]
    events.append({**head, "choices": [], "usage": _usage(answer)})
    texts = [json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events]
    data = b"".join(f"data: {text}\n\n".encode() for text in (*texts, "[DONE]"))
    return b"%b%x\r\n%b\r\n0\r\n\r\n" % (_STREAM_HEAD, len(data), data)


async def _main(count: int) -> None:
    server = Server(Conversation(count))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listening.close()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
