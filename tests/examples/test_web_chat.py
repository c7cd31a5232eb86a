"""The chat page in a real headless Chromium, against a real server with a scripted model."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from examples.web_chat.app import make_app
from examples.web_chat.bookshop import build_agent
from ling_agent import BackendUnavailable, catalog
from ling_agent.backends import Backend, ModelRequest
from ling_agent.messages import UserMessage
from ling_agent.testing import Reply, ScriptedBackend

from ..helpers import GUARD, StallingBackend, call, calls
from .support import serving, wait_until

expect.set_options(timeout=GUARD * 1000)

ENDLESS = Reply("word " * 100_000, chunk_size=5, delay=0.01)
FORGED = '<img src=x onerror="document.title=\'forged\'"><script>document.title="forged"</script>'
PLAN = "Plan:\n1. Look for the book.\n2. Ask when it comes.\n\n"


@dataclass
class Shop:
    """The example as it runs."""

    url: str
    app: FastAPI

    @property
    def runs(self) -> dict[str, Any]:
        return self.app.state.runs


@contextlib.contextmanager
def shop(replies: Sequence[Any] | Backend) -> Generator[Shop, None, None]:
    backend = replies if isinstance(replies, Backend) else ScriptedBackend(replies)
    app = make_app(build_agent(backend))
    with serving(app) as url:
        yield Shop(url, app)


def ask(page: Page, text: str) -> None:
    page.get_by_label("Question").fill(text)
    page.get_by_role("button", name="Send").click()


def test_a_run_with_its_plan_calls_and_progress(page: Page) -> None:
    both = calls(call("find_books", words="Solaris"), call("delivery_days", title="Kindred"))
    with shop([Reply(PLAN + both, chunk_size=7), Reply("It comes in 2 days.", chunk_size=3)]) as at:
        page.goto(at.url)
        ask(page, "When does Kindred come?")
        expect(page.locator(".progress").nth(1)).to_have_text("asking Bari")
        expect(page.locator(".end")).to_contain_text("completed")
        expect(page.locator(".question")).to_have_text("When does Kindred come?")
        expect(page.locator(".plan li")).to_have_text(["Look for the book.", "Ask when it comes."])
        expect(page.locator(".call .name")).to_have_text(["find_books", "delivery_days"])
        expect(page.locator(".call .status")).to_have_text(["done", "done"])
        expect(page.locator(".call .result").nth(1)).to_have_text("2 days")
        expect(page.locator(".text")).to_have_text("It comes in 2 days.")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        assert not at.runs


def test_text_is_shown_as_it_comes_and_stop_keeps_it(page: Page) -> None:
    with shop([ENDLESS, "And on it goes."]) as at:
        page.goto(at.url)
        ask(page, "Talk.")
        expect(page.locator(".text")).to_contain_text("word word")
        expect(page.locator(".end")).to_have_count(0)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".end")).to_contain_text("stopped")
        assert not at.runs
        ask(page, "Go on.")  # the conversation goes on
        expect(page.locator(".text").nth(1)).to_have_text("And on it goes.")


def test_cancel_ends_the_run(page: Page) -> None:
    with shop([call("delivery_days", title="Kindred"), ENDLESS, "Here I am."]) as at:
        page.goto(at.url)
        ask(page, "When?")
        expect(page.locator(".text")).to_contain_text("word")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".end")).to_contain_text("cancelled")
        assert not at.runs
        ask(page, "Still there?")
        expect(page.locator(".text").nth(1)).to_have_text("Here I am.")


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "talking"])
def test_closing_the_tab_cancels_the_run(browser: Browser, silent: bool) -> None:
    backend = StallingBackend("hello") if silent else ScriptedBackend([ENDLESS])
    with shop(backend) as at, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(at.url)
        ask(page, "Talk.")
        expect(page.locator(".text")).to_contain_text("hello" if silent else "word")
        assert len(at.runs) == 1
        page.close()
        wait_until(lambda: not at.runs)
        if isinstance(backend, StallingBackend):
            wait_until(lambda: backend.left)


def test_each_tab_has_its_conversation(browser: Browser) -> None:
    def heard(request: ModelRequest) -> str:
        tasks = [m.content for m in request.messages if isinstance(m, UserMessage)]
        return " | ".join(task.partition("\n")[0] for task in tasks)

    with shop([heard] * 3) as at, contextlib.closing(browser.new_context()) as context:
        one, other = context.new_page(), context.new_page()
        for page in (one, other):
            page.goto(at.url)
        ask(one, "first")
        expect(one.locator(".text")).to_have_text("first")
        ask(other, "second")
        expect(other.locator(".text")).to_have_text("second")
        one.reload()
        ask(one, "third")
        expect(one.locator(".text")).to_have_text("first | third")


def test_texts_are_never_html(page: Page) -> None:
    script = [PLAN.replace("Look", FORGED + " Look") + call(FORGED, words=FORGED), FORGED]
    with shop([*script]) as at:
        page.goto(at.url)
        title = page.title()
        ask(page, FORGED)
        expect(page.locator(".end")).to_contain_text("completed")
        for shown in (".question", ".plan", ".text"):
            expect(page.locator(shown)).to_contain_text(FORGED)
        assert page.locator("#log img, #log script").count() == 0
        assert page.title() == title


def test_a_script_that_is_not_the_pages_does_not_run(page: Page) -> None:
    with shop([]) as at:
        page.goto(at.url)
        title = page.title()
        page.evaluate(
            """() => { const s = document.createElement("div");
            s.innerHTML = "<img src=x onerror=document.title='forged'>"; document.body.append(s);
            return new Promise(seen => document.addEventListener(
                "securitypolicyviolation", () => seen(), { once: true })); }"""
        )
        assert page.title() == title


def test_errors_are_shown_and_nothing_of_the_server(page: Page) -> None:
    gone = BackendUnavailable("no answer from http://10.1.2.3/v1 with key sk-4711")
    with shop([gone, "Back again."]) as at:
        page.goto(at.url)
        ask(page, "Hello?")
        expect(page.get_by_role("alert")).to_have_text("The model does not answer.")
        ask(page, "And now?")
        expect(page.locator(".text")).to_have_text("Back again.")
        assert "10.1.2.3" not in page.content()


def test_a_lost_server_is_told(page: Page) -> None:
    with shop([ENDLESS]) as at:
        page.goto(at.url)
        ask(page, "Talk.")
        expect(page.locator(".text")).to_contain_text("word")
    expect(page.get_by_role("alert")).to_contain_text("Connection lost")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_the_page_fits_a_narrow_screen(page: Page) -> None:
    with shop(["a" * 500]) as at:
        page.set_viewport_size({"width": 320, "height": 560})
        page.goto(at.url)
        ask(page, "b" * 300)
        expect(page.locator(".end")).to_contain_text("completed")
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        expect(page.get_by_role("button", name="Send")).to_be_in_viewport()


def test_the_programs_own_paths_and_what_is_refused() -> None:
    with shop([]) as at, httpx2.Client(base_url=at.url) as client:
        assert "Kindred" in [book["title"] for book in client.get("/books").json()]
        assert client.post("/chat", json={"session": "x", "text": "y"}).status_code == 422
        assert client.post("/chat/nobody/stop").status_code == 404


@pytest.mark.model
def test_the_real_model_answers_a_customer(page: Page) -> None:
    model = catalog.cached_path("qwen2.5-coder-0.5b")
    assert model is not None, "run `make test`"
    app = make_app(build_agent(f"llamacpp:{model}"))
    with serving(app) as url:
        page.goto(url)
        ask(page, "How many days until Kindred is delivered?")
        expect(page.locator(".end")).to_contain_text("completed", timeout=300_000)
        expect(page.locator(".call .name").first).to_have_text("delivery_days")
        expect(page.locator(".text").last).to_contain_text("2")
