"""`mambascope attention` on the bundled models: what it prints, what it writes, what it refuses."""

import json

import numpy as np
import pytest

import mambascope as ms
from mambascope.cli.main import run
from mambascope.results.store import load

PROMPT = "The capital of France is"


def test_a_mamba_gets_maps_retention_and_half_lives(tmp_path, capsys):
    assert run(["attention", PROMPT, "--layers", "2", "4", "--out", str(tmp_path / "out")]) == 0
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    own = {"attention.png", "attention.html", "result.parquet", "manifest.json"}
    parts = {
        f"{part}/{name}"
        for part in ("retention", "half_lives")
        for name in (f"{part}.png", f"{part}.html", "result.parquet", "manifest.json")
    }
    assert names == own | parts
    model = ms.load("atlas-mamba1")
    expected = ms.effective_attention(model, PROMPT, [2, 4])
    np.testing.assert_allclose(
        load(tmp_path / "out")["attention"], expected["attention"], rtol=1e-5
    )
    kept = ms.retention(model, PROMPT, [2, 4])
    np.testing.assert_allclose(load(tmp_path / "out/retention")["share"], kept["share"], rtol=1e-4)
    said = capsys.readouterr().out
    assert "what the last token reads" in said and "what the last state holds" in said


def test_json_is_one_object_with_the_maps_and_what_is_read(capsys):
    options = ["--model", "atlas-transformer", "--reduce", "head", "--layers", "1", "--json"]
    assert run(["attention", PROMPT, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    attention = np.array(found["attention"])
    assert found["dims"] == ["layer", "target", "source", "head"]
    np.testing.assert_allclose(attention.sum(2), 1, rtol=1e-5)
    strongest = attention[0, -1, :-1].mean(-1).argmax()
    assert found["most_read"][0]["position"] == strongest
    assert "retention" not in found


def test_maps_by_head_are_written_as_a_table_without_a_picture(tmp_path):
    options = ["--model", "atlas-mamba2", "--reduce", "head", "--layers", "0", "--units", "1", "2"]
    assert run(["attention", PROMPT, *options, "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out/attention.png").exists()
    assert load(tmp_path / "out")["head"].values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reduce", "head"], "reduce 'head' does not fit a mamba1"),
        (["--span", "mixer"], "reduce it by 'contribution', 'share' or 'frobenius'"),
        (["--layers", "99"], "layer 99 is out of range"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(options, said, capsys):
    assert run(["attention", PROMPT, *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_a_folder_with_something_else_is_refused_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert run(["attention", PROMPT, "--out", str(tmp_path)]) == 2
    assert "holds other files and no result" in capsys.readouterr().err


def test_show_tells_what_the_command_told(tmp_path, capsys):
    folder = str(tmp_path / "out")
    assert run(["attention", PROMPT, "--layers", "3", "--out", folder]) == 0
    told = capsys.readouterr().out.split("wrote")[0]
    assert run(["show", folder]) == 0
    assert capsys.readouterr().out.strip() == told.strip()
    assert run(["show", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(np.sum(found["retention"]["share"]), 1, rtol=1e-4)


def test_show_leaves_out_the_memory_of_a_model_that_was_there_before(tmp_path, capsys):
    folder = str(tmp_path / "out")
    options = ["--layers", "0", "--out", folder]
    assert run(["attention", PROMPT, *options]) == 0
    assert run(["attention", PROMPT, "--model", "atlas-transformer", *options]) == 0
    capsys.readouterr()
    assert run(["show", folder]) == 0
    shown = capsys.readouterr().out
    assert "atlas-transformer" in shown and "what the last state holds" not in shown
