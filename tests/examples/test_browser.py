"""How the browser of these tests is found; that it can be installed shows in every test with it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from scripts import browser


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any; gives its cache."""
    monkeypatch.delenv("LING_AGENT_BROWSER", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("LING_AGENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path) -> Path:
    """A stand-in for a browser, which only has to be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_order_in_which_it_is_found(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert browser.find() is None
    playwrights = program(bare / "playwright/chromium-1255/chrome-linux64/chrome")
    assert browser.find() == playwrights
    on_path = program(bare / "chromium")
    assert browser.find() == on_path
    own = program(browser.installed())
    assert browser.find() == own
    named = program(bare / "mine")
    monkeypatch.setenv("LING_AGENT_BROWSER", str(named))
    assert browser.find() == named == browser.install()


def test_a_named_browser_that_is_not_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LING_AGENT_BROWSER", str(bare / "none"))
    with pytest.raises(browser.BrowserError, match="there is no such program"):
        browser.find()


@pytest.mark.usefixtures("bare")
def test_what_it_needs_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert browser.main() == 1
    assert "npm is not installed" in capsys.readouterr().err
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert browser.main() == 1
    assert "LING_AGENT_BROWSER" in capsys.readouterr().err


def test_another_package_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    program(bare / "node")
    # A stand-in for npm, which brings another archive than the one that was looked at.
    npm = program(bare / "npm")
    npm.write_text('#!/bin/sh\n: > "$5/forged.tgz"\n')
    with pytest.raises(browser.BrowserError, match="not the one that was looked at"):
        browser.install()
    assert browser.find() is None
