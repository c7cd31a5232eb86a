"""The page on serving shows what the recipes say; its Python blocks are run by tests/docs."""

from __future__ import annotations

import re

from ling_agent.recipes import deployments
from tests.docs.pages import ROOT, blocks

from .support import made_for

PAGE = ROOT / "docs" / "serving.md"


def shown(beginning: str) -> str:
    """The block of shell that begins so."""
    (found,) = [b.body for b in blocks(PAGE) if b.language == "sh" and b.body.startswith(beginning)]
    return found


def test_every_folder_is_in_the_table() -> None:
    named = set(re.findall(r"`(deploy/[\w-]+)`", PAGE.read_text("utf-8")))
    assert named == {f"deploy/{place.folder}" for place in deployments.DEPLOYMENTS}


def test_files_that_are_shown_are_those_of_the_folder() -> None:
    """They are included when the page is built, by their names."""
    included = re.findall(r'^--8<-- "(.+)"$', PAGE.read_text("utf-8"), re.MULTILINE)
    assert included
    assert {name.removeprefix("deploy/") for name in included} <= set(deployments.files())


def test_the_steps_are_those_of_the_recipes() -> None:
    made = made_for("vllm", gpu="h100", gpus=2)
    key, *start = [step.partition(":")[2].strip() for step in made.steps[:2]]
    assert shown("export").splitlines() == [key, *start]
    unit = made_for("systemd", gpu="h100", gpus=2)
    assert shown("sudo").splitlines() == unit.start


def test_the_client_and_the_doctor_are_those_of_the_recipe() -> None:
    made = made_for("vllm", gpu="h100", gpus=2)
    text = PAGE.read_text("utf-8")
    assert f"agent = {made.agent}" in text
    assert f"$ ling-agent doctor {made.backend}\n" in text
