"""`mambascope trace` with a stand-in for the method: what it prints, what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest
import xarray as xr

from mambascope.cli.main import run
from mambascope.errors import PromptError
from mambascope.methods.tracing.config import TracingConfig
from mambascope.results import load

FRANCE = ["trace", "The capital of France is", "--subject", "France"]


@pytest.fixture
def traced(monkeypatch, trace_result):
    """Replaces loading and tracing; the list of the method's arguments, call by call."""
    calls: list[dict] = []

    def trace(model, prompt, *, progress, **options):
        calls.append({"model": model, "prompt": prompt, **options})
        progress(1, 2)
        told = options["answer"]
        return trace_result(**({"answer": f" {told}"} if told else {}))

    monkeypatch.setattr("mambascope.models.load.load", lambda *given: given)
    monkeypatch.setattr("mambascope.methods.tracing.run.trace", trace)
    return calls


def test_the_options_reach_the_method_and_its_defaults_are_the_configs(traced):
    options = ["--site", "state", "--seed", "4", "--window", "3"]
    where = ["--dtype", "float64", "--tokenizer", "atlas-mamba2"]
    assert run([*FRANCE, *options, *where]) == 0
    assert traced == [
        {
            "model": ("atlas-mamba1", "cpu", "float64", "atlas-mamba2"),
            "prompt": "The capital of France is",
            "subject": "France",
            "answer": None,
            **TracingConfig(site="state", window=3, seed=4).model_dump(),
        }
    ]


def test_the_summary_names_the_best_cells_and_the_means(traced, capsys):
    assert run(FRANCE) == 0
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "prompt The capital of France is" in lines
    assert "answer Paris" in lines
    assert "clean 0.950" in lines
    assert "corrupted 0.100" in lines
    best = lines[lines.index("best cells") + 2 :][:5]
    assert best[0] == "11 ·is last 0.900"
    assert best[1] == "11 ·France subject_last 0.899"
    assert best[4] == "11 The before 0.897"
    assert "last 0.501" in lines
    assert printed.err == ""


def test_out_gets_figures_table_and_manifest(traced, capsys, tmp_path: Path, trace_result):
    out = tmp_path / "a" / "b"
    assert run([*FRANCE, "--out", str(out)]) == 0
    names = ["manifest.json", "result.parquet", "trace.html", "trace.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    xr.testing.assert_identical(load(out), trace_result())
    assert (out / "trace.png").read_bytes().startswith(b"\x89PNG")
    assert "plotly" in (out / "trace.html").read_text()
    printed = capsys.readouterr().out
    assert all(f"wrote {out / name}\n" in printed for name in names)


def test_json_is_one_object_and_nothing_else(traced, capsys, tmp_path: Path):
    assert run([*FRANCE, "--json", "--answer", "London", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["answer"] == " London"
    assert told["tokens"] == ["The", " capital", " of", " France", " is"]
    assert len(told["score"]) == 12
    assert told["best"][0] == {
        "layer": 11,
        "position": 4,
        "token": " is",
        "role": "last",
        "score": pytest.approx(0.9),
    }
    assert {Path(path).parent for path in told["files"]} == {tmp_path}
    assert "warning: the model answers ' Paris' here, not ' London'" in printed.err


def test_a_right_answer_is_no_cause_for_a_warning(traced, capsys):
    assert run([*FRANCE, "--answer", "Paris"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["/proc/results", "{tmp}/file", "{tmp}"])
def test_an_unwritable_out_is_found_before_anything_is_computed(
    folder: str, traced, capsys, tmp_path: Path
):
    (tmp_path / "file").write_text("precious")
    assert run([*FRANCE, "--out", folder.format(tmp=tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mambascope: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert traced == []
    assert (tmp_path / "file").read_text() == "precious"


def test_an_earlier_trace_is_overwritten(traced, tmp_path: Path):
    assert run([*FRANCE, "--out", str(tmp_path)]) == 0
    assert run([*FRANCE, "--out", str(tmp_path), "--answer", "London"]) == 0
    assert load(tmp_path).attrs["answer"] == " London"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--samples",
            "0",
            "--samples: Input should be greater than or equal to 1, but 0 was given",
        ),
        ("--noise", "0", "--noise: Input should be greater than 0"),
        ("--window", "0", "--window: Input should be greater than or equal to 1"),
        ("--seed", "-1", "--seed: Input should be greater than or equal to 0"),
    ],
)
def test_an_impossible_option_is_one_line(option: str, value: str, message: str, traced, capsys):
    assert run([*FRANCE, option, value]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"mambascope: {message}")
    assert printed.count("\n") == 1


def test_an_error_of_the_method_is_one_line_and_leaves_no_folder(
    traced, capsys, tmp_path: Path, monkeypatch
):
    def trace(*_, **__):
        raise PromptError("the subject 'Spain'\ndoes not occur")

    monkeypatch.setattr("mambascope.methods.tracing.run.trace", trace)
    assert run([*FRANCE, "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == "mambascope: the subject 'Spain' does not occur\n"
    assert not (tmp_path / "new").exists()
