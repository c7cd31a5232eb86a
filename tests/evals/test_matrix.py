"""Several values of a setting are several evaluations with a name each."""

from __future__ import annotations

from pathlib import Path

import pytest

from ling_agent import ConfigurationError
from ling_agent.evals.matrix import Matrix, check_directory, evaluations_below
from ling_agent.evals.options import EvalOptions

BASE = EvalOptions(backend="vllm:http://127.0.0.1:9", max_tokens=99)


def test_one_evaluation_has_no_label() -> None:
    assert Matrix().cells(BASE) == {"": BASE}
    (only,) = Matrix(planning=("off", "off"), temperature=(0.5,)).cells(BASE).values()
    assert (only.planning, only.temperature, only.max_tokens) == ("off", 0.5, 99)
    (baseline,) = Matrix(baseline=("auto",), agent=False).cells(BASE).values()
    assert baseline.baseline == "auto"


def test_labels_name_what_is_varied() -> None:
    cells = Matrix(planning=("off", "inline"), temperature=(0.0, 0.7)).cells(BASE)
    assert list(cells) == [
        "planning-off_temperature-0",
        "planning-off_temperature-0.7",
        "planning-inline_temperature-0",
        "planning-inline_temperature-0.7",
    ]
    assert cells["planning-off_temperature-0.7"].temperature == 0.7
    assert list(Matrix(observation=("lines", "../x y")).cells(BASE)) == [
        "observation-lines",
        "observation-.._x_y",
    ]


def test_baselines_come_behind_the_agent_and_have_none_of_its_settings() -> None:
    matrix = Matrix(planning=("off",), observation=("lines",), baseline=("auto", "required"))
    cells = matrix.cells(BASE)
    assert list(cells) == ["agent", "baseline-auto", "baseline-required"]
    assert (cells["agent"].planning, cells["agent"].baseline) == ("off", "")
    auto = cells["baseline-auto"]
    assert (auto.baseline, auto.planning, auto.observation) == ("auto", None, "")
    several = Matrix(temperature=(0.0, 1.0), baseline=("auto",)).cells(BASE)
    assert list(several)[2:] == ["baseline-auto_temperature-0", "baseline-auto_temperature-1"]


def test_nothing_to_evaluate_is_told() -> None:
    with pytest.raises(ConfigurationError, match="nothing is evaluated"):
        Matrix(agent=False).cells(BASE)


def test_values_that_would_share_a_directory_are_told() -> None:
    with pytest.raises(ConfigurationError, match="same label baseline-a_b"):
        Matrix(baseline=("a b", "a/b")).cells(BASE)


def test_one_and_several_are_not_mixed(tmp_path: Path) -> None:
    check_directory(tmp_path / "none", [""])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").touch()
    assert evaluations_below(tmp_path) == [tmp_path / "a"]
    check_directory(tmp_path, ["a", "b"])
    with pytest.raises(ConfigurationError, match="holds several evaluations"):
        check_directory(tmp_path, [""])
    with pytest.raises(ConfigurationError, match="holds a single evaluation"):
        check_directory(tmp_path / "a", ["a", "b"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"planning": "sometimes"}, "write off, inline, explicit"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"max_steps": 0}, "max_steps=0"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        EvalOptions(**given)  # pyright: ignore[reportArgumentType]
