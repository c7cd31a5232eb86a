from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from ling_agent import catalog
from ling_agent.catalog import ModelFile
from ling_agent.cli import models
from ling_agent.errors import ConfigurationError, DigestMismatch, DownloadError

from .stand_in import StandInHub, model_of


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="ling-agent")
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *arguments])
    return int(args.handler(args))


@pytest.fixture
def tiny(data: bytes, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """A catalogue of one model."""
    model = model_of(data)
    for module in (catalog, catalog.entries, catalog.download):
        monkeypatch.setattr(module, "CATALOG", {"tiny": model})
    return model


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_list(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert "qwen2.5-coder-0.5b (default)  491.4 MB" in out
    assert "Apache-2.0" in out
    assert "MIT" in out


def test_list_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["alias"] for entry in listed] == list(catalog.CATALOG)
    assert listed[0]["cached"] is False
    assert listed[0]["default"] is True


def test_pull_path_verify(
    hub: StandInHub, tiny: ModelFile, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pull", "tiny") == 0
    assert capsys.readouterr().out == f"{cache / 'tiny.gguf'}\n"  # the bar is on standard error
    assert run("path", "tiny") == 0
    assert capsys.readouterr().out == f"{cache / 'tiny.gguf'}\n"
    assert run("verify") == 0
    assert capsys.readouterr().out == "tiny: verified\n"
    assert run("pull", "tiny", "--json") == 0
    record = json.loads(capsys.readouterr().out)[0]
    assert record["path"] == str(cache / "tiny.gguf")
    assert record["sha256"] == tiny.sha256


def test_not_cached_is_exit_1(tiny: ModelFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("path", "tiny") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ling-agent models pull tiny" in captured.err
    assert run("path", "tiny", "--json") == 1
    assert json.loads(capsys.readouterr().out)["path"] is None
    assert run("verify", "tiny") == 1
    assert capsys.readouterr().out == "tiny: missing\n"
    assert run("verify") == 0
    assert "no model is in the cache" in capsys.readouterr().err


def test_verify_tells_all_before_it_fails(
    tiny: ModelFile, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(DigestMismatch):
        run("verify", "--json")
    assert json.loads(capsys.readouterr().out)[0]["status"] == "mismatch"


def test_errors_are_left_to_main(tiny: ModelFile, hub: StandInHub) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown model 'tniy'\. Did you mean tiny"):
        run("pull", "tiny", "tniy")
    assert hub.downloads == []  # nothing begins when a name is wrong
    with pytest.raises(DownloadError, match="offline"):
        run("pull", "tiny", "--offline")


def test_interrupted_pull_is_exit_130(
    tiny: ModelFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "pull", interrupted)
    assert run("pull", "tiny") == 130
    assert "to go on run: ling-agent models pull tiny" in capsys.readouterr().err


def test_resolve_uses_the_catalogue(hub: StandInHub, tiny: ModelFile, cache: Path) -> None:
    assert catalog.resolve("tiny") == cache / "tiny.gguf"
    assert hub.downloads == [""]
