"""A real headless Chromium for the tests of the web pages."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from scripts import browser as browsers

from ..helpers import GUARD


@pytest.fixture(scope="module")
def browser() -> Generator[Browser, None, None]:
    """For modules of synchronous tests: Playwright's own event loop is in this thread."""
    program = browsers.find()
    if program is None:
        reason = "no Chromium: `python -m scripts.browser` installs one"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program, args=["--disable-background-networking"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Generator[Page, None, None]:
    """A new tab; an error of the page's script fails the test."""
    context = browser.new_context()
    context.set_default_timeout(GUARD * 1000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []
