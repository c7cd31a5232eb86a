"""The files do what the commands say: read by a YAML parser, run by a shell, read by systemd."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ling_agent import Agent
from ling_agent.profiles import profile_for_name
from ling_agent.recipes import KEY, Recipe

from .support import SECRET, every_recipe, service_of


def of(*servers: str) -> pytest.MarkDecorator:
    """Every recipe of some servers."""
    chosen = {name: made for name, made in every_recipe().items() if made.server in servers}
    return pytest.mark.parametrize("made", [pytest.param(m, id=n) for n, m in chosen.items()])


# -- all of them -------------------------------------------------------------------------------


def test_a_file_says_how_it_is_made_started_and_used() -> None:
    for name, made in every_recipe().items():
        head = made.text[:3000]
        assert made.remake in head, name
        assert all(step in head for step in made.steps), name
        assert made.doctor.startswith("ling-agent doctor ")
        assert f"Use:    {made.agent}" in head, name


def test_the_agent_of_a_recipe_is_made_with_the_right_profile() -> None:
    for name, made in every_recipe().items():
        call = ast.parse(made.agent, mode="eval").body
        assert isinstance(call, ast.Call)
        (target,) = [ast.literal_eval(argument) for argument in call.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        assert target == made.backend, name
        Agent(target, **named)  # the string is one that an agent takes
        model = target.partition("#")[2] or made.launch.served
        told = named.get("profile") or profile_for_name(model).name
        assert told == made.launch.model.profile, name


def test_no_file_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (KEY, "VLLM_API_KEY", "LLAMA_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(variable, SECRET)
    assert [name for name, made in every_recipe().items() if SECRET in made.text] == []


def test_files_are_plain_text() -> None:
    for name, made in every_recipe().items():
        assert made.text.endswith("\n"), name
        assert "\t" not in made.text, name
        assert not re.search(r" +$", made.text, re.MULTILINE), name


# -- vLLM: a compose file ----------------------------------------------------------------------


@of("vllm")
def test_compose_runs_the_command(made: Recipe) -> None:
    service = service_of(made)
    inside = ["0.0.0.0" if word == "127.0.0.1" else word for word in made.command]
    assert ["vllm", "serve", *service["command"]] == inside


@of("vllm")
def test_compose_offers_the_port_to_this_machine_and_asks_for_the_key(made: Recipe) -> None:
    service, port = service_of(made), made.launch.port
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["environment"]["VLLM_API_KEY"].startswith(f"${{{KEY}:?")
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == made.launch.gpus
    ast.parse(service["healthcheck"]["test"][-1])


# -- SGLang and llama-server: scripts ----------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Stand-ins for ``python`` and ``llama-server`` that print how they were called, as JSON."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    for name in ("python", "llama-server"):
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            "print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:], "
            "os.environ.get('LLAMA_API_KEY')]))\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
    return folder


def run_script(
    made: Recipe, programs: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    script = programs.parent / made.file
    script.write_text(made.text, encoding="utf-8")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(script)], env={"PATH": path, **environment}, capture_output=True, text=True
    )


@of("sglang", "llama.cpp")
def test_a_script_starts_the_command_with_the_key(made: Recipe, programs: Path) -> None:
    done = run_script(made, programs, LING_AGENT_API_KEY=SECRET)
    assert done.returncode == 0, done.stderr
    *called, variable = json.loads(done.stdout)
    if made.server == "sglang":  # it takes its key as an option only
        assert called == [*made.command, "--api-key", SECRET]
    else:
        assert (called, variable) == (made.command, SECRET)


@pytest.mark.parametrize("environment", [{}, {KEY: ""}])
@pytest.mark.parametrize("name", ["4x80gb/sglang", "1x24gb/llama.cpp"])
def test_a_script_without_a_key_starts_nothing(
    name: str, environment: dict[str, str], programs: Path
) -> None:
    done = run_script(every_recipe()[name], programs, **environment)
    assert done.returncode != 0
    assert done.stdout == ""
    assert KEY in done.stderr


# -- systemd: a unit ---------------------------------------------------------------------------


def sections(text: str) -> dict[str, dict[str, str]]:
    """The settings of a unit by section; lines that end with a backslash go on."""
    found: dict[str, dict[str, str]] = {}
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = {}
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            list(found.values())[-1][name] = value
    return found


def unit_words(line: str) -> list[str]:
    """A command line as systemd splits it: double quotes, backslashes, ``%%`` and ``$$``."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    words = [re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for quoted, bare in found]
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


@of("systemd")
def test_a_unit_runs_the_command_with_a_key_from_a_file(made: Recipe) -> None:
    unit = sections(made.text)
    assert set(unit) == {"Unit", "Service", "Install"}
    assert unit_words(unit["Service"]["ExecStart"]) == made.command
    assert unit["Service"]["EnvironmentFile"] == "/etc/ling-agent/server.env"
    assert any("/etc/ling-agent/server.env" in step and KEY in step for step in made.start)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """By systemd's own check, where there is one; the programs are replaced by one that exists."""
    units = {n: m for n, m in every_recipe().items() if m.server == "systemd"}
    files: list[str] = []
    for number, made in enumerate(units.values()):
        file = tmp_path / f"ling-{number}.service"
        file.write_text(made.text.replace(made.command[0], sys.executable, 1), encoding="utf-8")
        assert sys.executable in file.read_text("utf-8")
        files.append(str(file))
    check = shutil.which("systemd-analyze")
    assert files
    if check is None:  # then the test above is all
        return
    done = subprocess.run([check, "verify", *files], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# -- embedded: a Python file -------------------------------------------------------------------


@of("embedded")
def test_the_program_makes_its_agent(made: Recipe) -> None:
    program = ast.parse(made.text)
    calls = [node for node in ast.walk(program) if isinstance(node, ast.Call)]
    (engine,) = [call for call in calls if ast.unparse(call.func) == "LlamaCppBackend"]
    given = {word.arg: ast.literal_eval(word.value) for word in engine.keywords}
    assert given["n_ctx"] == made.launch.context
    assert given["n_parallel"] == (made.launch.parallel or 1)
    assert given.get("n_cpu_moe", 0) == made.launch.cpu_experts

    namespace: dict[str, object] = {"__name__": "agent"}
    exec(compile(program, made.file, "exec"), namespace)  # no model is loaded before the first run
    assert isinstance(namespace["agent"], Agent)


def test_a_model_of_the_catalogue_is_named_by_its_alias() -> None:
    made = every_recipe()["1x24gb/embedded"]
    assert 'LlamaCppBackend("ling-mini-2.0", n_ctx=32_768, n_parallel=1)' in made.text
