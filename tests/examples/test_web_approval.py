"""The approval page in a real headless Chromium; the server is started anew in between."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from examples.web_approval import refunds
from examples.web_approval.app import make_app
from ling_agent.memory import SQLiteStore
from ling_agent.messages import ToolMessage
from ling_agent.testing import Reply, ScriptedBackend

from ..helpers import GUARD, call, calls
from .support import serving, wait_until

expect.set_options(timeout=GUARD * 1000)

REFUND = call("refund", order="A17", euros=100)
FORGED = "<img src=x onerror=\"document.title='forged'\">"


def last(request: Any) -> str:
    """What the newest observations say."""
    found = [m.content for m in request.messages if isinstance(m, ToolMessage)]
    return f"So: {found[-1]}."


@contextlib.contextmanager
def desk(folder: Path, replies: Sequence[Any]) -> Generator[str, None, None]:
    agent = refunds.build_agent(ScriptedBackend(replies), folder / "runs.db")
    with serving(make_app(agent)) as url, contextlib.closing(agent.memory.store):
        yield url


def begin(page: Page, text: str = "Refund A17.") -> None:
    page.get_by_label("Task").fill(text)
    page.get_by_role("button", name="Begin").click()


def statuses(folder: Path) -> list[str]:
    with contextlib.closing(SQLiteStore(folder / "runs.db")) as store:
        return [info.status for info in store.runs()]


def waiting(page: Page) -> Locator:
    return page.locator("#waiting .call")


def nothing_waits(page: Page) -> None:
    expect(page.get_by_text("Nothing waits.")).to_be_visible()
    expect(waiting(page)).to_have_count(0)


def test_a_call_waits_over_a_restart_and_runs_when_approved(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [Reply("I refund.\n" + REFUND, chunk_size=4)]) as url:
        page.goto(url)
        nothing_waits(page)
        begin(page)
        expect(page.locator(".end")).to_have_text("Ended: needs_approval")
        expect(waiting(page).locator(".task")).to_have_text("Refund A17.")
    with desk(tmp_path, [last]) as url:
        page.goto(url)
        expect(waiting(page).locator(".name")).to_have_text("refund")
        given = waiting(page).get_by_label("Arguments").input_value()
        assert json.loads(given) == {"order": "A17", "euros": 100}
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".text")).to_have_text("So: refunded 100 euros of order A17.")
        expect(page.locator(".end")).to_have_text("Ended: completed")
        nothing_waits(page)


def test_the_model_is_told_why_a_call_was_denied(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [REFUND, last]) as url:
        page.goto(url)
        begin(page)
        page.get_by_label("Reason").fill("ask the manager")
        page.get_by_role("button", name="Deny").click()
        expect(page.locator(".text")).to_contain_text("ask the manager")
        nothing_waits(page)


def test_a_call_runs_with_edited_arguments(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [REFUND, last]) as url:
        page.goto(url)
        begin(page)
        page.get_by_label("Arguments").fill("{")
        page.get_by_role("button", name="Approve as edited").click()
        expect(waiting(page).locator(".error")).to_contain_text("This is not JSON")
        page.get_by_label("Arguments").fill('{"order": "A17", "euros": 30}')
        page.get_by_role("button", name="Approve as edited").click()
        expect(page.locator(".text")).to_contain_text("refunded 30 euros of order A17.")


def test_two_calls_are_decided_one_by_one(page: Page, tmp_path: Path) -> None:
    both = calls(REFUND, call("refund", order="A17", euros=50))
    with desk(tmp_path, [both, last]) as url:
        page.goto(url)
        begin(page)
        expect(waiting(page)).to_have_count(2)
        waiting(page).first.get_by_role("button", name="Approve").click()
        expect(waiting(page)).to_have_count(1)
        waiting(page).get_by_role("button", name="Deny").click()
        nothing_waits(page)
        expect(page.locator(".text")).to_contain_text("declined")


def test_what_is_typed_stays_when_further_calls_come(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [REFUND, call("refund", order="A17", euros=60)]) as url:
        page.goto(url)
        begin(page)
        page.get_by_label("Reason").fill("because")
        begin(page, "Refund more.")
        expect(waiting(page)).to_have_count(2)
        expect(waiting(page).first.get_by_label("Reason")).to_have_value("because")


def test_small_refunds_need_nobody(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [call("refund", order="A18", euros=15), last]) as url:
        page.goto(url)
        begin(page)
        expect(page.locator(".text")).to_have_text("So: refunded 15 euros of order A18.")


def test_what_was_approved_goes_on_when_the_page_is_closed(
    browser: Browser, tmp_path: Path
) -> None:
    slow = Reply("word " * 60, chunk_size=5, delay=0.02)
    with desk(tmp_path, [REFUND, slow]) as url:
        with contextlib.closing(browser.new_context()) as context:
            page = context.new_page()
            page.goto(url)
            begin(page)
            page.get_by_role("button", name="Approve").click()
            expect(page.locator(".text")).to_contain_text("word")
        wait_until(lambda: statuses(tmp_path) == ["completed"])


def test_somebody_else_was_faster(browser: Browser, tmp_path: Path) -> None:
    with (
        desk(tmp_path, [REFUND, last]) as url,
        contextlib.closing(browser.new_context()) as context,
    ):
        one, other = context.new_page(), context.new_page()
        one.goto(url)
        begin(one)
        expect(waiting(one)).to_have_count(1)
        other.goto(url)
        other.get_by_role("button", name="Approve").click()
        expect(other.locator(".end")).to_have_text("Ended: completed")
        one.get_by_role("button", name="Deny").click()
        expect(one.get_by_role("alert")).to_contain_text("somebody has decided already")
        nothing_waits(one)


def test_texts_are_never_html(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [call("refund", order=FORGED, euros=100), FORGED]) as url:
        page.goto(url)
        begin(page, FORGED)
        expect(waiting(page).locator(".task")).to_have_text(FORGED)
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".text")).to_have_text(FORGED)
        assert page.locator("img").count() == 0
        assert page.title() == "Refunds"


def test_the_page_fits_a_narrow_screen(page: Page, tmp_path: Path) -> None:
    with desk(tmp_path, [call("refund", order="A" * 200, euros=100)]) as url:
        page.set_viewport_size({"width": 320, "height": 560})
        page.goto(url)
        begin(page, "b" * 300)
        expect(waiting(page)).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tasks", {"text": ""}, 422),
        ("/runs/none", {"call_1_0": {"decision": "approve"}}, 409),
        ("/runs/none", {"call_1_0": {"decision": "perhaps"}}, 422),
    ],
)
def test_what_is_refused(tmp_path: Path, path: str, body: Any, status: int) -> None:
    with desk(tmp_path, []) as url, httpx2.Client(base_url=url) as client:
        assert client.post(path, json=body).status_code == status
        assert client.get("/waiting", headers={"Host": "evil.example"}).status_code == 400
