"""`import ling_agent` loads little: heavy and optional parts wait until they are used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OPTIONAL = [
    "openai",
    "llama_cpp",
    "huggingface_hub",
    "clore_ai",
    "trio",
    "mcp",
    "mcp_types",
    "starlette",
    "uvicorn",
    "fastapi",
    "opentelemetry",
    "numpy",
    "llguidance",
    "zstandard",
]
HEAVY = ["jsonschema", "rich", "httpx2", "jinja2", "pydantic", "docstring_parser", "filelock"]


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running the code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([m.split('.')[0] for m in sys.modules]))"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded("import ling_agent").isdisjoint(OPTIONAL + HEAVY)


def test_an_agent_and_the_command_line_load_nothing_optional() -> None:
    code = "from ling_agent import Agent; Agent(); import ling_agent.cli.main"
    assert loaded(code).isdisjoint(OPTIONAL)


def test_hermes_is_standard_library_only() -> None:
    code = "import sys, types; sys.modules['ling_agent'] = p = types.ModuleType('ling_agent')"
    code += "\nimport importlib.util\np.__path__ = [__import__('os').getcwd() + '/ling_agent']"
    code += "\nimport ling_agent.hermes"
    foreign = loaded(code) - set(sys.stdlib_module_names) - {"ling_agent"}
    assert not {name for name in foreign if not name.startswith(("_", "sitecustomize"))} & {
        *OPTIONAL,
        *HEAVY,
        "anyio",
        "sniffio",
    }


@pytest.mark.parametrize("module", ["agent", "loop", "hermes", "tools", "memory", "testing", "cli"])
def test_every_part_can_be_imported_first(module: str) -> None:
    loaded(f"import ling_agent.{module}")
