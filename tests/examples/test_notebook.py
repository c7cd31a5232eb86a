"""The notebook runs in a real Jupyter kernel; in the repository it has no outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from ling_agent import catalog

from .support import EXAMPLES, ROOT

NOTEBOOK = EXAMPLES / "notebook.ipynb"
CELL_SECONDS = 300

SCRIPTED = """
import json
from ling_agent.testing import Reply, ScriptedBackend

def call(city):
    return '<tool_call>\\n{"name": "population", "arguments": {"city": "%s"}}\\n</tool_call>' % city

BACKEND = ScriptedBackend([
    call("Oslo"), "About 718 thousand.",
    call("Graz"), "About 305 thousand.",
    call("Porto"), Reply("About 249 thousand.", chunk_size=3),
    call("Oslo"), '{"city": "Oslo", "people": 717710}',
])
"""


def read() -> Any:
    untyped: Any = nbformat
    return untyped.read(NOTEBOOK, as_version=4)


def executed(parameters: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook after a run whose first cell was this one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    notebook = read()
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source = parameters
    client: Any = NotebookClient(
        notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def shown(notebook: Any) -> list[str]:
    """What each code cell shows, as text; cells that show nothing left out."""
    texts = [
        "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [text.strip() for text in texts if text.strip()]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(executed(SCRIPTED, tmp_path, monkeypatch)) == [
        "About 718 thousand.",
        "About 305 thousand.",
        "→ population ← 248769\nAbout 249 thousand.",
        "Residents(city='Oslo', people=717710)",
    ]


@pytest.mark.model
def test_the_notebook_runs_on_the_real_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = catalog.cached_path("qwen2.5-coder-0.5b")
    assert model is not None, "run `make test`"
    *_, streamed, typed = shown(
        executed(f"BACKEND = {f'llamacpp:{model}'!r}", tmp_path, monkeypatch)
    )
    assert "→ population" in streamed
    assert typed.startswith("Residents(city=")


def test_the_repository_has_no_outputs() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
