"""docs/compatibility.md: each cell says how it is known, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from scripts.servers.kinds import KINDS

from .pages import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
TEXT = PAGE.read_text(encoding="utf-8")
REAL = ("vLLM 0.32.0", "SGLang 0.5.23")
EMBEDDED = "`llamacpp:`"
COLUMNS = ["vLLM 0.32.0", "vLLM 0.33.0", "SGLang 0.5.23", "llama-server", "Ollama", EMBEDDED]
ARCHITECTURES = {
    b"bailingmoe": True,
    b"bailingmoe2": True,
    b"bailingmoe3": True,
    b"bailing_hybrid": False,
    b"bailingmoe2.5": False,
    b"bailingmoe_linear": False,
}

_CELL = re.compile(r"not checked|(?!not checked)\S.* \[(?P<code>[trd]\d+)\]")
_ROW = re.compile(r"^\|(?P<cells>.+)\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a server does of a feature, and how that is known."""

    feature: str
    server: str
    text: str

    @property
    def code(self) -> str:
        match = _CELL.fullmatch(self.text)
        return (match["code"] if match else None) or ""


def tables() -> Iterator[list[list[str]]]:
    """The tables of the page: their rows, split into cells; without the line of dashes."""
    for block in re.split(r"\n\s*\n", TEXT):
        rows = [
            [cell.strip() for cell in match["cells"].split("|")] for match in _ROW.finditer(block)
        ]
        if rows:
            yield [row for row in rows if not set("".join(row)) <= set("-: ")]


def matrix() -> list[Cell]:
    """Every cell of the three matrices."""
    return [
        Cell(row[0], server, text)
        for head, *rows in tables()
        if len(head) == len(COLUMNS) + 1
        for row in rows
        for server, text in zip(head[1:], row[1:], strict=True)
    ]


def definitions() -> dict[str, str]:
    """What the codes stand for."""
    return {row[0]: row[1] for table in tables() for row in table if len(row) == 2 and row[0]}


CELLS, DEFINED = matrix(), definitions()
TESTS = {code: text.strip("`") for code, text in DEFINED.items() if code.startswith("t")}


@cache
def functions(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a file by name, those of classes behind ``Class::``."""
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            inner = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            found.update({f"{node.name}::{each.name}": each for each in inner})
    return found


def test_all_matrices_have_the_same_servers() -> None:
    heads = [table[0][1:] for table in tables() if len(table[0]) > 2]
    assert heads == [COLUMNS] * 3
    assert len(CELLS) > 100


def test_every_cell_says_how_it_is_known() -> None:
    assert [cell for cell in CELLS if not _CELL.fullmatch(cell.text)] == []


def test_every_code_is_defined_and_used() -> None:
    # Those in the text count, too.
    used = set(re.findall(r"\[([trd]\d+)\]", TEXT))
    assert used == set(DEFINED)


@pytest.mark.parametrize("code", TESTS)
def test_a_named_test_exists(code: str) -> None:
    path, _, name = TESTS[code].partition("::")
    assert (ROOT / path).is_file()
    assert name in functions(ROOT / path)
    assert name.rpartition("::")[2].startswith("test_")


def test_tested_means_on_the_server_of_the_column() -> None:
    for cell in CELLS:
        if not cell.code.startswith("t"):
            continue
        path, _, name = TESTS[cell.code].partition("::")
        on_server = path.startswith("tests/servers/")
        assert cell.server in REAL or cell.server == EMBEDDED, cell
        assert on_server == (cell.server in REAL), cell
        if on_server:
            arguments = {each.arg for each in functions(ROOT / path)[name].args.args}
            assert arguments & {"server", "start_server", "client"}, cell
        # What only SGLang does is left out on vLLM: see tests/servers/conftest.py.
        assert not (path.endswith("test_lost_calls.py") and cell.server != "SGLang 0.5.23"), cell


def test_the_versions_are_those_that_the_tests_run() -> None:
    assert tuple(f"{kind.title} {kind.version}" for kind in KINDS.values()) == REAL
    llama_cpp = pytest.importorskip("llama_cpp")
    assert f"`llamacpp:` is llama-cpp-python {llama_cpp.__version__}." in TEXT


@pytest.mark.parametrize(("name", "known"), ARCHITECTURES.items())
def test_llama_cpp_has_the_architectures_of_the_page(name: bytes, known: bool) -> None:
    """Its names stand in the library, each ended by a zero."""
    llama_cpp = pytest.importorskip("llama_cpp")
    library = Path(llama_cpp.__file__).parent / "lib"
    files = [*library.glob("libllama.*"), *library.glob("llama.dll")]
    assert files
    assert any(b"\0" + name + b"\0" in path.read_bytes() for path in files) == known
