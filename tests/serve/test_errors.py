"""What clients are told of errors, and of requests that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from ling_agent import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    ContextOverflow,
    StoreError,
)
from ling_agent.hooks import BeforeRun, Veto
from ling_agent.serve import asgi

from ..helpers import GUARD, call
from .agents import PATH, PRIVATE, agent_of, kept
from .asgi import Answer, Call, chat, get, post, request

pytestmark = pytest.mark.anyio


FAILURES = [
    (BackendUnavailable(PRIVATE, retry_after=7), 503, "model_unavailable"),
    (BackendRefused(PRIVATE, status=401), 502, "model_refused"),
    (ContextOverflow(PRIVATE), 400, "context_length_exceeded"),
    (ConfigurationError(PRIVATE), 500, "server_misconfigured"),
    (StoreError(PRIVATE), 500, "store_error"),
    (ValueError(PRIVATE), 500, "server_error"),
]


class TestErrors:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("error", "status", "code"), FAILURES)
    async def test_one_that_comes_first_has_a_status_and_says_nothing_private(
        self, error: Exception, status: int, code: str, stream: bool
    ) -> None:
        agent = agent_of(error)
        answer = await chat(asgi(agent), "x", stream=stream)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert not any(word in answer.body.decode() for word in (*PRIVATE.split(), "Traceback"))
        assert (answer.headers.get("retry-after") == "7") == (status == 503)
        assert kept(agent) == []

    @pytest.mark.parametrize(("error", "status", "code"), FAILURES)
    async def test_one_that_comes_later_ends_the_stream(
        self, error: Exception, status: int, code: str
    ) -> None:
        agent = agent_of("I add.\n" + call("add", a=1, b=2), error)
        answer = await chat(asgi(agent), "x", stream=True)
        assert (answer.status, answer.complete) == (200, True)
        assert answer.data()[-1]["error"]["code"] == code
        assert not any(word in answer.body.decode() for word in (*PRIVATE.split(), "Traceback"))
        agent = agent_of("I add.\n" + call("add", a=1, b=2), error)
        whole = await chat(asgi(agent), "x")
        assert (whole.status, whole.error["code"]) == (status, code)
        assert kept(agent) == []

    async def test_the_log_has_what_clients_do_not(self, caplog: pytest.LogCaptureFixture) -> None:
        await chat(asgi(agent_of(BackendUnavailable(PRIVATE))), "x")
        assert any("10.1.2.3" in record.getMessage() for record in caplog.records)

    async def test_an_answer_that_is_never_of_its_type(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        for stream in (False, True):
            agent = agent_of("no", "no").with_options(output_type=tuple[int, str])
            answer = await chat(asgi(agent), "x", stream=stream)
            error = answer.data()[-1]["error"] if stream else answer.error
            assert (answer.status, error["code"]) == (
                200 if stream else 502,
                "unusable_model_output",
            )
        assert all("\n" not in record.getMessage() for record in caplog.records)

    async def test_a_hooks_reason_is_told(self) -> None:
        def no(moment: BeforeRun) -> Veto:
            return Veto("ask about offers only")

        agent = agent_of("never", hooks=[no])
        for stream in (False, True):
            answer = await chat(asgi(agent), "x", stream=stream)
            assert (answer.status, answer.error["code"]) == (400, "refused_by_hook")
            assert "ask about offers only" in answer.error["message"]

    async def test_a_mistake_in_deps_is_no_traceback(self) -> None:
        def broken(request: Any) -> object:
            raise RuntimeError(PRIVATE)

        agent = agent_of("never")
        answer = await chat(asgi(agent, deps=broken), "x")
        assert (answer.status, answer.error["code"]) == (500, "server_error")
        assert "10.1.2.3" not in answer.body.decode()

    async def test_other_paths_and_methods(self) -> None:
        app = asgi(agent_of("a"))
        for path, method, status in (
            ("/v1/nothing", "GET", 404),
            (PATH, "GET", 405),
            ("/health", "POST", 405),
            ("/v1/models/other", "GET", 404),
        ):
            answer = await Call().make(app, path, method=method)
            assert (answer.status, bool(answer.error["message"])) == (status, True)
        answer = await post(app, PATH, {**request("x"), "model": "other"})
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert (await get(app, "/v1/models/other")).error == answer.error


class TestBodies:
    async def test_what_is_no_json_is_refused(self) -> None:
        app = asgi(agent_of())
        for body in (b"", b"{", b"[" * 100_000, b"\xff", b'{"n": ' + b"9" * 5000 + b"}", b"NaN"):
            answer = await Call().make(app, PATH, body)
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")

    async def test_a_form_is_refused(self) -> None:
        headers = {"content-type": "text/plain"}
        answer = await Call().make(asgi(agent_of()), PATH, b"{}", headers=headers)
        assert answer.status == 415

    async def test_large_ones_are_refused_while_they_come(self) -> None:
        app = asgi(agent_of("a"), max_body=1000)
        told = {"content-length": "1001"}
        assert (await Call().make(app, PATH, b"", headers=told)).status == 413
        answer = await Call().make(app, PATH, [b"x" * 600] * 2 + [b"never read"])
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        fits = json.dumps(request("x")).encode().ljust(1000)
        assert (await Call().make(app, PATH, [fits[:500], fits[500:]])).status == 200

    async def test_a_body_that_does_not_come_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ling_agent.serve.receiving.BODY_SECONDS", 0.01)
        pieces = [b"{"]

        async def receive() -> dict[str, Any]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(), "more_body": True}
            await anyio.sleep_forever()
            raise AssertionError

        answer = Answer()

        async def send(message: Any) -> None:
            answer.status = answer.status or message["status"]

        scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "headers": [(b"content-type", b"application/json")],
        }
        with anyio.fail_after(GUARD):
            await asgi(agent_of())(scope, receive, send)
        assert answer.status == 408

    async def test_a_client_that_goes_before_its_body_is_whole(self) -> None:
        going = Call()
        going.gone.set()
        answer = await going.make(asgi(agent_of()), PATH, [])
        assert answer.status == 0
