"""A server that cannot be reached: one line that says what is wrong, and no secret in it."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import mcp.client.stdio
import pytest
from pydantic import SecretStr

from ling_agent import BackendUnavailable, ConfigurationError, LingAgentError
from ling_agent.mcp import MCPServer

from .support import TRIO_HTTP, bench, gone, http_bench, text, written

pytestmark = [pytest.mark.anyio, TRIO_HTTP]

SECRET = "s3cr3t-value"


async def failure(server: MCPServer, kind: type[LingAgentError]) -> str:
    """The message of the error that opening raises, both ways."""
    with pytest.raises(kind) as caught:
        async with server.opened():
            pass
    with pytest.raises(kind) as again:
        async with server:
            pass
    assert type(caught.value) is type(again.value) is kind
    assert str(caught.value) == str(again.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def script(code: str, **options: object) -> MCPServer:
    """A server that is a Python program."""
    return MCPServer.stdio(sys.executable, "-c", code, **options)  # pyright: ignore[reportArgumentType]


async def test_a_command_that_does_not_exist() -> None:
    server = MCPServer.stdio("no-such-server-program", "--flag", SECRET)
    assert await failure(server, ConfigurationError) == (
        "MCP server 'no-such-server-program': there is no command 'no-such-server-program'; "
        "install it, or give its path"
    )


async def test_a_command_line_in_one_piece() -> None:
    message = await failure(MCPServer.stdio("python -m mcp_server_time"), ConfigurationError)
    assert message.endswith("; give each of its words as an argument")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_time_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="timeout is in seconds, above 0"):
        MCPServer.stdio("cat", timeout=seconds)


async def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("not a program")
    assert await failure(MCPServer.stdio(str(program)), ConfigurationError) == (
        f"MCP server 'program': '{program}' cannot be started: Permission denied"
    )


async def test_a_working_directory_that_does_not_exist(tmp_path: Path) -> None:
    server = bench(tmp_path, cwd=tmp_path / "nowhere")
    message = await failure(server, ConfigurationError)
    assert message.endswith(f"cwd is not a folder: {tmp_path / 'nowhere'}")


async def test_a_server_that_exits_at_once() -> None:
    code = "import os, sys; print('fine so far', file=sys.stderr); sys.exit('no licence')"
    assert await failure(script(code), BackendUnavailable) == (
        f"MCP server '{Path(sys.executable).name}' exited before it answered; the last line of its "
        "stderr: no licence"
    )


async def test_a_server_that_exits_without_a_word() -> None:
    message = await failure(script("pass"), BackendUnavailable)
    assert message.endswith("it wrote nothing to stderr: try the command in a terminal")


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp.client.stdio, "PROCESS_TERMINATION_TIMEOUT", 0.1)
    server = script("import time; time.sleep(600)", connect_timeout=0.5)
    assert await failure(server, BackendUnavailable) == (
        f"MCP server '{Path(sys.executable).name}' did not answer within 0.5 s (connect_timeout)"
    )


async def test_opening_can_be_given_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    begun = f"open({str(pid)!r}, 'w').write(str(os.getpid()))"

    async def wait() -> None:
        async with script(f"import os, time; {begun}; time.sleep(600)"):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await written(pid)
        group.cancel_scope.cancel()
    await gone(int(pid.read_text()))


async def test_a_program_that_is_no_server() -> None:
    assert await failure(script("print('Hello, World!')"), ConfigurationError) == (
        f"MCP server '{Path(sys.executable).name}' is not an MCP server: it wrote 'Hello, World!' "
        "to its stdout, where only protocol messages belong"
    )


async def test_secrets_of_the_environment_are_in_no_error_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = "import os, sys; print(os.environ['A']); sys.exit(os.environ['A'] + os.environ['B_KEY'])"
    env = {"A": SecretStr(SECRET), "B_KEY": "plain-but-a-key"}
    server = script(code, env=env)
    message = await failure(server, ConfigurationError)
    assert "wrote '[secret]' to its stdout" in message
    server = script(code.replace("print", "str"), env=env)
    message = await failure(server, BackendUnavailable)
    assert message.endswith("the last line of its stderr: [secret][secret]")
    async with bench(tmp_path, env=env).opened() as tools:
        assert await text(tools, "environment", name="A") == "[secret]"
        assert await text(tools, "environment", name="B_KEY") == "[secret]"
        assert (
            await text(tools, "blame", name="A")
            == "Error: Error executing tool blame: cannot use [secret]"
        )
    assert SECRET not in caplog.text + repr(server)
    assert "plain-but-a-key" not in caplog.text + repr(server)
    assert "A is [secret]" in caplog.text


async def test_plain_variables_are_shown(tmp_path: Path) -> None:
    async with bench(tmp_path, env={"COLOUR": "green"}).opened() as tools:
        assert await text(tools, "environment", name="COLOUR") == "green"
        assert await text(tools, "environment", name="PYTEST_CURRENT_TEST") == "(not set)"


async def test_a_url_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="begins with http:// or https:// and a host"):
        MCPServer.http("localhost:8000/mcp")


@pytest.mark.parametrize(
    "value", [f"Bearer {SECRET}\n", f" {SECRET}", f"{SECRET}é", f"{SECRET}\x00"]
)
async def test_a_header_that_cannot_be_sent(value: str) -> None:
    """A key read from a file often ends with a line break; the HTTP client would log it."""
    with pytest.raises(ConfigurationError, match="'Authorization' has") as caught:
        MCPServer.http("http://localhost/mcp", headers={"Authorization": SecretStr(value)})
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError, match="'a name' has"):
        MCPServer.http("http://localhost/mcp", headers={"a name": "x"})


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = f"http://user:{SECRET}@127.0.0.1:{port}/mcp?key={SECRET}"
    message = await failure(MCPServer.http(url), BackendUnavailable)
    assert message.startswith(f"MCP server '127.0.0.1:{port}/mcp' cannot be reached: ")
    assert SECRET not in message


async def test_a_server_that_takes_the_connection_and_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = MCPServer.http(f"http://127.0.0.1:{port}/mcp", connect_timeout=0.5)
        assert await failure(server, BackendUnavailable) == (
            f"MCP server '127.0.0.1:{port}/mcp' did not answer within 0.5 s (connect_timeout)"
        )


@pytest.mark.parametrize("flags", [(), ("--old",)], ids=["2026", "2025"])
async def test_a_key(
    tmp_path: Path, flags: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with http_bench(tmp_path, *flags, "--key", SECRET) as server:
        await server.start()
        label = server.url.removeprefix("http://")
        wrong = MCPServer.http(server.url, headers={"Authorization": SecretStr("Bearer wrong-one")})
        assert await failure(wrong, ConfigurationError) == (
            f"MCP server '{label}' answers HTTP 401 Unauthorized: give it a valid key in headers=…"
        )
        right = {"Authorization": SecretStr(f"Bearer {SECRET}")}
        async with MCPServer.http(server.url, headers=right).opened() as tools:
            assert await text(tools, "add", a=1, b=2) == "3"
    assert SECRET not in caplog.text
    assert "wrong-one" not in caplog.text


async def test_the_wrong_path(tmp_path: Path) -> None:
    with http_bench(tmp_path) as server:
        await server.start()
        url = server.url.replace("/mcp", "/other")
        message = await failure(MCPServer.http(url), ConfigurationError)
    assert message.endswith(
        "answers HTTP 404 Not Found: the URL is not that of its MCP endpoint, often /mcp"
    )


class WebSite(BaseHTTPRequestHandler):
    """A web server that knows nothing of MCP."""

    def do_POST(self) -> None:
        status = 503 if self.path == "/busy" else 200
        self.send_response(status)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def web_site() -> Generator[str, None, None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), WebSite) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


async def test_a_web_site(web_site: str) -> None:
    message = await failure(MCPServer.http(web_site), ConfigurationError)
    assert message.endswith(
        "is not the endpoint of an MCP server, often /mcp: Unexpected content type: text/html"
    )


async def test_a_server_that_is_not_ready(web_site: str) -> None:
    message = await failure(MCPServer.http(f"{web_site}/busy"), BackendUnavailable)
    assert message.endswith(
        "answers HTTP 503 Service Unavailable: it is not ready; try again later"
    )


async def test_an_unknown_tool_is_told_in_the_servers_words(tmp_path: Path) -> None:
    """The listing is the run's; the server may have dropped a tool since."""
    async with bench(tmp_path).opened() as tools:
        assert await text(tools, "forget", word="add") == "forgotten"
        assert await text(tools, "add", a=1, b=2) == "Error: Unknown tool: add"


async def test_an_error_of_the_protocol_is_told_in_one_line(tmp_path: Path) -> None:
    async with bench(tmp_path).opened() as tools:
        assert await text(tools, "refuse") == (
            "Error: the MCP server 'python tests.mcp.servers.bench' refused the call: not like this"
        )
