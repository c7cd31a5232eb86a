"""How the official package is imported, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

JUDGES = """
from ling_agent.evals.bfcl.data import of_category
from ling_agent.evals.bfcl.judge import judge
case = of_category("multiple")["multiple_0"]
call = {"name": "triangle_properties_get", "arguments": {"side1": 5, "side2": 4, "side3": 3}}
assert judge(case, [call]).passed
"""
VENDORS = {"openai", "anthropic", "cohere", "mistralai", "boto3", "google", "torch", "transformers"}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_no_vendor_is_imported(tmp_path: Path) -> None:
    told = "import json, sys, os; print(json.dumps([*sys.modules]))"
    done = run(JUDGES + told, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "bfcl_eval" in loaded
    assert not VENDORS & loaded


def test_the_package_makes_its_folders_in_the_cache(tmp_path: Path) -> None:
    done = run(
        JUDGES + "import os; assert 'BFCL_PROJECT_ROOT' not in os.environ",
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ling_agent" / "bfcl" / "result").is_dir()


def test_folders_can_be_elsewhere(tmp_path: Path) -> None:
    done = run(JUDGES, XDG_CACHE_HOME=str(tmp_path / "a"), BFCL_PROJECT_ROOT=str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / "result").is_dir()
    assert not (tmp_path / "a").exists()


def test_the_entry_is_added_to_the_real_module() -> None:
    loaded = """
import sys, types
real = types.ModuleType("bfcl_eval.constants.model_config")
real.MODEL_CONFIG_MAPPING = {"other": object()}
sys.modules[real.__name__] = real
"""
    done = run(loaded + JUDGES + "assert set(real.MODEL_CONFIG_MAPPING) == {'other', 'ling-agent'}")
    assert done.returncode == 0, done.stderr


def test_what_is_missing_is_named() -> None:
    for missing, named in (("bfcl_eval", "bfcl_eval"), ("tree_sitter_java", "tree_sitter_java")):
        code = f"""
import sys
sys.modules[{missing!r}] = None
from ling_agent import ConfigurationError
from ling_agent.evals.bfcl.package import module
try:
    module("utils")
except ConfigurationError as error:
    print(error)
"""
        done = run(code)
        assert named in done.stdout, done.stderr
        assert "ling-agent[eval]" in done.stdout


def test_importing_the_benchmark_imports_nothing_of_it() -> None:
    done = run("import sys, ling_agent.evals.bfcl; assert 'bfcl_eval' not in sys.modules")
    assert done.returncode == 0, done.stderr
