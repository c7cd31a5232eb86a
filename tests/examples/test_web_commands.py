"""The two programs with a page start with one command and end with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from ..helpers import GUARD
from .support import ROOT


@pytest.mark.parametrize(
    ("module", "title"), [("web_chat", "Bookshop"), ("web_approval", "Refunds")]
)
def test_the_command(module: str, title: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", f"examples.{module}", "--port", "0"],
        cwd=tmp_path,  # where the second one makes its file
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(found[0] for line in lines if (found := re.search(r"http://[\w.:]+", line)))
            page = httpx2.get(url)
            assert f"<title>{title}</title>" in page.text
            assert "script-src 'nonce-" in page.headers["Content-Security-Policy"]
            process.send_signal(signal.SIGINT)
            process.wait(GUARD)
        finally:
            process.kill()
