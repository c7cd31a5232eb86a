"""Keys, hosts, other origins, the access log, and which agents are served."""

from __future__ import annotations

import logging
from typing import Any

import pydantic
import pytest

from ling_agent import (
    ConfigurationError,
)
from ling_agent.serve import asgi

from .agents import PATH, SECRET, agent_of
from .asgi import Call, get, post, request

pytestmark = pytest.mark.anyio


class TestGate:
    @pytest.mark.parametrize("keys", [SECRET, ["other", pydantic.SecretStr(SECRET)]])
    async def test_a_key_is_needed(self, keys: Any) -> None:
        app = asgi(agent_of("a"), api_keys=keys)
        for given in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {SECRET}"}):
            for path, method in ((PATH, "POST"), ("/v1/models", "GET"), ("/nothing", "GET")):
                answer = await Call().make(app, path, method=method, headers=given)
                assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
                assert answer.headers["www-authenticate"] == "Bearer"
                assert SECRET not in answer.body.decode()
        assert (await get(app, "/health")).status == 200
        assert (await get(app, "/health", "detail")).status == 401
        for word in ("Bearer", "bearer"):
            answer = await get(app, "/v1/models", authorization=f"{word} {SECRET}")
            assert answer.status == 200

    async def test_keys_are_in_no_repr(self) -> None:
        app = asgi(agent_of("a"), api_keys=SECRET)
        assert SECRET not in repr(vars(app)) + repr(vars(app.settings))

    @pytest.mark.parametrize("key", ["", "a b", "é", "a\n"])
    async def test_keys_that_cannot_be_sent_are_refused(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match="look at it"):
            asgi(agent_of("a"), api_keys=[key])

    async def test_hosts(self) -> None:
        app = asgi(agent_of("a"), allowed_hosts=["localhost", "[::1]"])
        for host, status in (
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("[::1]:80", 200),
            ("[::1]", 200),
            ("evil.example", 421),
            ("localhost.evil.example", 421),
            ("", 421),
        ):
            assert (await get(app, "/health", host=host)).status == status

    async def test_cors_is_off_until_it_is_asked_for(self) -> None:
        asked = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        off = await Call().make(asgi(agent_of("a")), PATH, method="OPTIONS", headers=asked)
        assert (off.status, "access-control-allow-origin" in off.headers) == (405, False)
        app = asgi(agent_of("a"), cors=["https://chat.example"], api_keys=SECRET)
        on = await Call().make(app, PATH, method="OPTIONS", headers=asked)
        assert on.headers["access-control-allow-origin"] == "https://chat.example"
        own = {"access-control-request-headers": "authorization,content-type,x-stainless-os"}
        assert (await Call().make(app, PATH, method="OPTIONS", headers=asked | own)).status == 200
        refused = await Call().make(app, PATH, headers={"origin": "https://chat.example"})
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == "https://chat.example"
        other = await get(app, "/health", origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers

    async def test_each_request_is_a_line_in_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "ling_agent.serve.access")
        await post(asgi(agent_of("a")), PATH, request("x"), authorization=f"Bearer {SECRET}")
        (record,) = [each for each in caplog.records if each.name == "ling_agent.serve.access"]
        told: dict[str, Any] = vars(record)["http"]
        assert (told["method"], told["path"], told["status"]) == ("POST", PATH, 200)
        assert (told["agent"], told["outcome"]) == ("agent", "completed")
        assert told["run"].startswith("http-")
        assert SECRET not in record.getMessage()

    async def test_a_path_is_one_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "ling_agent.serve.access")
        await get(asgi(agent_of("a")), "/a\nb status=200")
        assert "\n" not in caplog.records[-1].getMessage()


class TestAgents:
    async def test_several(self) -> None:
        first, second = agent_of("one", name="first"), agent_of("two", name="second")
        app = asgi([first, second])
        listed = (await get(app, "/v1/models")).json()
        assert [each["id"] for each in listed["data"]] == ["first", "second"]
        answer = await post(app, PATH, {**request("x"), "model": "second"})
        assert answer.json()["choices"][0]["message"]["content"] == "two"
        card = (await get(asgi({"a/b": first}), "/v1/models/a/b")).json()
        assert (card["id"], card["object"]) == ("a/b", "model")

    @pytest.mark.parametrize(
        "agents", [[], {}, [agent_of(), agent_of()], {"a": 5}, {"": agent_of()}, [5], "agent"]
    )
    async def test_what_cannot_be_served(self, agents: Any) -> None:
        with pytest.raises(ConfigurationError):
            asgi(agents)

    @pytest.mark.parametrize(
        "options",
        [
            {"max_runs": 0},
            {"max_runs": 1.5},
            {"max_body": 0},
            {"keepalive": 0},
            {"cors": "*"},
            {"cors": ["chat.example"]},
            {"cors": ["https://chat.example/"]},
            {"cors": ["https://chat.example/page"]},
            {"cors": [""]},
        ],
    )
    async def test_settings_that_cannot_be(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            asgi(agent_of(), **options)

    async def test_health_tells_what_is_there(self) -> None:
        told = (await get(asgi(agent_of()), "/health", "detail")).json()
        assert (told["status"], told["runs"]) == ("ok", 0)
        assert told["threads"] >= 1
        assert told["tasks"] >= 1
