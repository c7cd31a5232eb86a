"""`CloreMarket` through the real SDK, against a loopback server that replays the API's shape."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from examples.marketplace_search.generate_snapshot import SNAPSHOT_PATH
from examples.marketplace_search.market import CloreMarket, SnapshotMarket, open_market
from examples.marketplace_search.tools import make_tools
from ling_agent import ConfigurationError, ToolError

pytest.importorskip("clore_ai")

KEY = "dummy-key"


class Api(ThreadingHTTPServer):
    """A stand-in for the API: one canned answer per path, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str | None, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        api.asked.append((self.path, self.headers.get("auth"), body))
        answer = api.answers.get(self.path)
        payload = json.dumps(answer if answer is not None else {"code": 4}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = _answer  # noqa: N815 - the name that http.server looks for
    do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keeps the test output clean."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Api()
    snapshot = json.loads(SNAPSHOT_PATH.read_text(encoding="utf-8"))
    server.answers["/v1/marketplace"] = {
        "code": 0,
        "servers": snapshot["servers"],
        "my_servers": [],
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def market(api: Api, **options: Any) -> CloreMarket:
    return CloreMarket(KEY, base_url=api.url, **options)


def test_reads_the_same_offers_as_the_snapshot(api: Api) -> None:
    live = asyncio.run(market(api).offers())
    assert live == asyncio.run(SnapshotMarket().offers())
    assert api.asked == [("/v1/marketplace", KEY, None)]


def test_asks_once_for_several_tools(api: Api) -> None:
    async def both() -> tuple[Any, Any]:
        tools = {tool.name: tool for tool in make_tools(market(api))}
        found: Any = await tools["browse_marketplace"](gpu="RTX 4090")
        return found, await tools["offer_details"](offer_id=found["best"]["offer_id"])

    found, details = asyncio.run(both())
    assert found["best"]["price_per_hour_usd"] == details["price_per_hour_usd"]
    assert len(api.asked) == 1


def test_a_refused_key_is_told_to_the_model(api: Api) -> None:
    api.answers["/v1/marketplace"] = {"code": 3, "message": "invalid token"}
    with pytest.raises(ToolError, match="could not be read: invalid token"):
        asyncio.run(market(api).offers())


def test_an_answer_in_another_shape_is_told_to_the_model(api: Api) -> None:
    api.answers["/v1/marketplace"] = {"code": 0, "servers": [{"id": "not a number"}]}
    with pytest.raises(ToolError, match="could not be read"):
        asyncio.run(market(api).offers())


def test_renting_is_off_by_default(api: Api) -> None:
    cheapest = asyncio.run(SnapshotMarket().offers())[0]
    with pytest.raises(ToolError, match="switched off"):
        asyncio.run(market(api).rent(cheapest))
    with pytest.raises(ToolError, match="ssh_key"):
        asyncio.run(market(api, allow_rent=True).rent(cheapest))
    assert not api.asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"code": 0, "order": {"id": 77, "renting_server": 1}}, "Order 77 accepted."),
        # The API may confirm without the order that the SDK expects; the order exists all the same.
        ({"code": 0}, "Order accepted; its number is in your list of orders."),
    ],
)
def test_renting_when_it_is_on(api: Api, answer: dict[str, Any], message: str) -> None:
    api.answers["/v1/create_order"] = answer
    chosen = asyncio.run(SnapshotMarket().offers())[0]
    renting = market(api, allow_rent=True, ssh_key="ssh-ed25519 AAAA test")
    assert asyncio.run(renting.rent(chosen)) == message
    [(path, auth, body)] = api.asked
    assert (path, auth) == ("/v1/create_order", KEY)
    assert body["renting_server"] == chosen.id
    assert body["type"] == "on-demand"


def test_a_refused_order_is_not_repeated(api: Api) -> None:
    api.answers["/v1/create_order"] = {"code": 6, "message": "not_enough_balance"}
    chosen = asyncio.run(SnapshotMarket().offers())[0]
    renting = market(api, allow_rent=True, ssh_key="ssh-ed25519 AAAA test")
    with pytest.raises(ToolError, match="not_enough_balance"):
        asyncio.run(renting.rent(chosen))
    assert len(api.asked) == 1


def test_the_key_chooses_the_live_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLORE_API_KEY", KEY)
    assert open_market().source == "live Clore.ai marketplace"
    monkeypatch.setenv("CLORE_API_KEY", "  ")
    assert open_market().source == "synthetic snapshot"


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clore_ai", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ling-agent\[clore\]'"):
        CloreMarket(KEY)
