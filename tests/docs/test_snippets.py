"""Every Python block of the documentation runs; every command and link in it is a real one.

The blocks of a page run in order in one namespace. They check themselves with ``assert``; what they
print is compared when the block has ``#>`` lines. A block may use ``await`` at its top level. Marks
after the fence's language: ``model`` needs the real model, ``no-run`` is only compiled.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import inspect
import io
import re
import shlex
import signal
import sys
import types
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .pages import ROOT, Block, blocks, links, page_name, pages

PAGE_SECONDS = 60.0
MODEL_PAGE_SECONDS = 600.0
MARKS = {"model", "no-run"}
MAY_SKIP = 2
"""Blocks that are allowed to be ``no-run`` over all pages."""

_PRIVATE = re.compile(r"(?<![\w./])/(?:home|root|mnt|srv)/")
"""Paths of somebody's machine."""
_PRINTED = re.compile(r"^\s*#> ?(.*)$", re.MULTILINE)


def python_blocks(page: Path, *, model: bool) -> list[Block]:
    """The blocks of a page that run; those for the real model only when it is wanted."""
    found = [block for block in blocks(page) if block.language == "python"]
    return [b for b in found if "no-run" not in b.marks and (model or "model" not in b.marks)]


def with_blocks(*, model: bool) -> list[Any]:
    """The pages that have blocks to run, with their names as test ids."""
    chosen = [page for page in pages() if python_blocks(page, model=model)]
    if model:
        chosen = [p for p in chosen if any("model" in b.marks for b in blocks(p))]
    return [pytest.param(page, id=page_name(page)) for page in chosen]


every_page = pytest.mark.parametrize(
    "page", [pytest.param(page, id=page_name(page)) for page in pages()]
)


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A module's namespace, known to `sys.modules` as annotations are looked up there."""
    module = types.ModuleType("documentation_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    return vars(module)


@contextlib.contextmanager
def time_limit(seconds: float) -> Generator[None, None, None]:
    """Raise `TimeoutError` in this thread, also when it is blocked; no limit without SIGALRM."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def expired(number: int, frame: object) -> NoReturn:
        raise TimeoutError(f"the page's blocks took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def compiled(page: Path, block: Block) -> types.CodeType:
    """The block's code; its tracebacks name the page and the line."""
    source = "\n" * (block.line - 1) + block.body
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(source, str(page), "exec", flags=flags, dont_inherit=True)


def execute(page: Path, block: Block, namespace: dict[str, Any]) -> None:
    """Run one block and compare what it prints with its ``#>`` lines, if there are any."""
    code = compiled(page, block)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(types.FunctionType(code, namespace)())
        else:
            exec(code, namespace)
    expected = _PRINTED.findall(block.body)
    if expected:
        assert output.getvalue().splitlines() == expected, f"{page_name(page)}:{block.line}"


@pytest.mark.parametrize("page", with_blocks(model=False))
def test_snippets_run(page: Path, namespace: dict[str, Any]) -> None:
    with time_limit(PAGE_SECONDS):
        for block in python_blocks(page, model=False):
            execute(page, block, namespace)


@pytest.mark.model
@pytest.mark.parametrize("page", with_blocks(model=True))
def test_snippets_run_on_the_real_model(page: Path, namespace: dict[str, Any]) -> None:
    pytest.importorskip("llama_cpp")
    with time_limit(MODEL_PAGE_SECONDS):
        for block in python_blocks(page, model=True):
            execute(page, block, namespace)


@pytest.mark.model
def test_hello_world_completes_on_the_default_model(namespace: dict[str, Any]) -> None:
    pytest.importorskip("llama_cpp")
    page = ROOT / "README.md"
    hello = next(block for block in blocks(page) if "model" in block.marks)
    with time_limit(MODEL_PAGE_SECONDS):
        execute(page, hello, namespace)
    result = namespace["result"]
    assert result.ok, (result.status, result.error)
    assert "0.35" in result.output


@every_page
def test_python_blocks_compile_and_have_known_marks(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            assert block.marks <= MARKS, f"{page_name(page)}:{block.line}: unknown mark"
            compiled(page, block)


def test_few_blocks_are_exempt() -> None:
    exempt = [
        f"{page_name(page)}:{block.line}"
        for page in pages()
        for block in blocks(page)
        if "no-run" in block.marks
    ]
    assert len(exempt) <= MAY_SKIP, exempt


def test_a_failing_block_names_its_page_and_line(tmp_path: Path, namespace: dict[str, Any]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\nassert x == 2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError) as caught:
        execute(page, next(blocks(page)), namespace)
    last = caught.traceback[-1]
    assert (last.path, last.lineno + 1) == (page, 5)


# -- commands ---------------------------------------------------------------------------------


class ParsedError(Exception):
    """The command line was understood; raised in place of running it."""


def commands(page: Path) -> list[list[str]]:
    """The ``ling-agent`` commands of a page's console and shell blocks, split into words."""
    found: list[list[str]] = []
    for block in blocks(page):
        if block.language not in {"console", "bash", "sh", "shell"}:
            continue
        for line in block.body.replace("\\\n", " ").splitlines():
            if block.language == "console" and not line.startswith("$ "):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            end = next((i for i, word in enumerate(words) if re.match(r"[|>]|&&", word)), None)
            if "ling-agent" in words[:end]:
                found.append(words[words.index("ling-agent") + 1 : end])
    return found


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page_name(page)) for page in pages() if commands(page)]
)
def test_commands_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ling_agent.cli.main import main

    parse_args = argparse.ArgumentParser.parse_args

    def stop_after_parsing(self: argparse.ArgumentParser, *args: Any, **options: Any) -> NoReturn:
        parse_args(self, *args, **options)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_after_parsing)
    for command in commands(page):
        # SystemExit: of --help and --version, and of what is not a command.
        with pytest.raises((ParsedError, SystemExit)) as ended:
            main(command)
        understood = not isinstance(ended.value, SystemExit) or ended.value.code == 0
        assert understood, f"{page_name(page)}: not a command: ling-agent {shlex.join(command)}"


# -- links and words --------------------------------------------------------------------------


@every_page
def test_links_to_files_resolve(page: Path) -> None:
    broken = [target for target in links(page) if not (page.parent / target).exists()]
    assert not broken, f"{page_name(page)} links to what is not there: {broken}"


def test_no_text_names_machines() -> None:
    texts = [*pages(), ROOT / "mkdocs.yml", *sorted((ROOT / "ling_agent").rglob("*.py"))]
    named = [
        f"{page_name(text)}:{number}: {found[0]}"
        for text in texts
        for number, line in enumerate(text.read_text(encoding="utf-8").splitlines(), start=1)
        if (found := _PRIVATE.search(line))
    ]
    assert not named, named


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    names = [p.relative_to(ROOT / "docs").as_posix() for p in pages() if p.parent != ROOT]
    assert [name for name in names if f" {name}\n" not in navigation] == []
