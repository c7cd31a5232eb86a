"""`Recipe`: one server for one model on some cards, as a file, and how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from ..facts import GpuFacts
from ..profiles import profile_for_name
from . import embedded, llama_cpp, ollama, sglang, systemd, vllm
from .launch import KEY, Launch, ServerName, one_line
from .wish import RAM


@dataclass(frozen=True, slots=True)
class _Kind:
    """A server: how its command and its file are made, and how one uses them."""

    title: str
    scheme: str
    port: int
    file: str
    start: str
    command: Callable[[Launch], list[str]]
    render: Callable[[Launch, str], str]


_KINDS: dict[ServerName, _Kind] = {
    "vllm": _Kind(
        *("vLLM", "vllm", vllm.PORT, "compose.yaml", "docker compose up --detach"),
        vllm.command,
        vllm.compose,
    ),
    "sglang": _Kind(
        *("SGLang", "sglang", sglang.PORT, "sglang.sh", "sh sglang.sh"),
        sglang.command,
        sglang.script,
    ),
    "llama.cpp": _Kind(
        *("llama-server", "llama-server", llama_cpp.PORT, "llama-server.sh", "sh llama-server.sh"),
        llama_cpp.command,
        llama_cpp.script,
    ),
    "ollama": _Kind(
        *("Ollama", "ollama", ollama.PORT, "ollama.md", ""), ollama.command, ollama.note
    ),
    "systemd": _Kind("systemd", "", 0, "ling-server.service", "", systemd.command, systemd.unit),
    "embedded": _Kind(
        *("the embedded engine", "llamacpp", 0, "agent.py", "python agent.py"),
        embedded.command,
        embedded.program,
    ),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A server for a model, ready to be written down.

    Attributes:
        server: What it is for.
        launch: What the server is started with.
        gpu: The cards; None when none were named, and nothing was checked then.
        plan: Lines on memory and speed; none when nothing was computed.
        ram: System memory of the machine in GB.
    """

    server: ServerName
    launch: Launch
    gpu: GpuFacts | None = None
    plan: tuple[str, ...] = ()
    ram: float = RAM

    @property
    def command(self) -> list[str]:
        """The server's command line, as words. It holds no key."""
        return _KINDS[self.server].command(self.launch)

    @property
    def file(self) -> str:
        """Name of the file."""
        return _KINDS[self.server].file

    @property
    def text(self) -> str:
        """The file's text."""
        return _KINDS[self.server].render(self.launch, self._header())

    @property
    def backend(self) -> str:
        """The backend string with which an agent connects."""
        launch = self.launch
        match self.server:
            case "embedded":
                return f"llamacpp:{embedded.target(launch)}"
            case "ollama":
                name = ollama.name(launch)
            case _:
                name = launch.served
        return f"{_KINDS[self._engine].scheme}:http://localhost:{launch.port}#{name}"

    @property
    def agent(self) -> str:
        """How an agent is made on it, as Python.

        The profile is named where the name of the served model does not tell it.
        """
        profile = self.launch.model.profile
        known = profile_for_name(self.backend.partition("#")[2] or self.launch.served).name
        named = "" if known == profile else f', profile="{profile}"'
        return f'Agent("{self.backend}"{named})'

    @property
    def doctor(self) -> str:
        """The command that examines the server when it runs."""
        return one_line(["ling-agent", "doctor", self.backend])

    @property
    def start(self) -> list[str]:
        """What to do with the file, in order, as shell."""
        match self.server:
            case "systemd":
                variable = systemd.key_variable(self.launch)
                return [
                    f"sudo install -D -m 600 /dev/null {systemd.KEY_FILE}",
                    f'echo "{variable}=${KEY}" | sudo tee {systemd.KEY_FILE} > /dev/null',
                    f"sudo install -m 644 {self.file} /etc/systemd/system/",
                    f"sudo systemctl daemon-reload && sudo systemctl enable --now {self.file}",
                ]
            case "ollama":
                return []
            case _:
                return [_KINDS[self.server].start]

    @property
    def steps(self) -> list[str]:
        """How it is started, examined and used, a line each."""
        steps = [f"Key:    export {KEY}=$(openssl rand -hex 24)"] if self.needs_key else []
        steps += [f"Start:  {line}" for line in self.start]
        return [*steps, f"Check:  {self.doctor}", f"Use:    {self.agent}"]

    @property
    def needs_key(self) -> bool:
        """Whether the server asks for the key in ``LING_AGENT_API_KEY``."""
        return self.server not in ("ollama", "embedded")

    @property
    def remake(self) -> str:
        """The command that makes this recipe."""
        launch = self.launch
        words = ["ling-agent", "recipe", "--server", self.server, "--model", launch.model.id]
        words += ["--quant", launch.format]
        if self.gpu is not None:
            words += ["--gpu", self.gpu.id]
        words += ["--gpus", str(launch.gpus), "--context", str(launch.context)]
        if self.ram != RAM:
            words += ["--ram", f"{self.ram:g}"]
        if launch.parallel is not None:
            words += ["--concurrency", str(launch.parallel)]
        if launch.port != default_port(self.server, launch):
            words += ["--port", str(launch.port)]
        return shlex.join(words)

    @property
    def title(self) -> str:
        """What it is, in a line."""
        launch = self.launch
        format_ = launch.model.formats[launch.format].title
        cards = f" on {launch.gpus} × {self.gpu.title}" if self.gpu is not None else ""
        return (
            f"{launch.model.title}, {format_}{cards}: {self._server_title()}, "
            f"window {launch.context:,} tokens"
        )

    @property
    def notes(self) -> list[str]:
        """What to know, one line each."""
        plan = self.plan or ("Whether it fits was not computed: name the cards with --gpu.",)
        notes = _server_notes(self._engine, self.launch)
        if self.server == "systemd" and systemd.takes_file(self.launch):
            notes.append(f"The unit looks for it in {systemd.CACHE}.")
        return [*notes, *plan]

    @property
    def _engine(self) -> ServerName:
        """The server that works behind it."""
        if self.server != "systemd":
            return self.server
        return "vllm" if systemd.engine(self.launch) == "vllm" else "llama.cpp"

    def _server_title(self) -> str:
        title = _KINDS[self._engine].title
        return f"{title} under systemd" if self.server == "systemd" else title

    def _header(self) -> str:
        lines = [self.title, f"Made by: {self.remake}", *self.notes, "", *self.steps]
        if self.file.endswith(".md"):
            return "\n".join(["<!--", *lines, "-->"])
        return "\n".join(f"# {line}".rstrip() for line in lines)


_NOT_TRIED = "Not tried with these weights."


def default_port(server: ServerName, launch: Launch | None = None) -> int:
    """The port that the server takes by itself."""
    if server == "systemd" and launch is not None:
        return vllm.PORT if systemd.engine(launch) == "vllm" else llama_cpp.PORT
    return _KINDS[server].port


def title_of(server: ServerName) -> str:
    """The server's name in prose."""
    return _KINDS[server].title


def _server_notes(server: ServerName, launch: Launch) -> list[str]:
    """How the recipe's flags are known, and what the server needs."""
    notes: list[str] = []
    facts = launch.model.servers.get(server)
    if facts is not None and facts.since:
        notes.append(f"Needs {title_of(server)} {facts.since} or newer.")
    match server:
        case "vllm":
            notes.append(f"Flags: read by the parser of vLLM {vllm.VERSION}. {_NOT_TRIED}")
        case "sglang":
            notes.append(f"Flags: read by the parser of SGLang {sglang.VERSION}. {_NOT_TRIED}")
        case "llama.cpp":
            notes.append(f"Flags: documented for llama.cpp {llama_cpp.VERSION}. {_NOT_TRIED}")
            if not launch.model.formats[launch.format].repository:
                notes.append(f"Where to get {llama_cpp.file_name(launch)} is not known here.")
        case _:
            pass
    return notes
