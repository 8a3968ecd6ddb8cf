"""`mambascope models`."""

import json
from pathlib import Path

import pytest

from mambascope.cli.main import run
from mambascope.cli.models import flat, shown

FIGURES = {
    "parameters": 2650112,
    "commonest_answer": 0.12,
    "seen": {"n": 800, "exact": [0.981, 0.97, 0.99]},
    "unseen_by_relation": {"capital": 0.9},
}


@pytest.fixture
def bundled(monkeypatch, tmp_path: Path) -> Path:
    """An installation with two models, of which one has figures and one is missing."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text("{}")
    (tmp_path / "here" / "figures.json").write_text(json.dumps(FIGURES))
    names = {"here": "a model", "gone": "another"}
    monkeypatch.setattr("mambascope.models.bundled.BUNDLED", names)
    monkeypatch.setattr("mambascope.models.bundled.__file__", str(tmp_path / "__init__.py"))
    return tmp_path


def test_each_bundled_model_is_listed_with_its_figures(bundled, capsys):
    assert run(["models"]) == 0
    told = capsys.readouterr().out
    assert "here  a model" in told
    assert "gone  another (not in this installation)" in told
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert "parameters 2,650,112" in lines
    assert "commonest answer 12.0%" in lines
    assert "seen exact 98.1%" in lines
    assert "capital" not in told


def test_what_else_can_be_loaded_is_named(capsys):
    assert run(["models"]) == 0
    told = capsys.readouterr().out
    for word in ("Hugging Face hub id", "GGUF", "mamba2", "falcon_mamba", "gpt_neox", "llama"):
        assert word in told


def test_json_is_one_object_with_the_same_content(bundled, capsys):
    assert run(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundled"]["gone"] == {"description": "another", "installed": False, "figures": {}}
    assert told["bundled"]["here"]["figures"] == FIGURES
    assert "mamba2" in told["others"]["model_types"]


def test_nested_figures_get_one_name_each():
    assert flat({"a": {"b_c": {"d": 1}, "n": 3}, "e": 2}) == {"a b c d": 1, "e": 2}


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (0.5, "50.0%"),
        (12345, "12,345"),
        ([0.5, 0.25, 0.75], "50.0%"),
        (3.5, "3.5"),
        ("3e-3", "3e-3"),
        (None, ""),
    ],
)
def test_shares_are_shown_as_per_cent_and_counts_as_counts(figure, text: str):
    assert shown(figure) == text
