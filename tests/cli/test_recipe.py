"""``ling-agent recipe``: prints, writes, and says in one line what does not work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ling_agent import recipes
from ling_agent.cli.main import main

FLASH = ("recipe", "--server", "vllm", "--model", "ling-2.6-flash")
CARDS = ("--gpu", "h100", "--gpus", "2")
Output = pytest.CaptureFixture[str]


def test_it_prints_the_file_and_nothing_else(capsys: Output, tmp_path: Path) -> None:
    assert main([*FLASH, *CARDS]) == 0
    printed = capsys.readouterr()
    assert main([*FLASH, *CARDS, "--out", str(tmp_path)]) == 0
    assert printed.out == (tmp_path / "compose.yaml").read_text("utf-8")
    assert printed.err == ""


def test_it_tells_what_to_do_with_a_written_file(capsys: Output, tmp_path: Path) -> None:
    assert main([*FLASH, *CARDS, "--out", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{tmp_path / 'new' / 'compose.yaml'}: Ling-2.6-flash, FP8 on 2 × H100")
    assert "docker compose up --detach" in told
    assert "ling-agent doctor 'vllm:http://localhost:8000#ling-2.6-flash'" in told
    assert 'Agent("vllm:http://localhost:8000#ling-2.6-flash")' in told


def test_a_file_that_is_there_stays(capsys: Output, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("mine")
    assert main([*FLASH, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error == f"ling-agent: error: {file} is there already: --force replaces it\n"
    assert file.read_text() == "mine"
    assert main([*FLASH, "--out", str(tmp_path), "--force"]) == 0
    assert "services:" in file.read_text()


def test_json_is_for_programs(capsys: Output, tmp_path: Path) -> None:
    assert main([*FLASH, *CARDS, "--json", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    read = json.loads(printed)
    assert read["command"][:3] == ["vllm", "serve", "inclusionAI/Ling-2.6-flash-fp8"]
    assert (read["format"], read["gpu"], read["gpus"]) == ("fp8", "h100", 2)
    assert read["path"] == str(tmp_path / "compose.yaml")
    assert Path(read["path"]).read_text("utf-8") == read["text"]
    assert read["backend"] == "vllm:http://localhost:8000#ling-2.6-flash"
    assert read["key"] == "LING_AGENT_API_KEY"


def test_options_reach_the_recipe(capsys: Output) -> None:
    words = [*FLASH, "--quant", "int4", "--context", "8192", "--concurrency", "7", "--port", "9000"]
    assert main([*words, "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert (read["context"], read["concurrency"], read["port"]) == (8192, 7, 9000)
    assert read["backend"].startswith("vllm:http://localhost:9000#")
    given = dict(zip(read["command"], read["command"][1:], strict=False))
    assert given["--max-model-len"] == "8192"
    assert given["--max-num-seqs"] == "7"
    assert given["--port"] == "9000"


def test_the_help_names_what_there_is(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        main(["recipe", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert ", ".join(recipes.SERVERS[:-1]) + " or " + recipes.SERVERS[-1] in printed
    assert recipes.KEY in printed
    assert f"(default {recipes.RAM:g})" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*FLASH, "--gpu", "rtx-4090"), "does not fit 1 × RTX 4090"),
        ((*FLASH, "--quant", "fp8", "--gpu", "h100"), "what would: --quant int4"),
        (("recipe", "--server", "ollama", "--model", "ling-2.6-flash"), "--server vllm"),
        (("recipe", "--server", "vllm", "--model", "ling-2.6-flas"), "ling-2.6-flash"),
    ],
)
def test_what_does_not_work_is_one_line_and_writes_nothing(
    words: tuple[str, ...], message: str, capsys: Output, tmp_path: Path
) -> None:
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert list(tmp_path.iterdir()) == []
