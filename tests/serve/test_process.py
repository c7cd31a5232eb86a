"""A real server process and the real ``curl``: disconnects, signals, hostile clients, keys."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ling_agent.memory import SQLiteStore

from .asgi import content, events, request
from .processes import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server, None, None]:
    names = ("adder", "echoes", "endless", "flood", "holds", "gone")
    folder = tmp_path_factory.mktemp("served")
    words = [f"served:{name}" for name in names]
    with serving(folder, *words, "--keepalive", "0.05", "--max-body", "5000") as running:
        yield running


def ask(model: str, text: str = "x", **more: Any) -> str:
    return json.dumps({**request(text, **more), "model": model})


def curl(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["curl", "-sS", "--max-time", "30", *words]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def post(url: str, body: str, *words: str) -> tuple[int, str]:
    """Status and body."""
    form = ["-H", "content-type: application/json", "-w", "\n%{http_code}"]
    output = curl(*form, *words, "-d", body, f"{url}/chat/completions").stdout
    said, _, status = output.rpartition("\n")
    return int(status), said


def streaming(url: str, body: str, *words: str) -> subprocess.Popen[bytes]:
    """A curl that reads a stream, until it is killed."""
    command = ["curl", "-sSN", *words, "-H", "content-type: application/json", "-d", body]
    return subprocess.Popen([*command, f"{url}/chat/completions"], stdout=subprocess.PIPE)


def read_until(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdout is not None
    seen = b""
    while text not in seen:
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, seen
        seen += piece


def left(server: Server) -> tuple[int, int, int]:
    """Runs, tasks and threads of the process, without threads that wait for further work."""
    told = server.health()
    return told["runs"], told["tasks"], told["threads"]


def connect(server: Server, head: str, body: str = "") -> socket.socket:
    """A client that does what no library does."""
    opened = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    opened.sendall((head.replace("\n", "\r\n") + "\r\n\r\n" + body).encode())
    return opened


def is_broken_off(endless: socket.socket) -> bool:
    """Whether a client that never stops sending is stopped, within 200 MB."""
    try:
        for _ in range(2000):
            endless.sendall(b"y" * 100_000)
    except OSError:
        return True
    return False


def head(body: str) -> str:
    return (
        "POST /v1/chat/completions HTTP/1.1\nhost: localhost\ncontent-type: application/json\n"
        f"content-length: {len(body)}"
    )


class TestCurl:
    def test_a_whole_answer(self, server: Server) -> None:
        status, said = post(server.url, ask("adder"))
        assert (status, json.loads(said)["choices"][0]["message"]["content"]) == (
            200,
            "The sum is 3 €.",
        )

    def test_a_streamed_answer(self, server: Server) -> None:
        status, said = post(server.url, ask("adder", stream=True), "-N")
        *blocks, rest = said.split("\n\n")
        assert (status, rest, blocks.pop()) == (200, "", "data: [DONE]")
        chunks = [json.loads(block.removeprefix("data: ")) for block in blocks if block[0] != ":"]
        assert content(chunks) == "I add.\n\nThe sum is 3 €."
        assert events(chunks)[-1]["type"] == "run_finished"

    def test_models_and_health(self, server: Server) -> None:
        listed = json.loads(curl(f"{server.url}/models").stdout)
        assert [each["id"] for each in listed["data"]] == server.models
        assert json.loads(curl(f"{server.root}/health").stdout) == {"status": "ok"}

    def test_errors(self, server: Server) -> None:
        for body, status in (("{", 400), (ask("nobody"), 404), (ask("gone"), 503)):
            seen, said = post(server.url, body)
            assert seen == status
            assert json.loads(said)["error"]["message"]
            assert not re.search(r"Traceback|\.py|10\.1\.2\.3|sk-4711", said)
        form = curl("-w", "%{http_code}", "-d", ask("adder"), f"{server.url}/chat/completions")
        assert form.stdout.endswith("415")

    @pytest.mark.parametrize("chunked", [[], ["-H", "transfer-encoding: chunked"]])
    def test_large_bodies(self, server: Server, chunked: list[str], tmp_path: Path) -> None:
        for size in (6_000, 3_000_000):
            (tmp_path / "body").write_text(ask("adder", "x" * size))
            status, said = post(server.url, f"@{tmp_path / 'body'}", *chunked)
            assert (status, json.loads(said)["error"]["code"]) == (413, "request_too_large")

    def test_a_web_page_with_its_own_name_for_this_host(self, server: Server) -> None:
        status, _ = post(server.url, ask("adder"), "-H", "host: evil.example")
        assert status == 421


class TestDisconnects:
    def test_a_killed_client_leaves_nothing(self, server: Server) -> None:
        left_before, before = left(server), server.connections()
        for stream in (True, False):
            clients = [streaming(server.url, ask("endless", stream=stream)) for _ in range(5)]
            server.wait_until(lambda: server.health()["runs"] == 5)
            for client in clients:
                client.kill()
                client.communicate()
            server.wait_until_idle()
        server.wait_until(lambda: server.connections() <= before)
        server.wait_until(lambda: left(server) == left_before)

    def test_a_tool_in_a_thread_ends(self, server: Server) -> None:
        before = left(server)
        client = streaming(server.url, ask("holds", stream=True))
        read_until(client, b'"tool_started"')
        client.kill()
        client.communicate()
        server.wait_until(lambda: left(server) == before)

    def test_a_client_that_reads_nothing_holds_the_run_back_and_can_go(
        self, server: Server
    ) -> None:
        before = left(server)
        body = ask("flood", stream=True)
        with connect(server, head(body), body) as stuck:
            server.wait_until(lambda: server.health()["runs"] == 1)
            assert stuck.recv(10)
        server.wait_until(lambda: left(server) == before)

    def test_a_comment_comes_while_a_tool_works(self, server: Server) -> None:
        client = streaming(server.url, ask("holds", stream=True))
        read_until(client, b": keep-alive\n\n")
        client.kill()
        client.communicate()
        server.wait_until_idle()


class TestHostileClients:
    def test_a_head_without_an_end(self, server: Server) -> None:
        with connect(server, "GET /health HTTP/1.1\nhost: localhost") as full:
            assert full.recv(20).startswith(b"HTTP/1.1 200")
        endless = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        with endless:
            endless.sendall(b"GET /health HTTP/1.1\r\nx: ")
            assert is_broken_off(endless)
        assert server.health()["status"] == "ok"

    def test_a_body_that_goes_on_behind_its_refusal(self, server: Server) -> None:
        declared = "POST /v1/chat/completions HTTP/1.1\nhost: localhost\ncontent-length: 900000000"
        with connect(server, declared + "\ncontent-type: application/json") as endless:
            assert endless.recv(20).startswith(b"HTTP/1.1 413")
            assert is_broken_off(endless)
        assert server.health()["status"] == "ok"

    def test_what_is_no_http(self, server: Server) -> None:
        with connect(server, "\x16\x03\x01 hello") as odd:
            assert b"400" in odd.recv(100)
        assert "Traceback" not in server.log


class TestSignals:
    def start(self, folder: Path, name: str, *words: str) -> Any:
        return serving(folder, f"served:{name}", *words)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_server_ends_at_once(self, number: int, tmp_path: Path) -> None:
        with self.start(tmp_path, "adder") as server:
            server.process.send_signal(number)
            assert server.process.wait(20) == 0
            assert "Traceback" not in server.log

    def test_a_running_answer_gets_its_time(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "short") as server:
            client = streaming(server.url, ask("short", stream=True))
            read_until(client, b"run_started")
            server.process.send_signal(signal.SIGTERM)
            rest, _ = client.communicate(timeout=30)
            assert b'"status":"completed"' in rest
            assert rest.endswith(b"data: [DONE]\n\n")
            assert server.process.wait(20) == 0

    def test_what_takes_too_long_is_cancelled_and_kept(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "endless", "--grace", "0.1") as server:
            client = streaming(server.url, ask("endless", stream=True))
            kept = streaming(server.url, ask("endless"), "-H", "x-session-id: s")
            read_until(client, b'"content":"word')
            server.wait_until(lambda: server.health()["runs"] == 2)
            server.process.send_signal(signal.SIGTERM)
            rest, _ = client.communicate(timeout=30)
            whole, _ = kept.communicate(timeout=30)
            assert server.process.wait(20) == 0
        assert (
            json.loads(rest.split(b"\n\n")[-3].removeprefix(b"data: "))["error"]["code"]
            == "cancelled"
        )
        assert json.loads(whole)["error"]["code"] == "cancelled"
        with closing(SQLiteStore(tmp_path / "runs.db")) as store:
            found = {info.run_id: info.status for info in store.runs()}
        assert found.pop("http:s") == "cancelled"
        assert list(found.values()) == ["cancelled"]

    def test_no_connection_is_taken_while_it_ends(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "endless", "--grace", "60") as server:
            client = streaming(server.url, ask("endless", stream=True))
            read_until(client, b'"content":"word')
            server.process.send_signal(signal.SIGTERM)
            server.wait_until(lambda: curl(f"{server.root}/health", check=False).returncode == 7)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(20) == 130
            client.communicate(timeout=30)

    def test_a_second_signal_ends_a_server_that_waits_for_a_thread(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "holds", "--grace", "60") as server:
            client = streaming(server.url, ask("holds", stream=True))
            read_until(client, b'"tool_started"')
            server.process.send_signal(signal.SIGINT)
            server.wait_until(lambda: "ending: 1 run" in server.log)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(20) == 130
            client.communicate(timeout=30)

    def test_a_killed_server_leaves_a_session_that_goes_on(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "endless") as server:
            client = streaming(server.url, ask("endless", stream=True), "-H", "x-session-id: s")
            read_until(client, b'"content":"word')
            server.process.kill()
            server.process.wait(20)
            client.communicate(timeout=30)
        with serving(tmp_path, "served:echoes") as server:
            status, said = post(server.url, ask("echoes", "next"), "-H", "x-session-id: s")
            assert status == 200
            assert "next" in json.loads(said)["choices"][0]["message"]["content"]


class TestOptions:
    def test_keys_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text("# two of them\nfirst-key\n\nsecond-key\n")
        words = ["served:adder", "--api-key-file", "keys", "--host", "0.0.0.0"]
        with serving(tmp_path, *words) as server:
            url = f"http://127.0.0.1:{server.port}/v1"
            for key, status in (("first-key", 200), ("second-key", 200), ("third-key", 401)):
                assert post(url, ask("adder"), "-H", f"authorization: Bearer {key}")[0] == status
            assert post(url, ask("adder"))[0] == 401
            assert "first-key" not in server.log

    def test_log_lines_as_json(self, tmp_path: Path) -> None:
        with serving(tmp_path, "served:adder", "--log-json") as server:
            post(server.url, ask("adder"))
            server.wait_until(lambda: "chat/completions" in server.log)
            lines = [json.loads(line) for line in server.log.splitlines()]
        (line,) = [line for line in lines if line["logger"] == "ling_agent.serve.access"]
        assert line["http"]["status"] == 200
