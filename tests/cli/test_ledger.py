"""`mambascope ledger` on the bundled models: what it prints, what it writes, what it refuses."""

import json

import numpy as np
import pytest

import mambascope as ms
from mambascope.cli.main import run
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.results.store import load

FRANCE = ["ledger", "The capital of France is", "--subject", "France"]


def test_files_hold_what_the_method_finds_and_are_shown_again(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--model", "atlas-mamba2", "--source", "subject_last", "2", "--answer", "Paris"]
    assert run([*FRANCE, *options, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "ledger.png", "ledger-shapley.png", "ledger.html", "result.parquet", "manifest.json",
    }  # fmt: skip
    model = ms.load("atlas-mamba2")
    expected = ms.ledger(
        model, FRANCE[1], subject="France", answer="Paris", source=["subject_last", "2"]
    )
    written = load(out)
    assert written["source"].values.tolist() == ["subject_last", "2"]
    np.testing.assert_allclose(written["single"], expected["single"], atol=1e-4)
    assert "20 of 20 cells confirmed" in said and "wrote" in said
    clean = [line.split()[1] for line in said.splitlines() if line.startswith("clean")]
    assert float(clean[0]) == pytest.approx(np.exp(expected.attrs["clean_score"]), abs=1e-3)
    assert run(["show", str(out)]) == 0
    assert capsys.readouterr().out == said.split("wrote")[0]


def test_json_is_one_object_with_the_largest_cells(capsys):
    options = ["--source", "subject", "--measure", "probability", "--confirm", "3", "--audit", "0"]
    assert run([*FRANCE, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    total = np.array(found["total"], dtype=float)  # null is NaN
    assert found["sources"] == ["subject"] and found["routes"][0] == "state"
    assert np.isfinite(total).sum() == 3 and sum(map(sum, found["confirmed"])) == 3
    first = found["largest"][0]
    assert len(found["largest"]) == 3
    assert abs(first["total"]) == np.nanmax(np.abs(total))
    terms = [first[name] for name in (*found["routes"], "interaction")]
    assert sum(terms) == pytest.approx(first["total"])


def test_another_answer_than_the_models_own_is_said_with_its_probability(capsys):
    assert run([*FRANCE, "--answer", "Tokyo", "--source", "subject"]) == 0
    warned = capsys.readouterr().err
    assert "warning: the model answers ' Paris' here, not ' Tokyo' (probability " in warned
    assert 0 < float(warned.split("probability ")[1].split(")")[0]) < 0.1


def test_a_sweep_is_drawn_and_told_with_its_controls(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--source", "subject_last", "random:subject_last", "--out", str(out)]
    assert run(["sweep", "ledger", "--facts", "bundled:capital", "--limit", "3", *options]) == 0
    assert "3 entered, 0 skipped, 0 failed" in capsys.readouterr().out
    assert run(["show", str(out)]) == 0
    said = capsys.readouterr().out
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {"ledger-single.png", "ledger-shapley.png"}
    assert run(["show", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    results = ms.open_results(out)
    mean = mean_ledger(results)
    np.testing.assert_allclose(np.array(found["mean"]["effect"]), mean["effect"])
    assert found["clean"] == pytest.approx(np.exp(results["clean_score"]).mean().item())
    total = mean.sel(source="subject_last", term="total")
    layer = int(np.argmax(np.abs(total["effect"].values)))
    told = [row for row in found["largest"] if row["term"] == "total"]
    assert (told[0]["source"], told[0]["layer"]) == ("subject_last", layer)
    beside = total["above_effect"].values[layer]
    assert told[0]["above_effect"] == pytest.approx(beside)
    (line,) = [line for line in said.splitlines() if line.split()[:2] == ["subject_last", "3"]]
    assert f"{total['effect'].values[layer]:.3f}" in line and f"{beside:.3f}" in line
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("wrote"))


def test_a_sweep_over_a_transformer_is_one_line(tmp_path, capsys):
    options = ["--model", "atlas-transformer", "--out", str(tmp_path / "out")]
    assert run(["sweep", "ledger", "--facts", "bundled:capital", "--limit", "3", *options]) == 2
    assert "atlas-transformer is a transformer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source", "last"], "unknown source 'last'"),
        (["--source", "after"], "no token before the target, position 4, is 'after'"),
        (["--model", "atlas-transformer"], "atlas-transformer is a transformer"),
        (["--target", "9"], "target position 9 is out of range"),
    ],
)
def test_what_cannot_be_done_is_one_line(more, message, capsys):
    assert run([*FRANCE, *more]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out
