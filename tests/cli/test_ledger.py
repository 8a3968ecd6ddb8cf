"""`mambascope ledger` on the bundled models: what it prints, what it writes, what it refuses."""

import json

import numpy as np
import pytest

import mambascope as ms
from mambascope.cli.main import run
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
