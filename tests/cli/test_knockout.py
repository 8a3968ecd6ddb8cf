"""`mambascope knockout`, `sweep knockout`, `show` and `compare`, from the command line to the files, and each mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from mambascope import knockout, open_results
from mambascope.cli.main import parse, run
from mambascope.methods.knockout.aggregate import mean_flow
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.models.load import load
from mambascope.runner.config import KnockoutSweep
from tests.runner.small import save_facts, save_model

FRANCE = ["knockout", "The capital of France is", "--subject", "France"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny model of two layers."""
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def swept(model: Path, tmp_path_factory) -> list[Path]:
    """Finished sweeps of two models over the same facts, and one of every position."""
    folder = tmp_path_factory.mktemp("swept")
    other = save_model(folder / "other", seed=5)
    facts = ["--facts", str(save_facts(folder / "facts.jsonl", 8)), "--window", "1"]
    sources = ["--source", "subject", "first"]
    for name, source, options in [
        ("one", model, sources), ("two", other, sources), ("each", model, ["--source", "each"]),
    ]:  # fmt: skip
        where = ["--model", str(source), "--out", str(folder / name)]
        assert run(["sweep", "knockout", *facts, *options, *where]) == 0
    return [folder / name for name in ("one", "two", "each")]


def words(printed: str) -> list[str]:
    return [" ".join(line.split()) for line in printed.splitlines()]


def test_the_options_are_those_of_the_configurations():
    given = ["--source", "subject", "random:subject", "--route", "both", "--mode", "mean"]
    more = ["--window", "3", "--align", "centred", "--features", "not slow", "--seed", "4"]
    options = KnockoutConfig(
        source=("subject", "random:subject"), route="both", mode="mean", window=3, align="centred",
        features="not slow", seed=4,
    )  # fmt: skip
    assert parse([*FRANCE, *given, *more]).options == options
    assert parse(FRANCE).options == KnockoutConfig()
    ranks = ["--rank", "2-5", "--also-known-by", "a", "b"]
    swept = parse(["sweep", "knockout", "--facts", "bundled", "--out", "o", *given, *more, *ranks])
    assert swept.method.sweep == KnockoutSweep(
        facts="bundled", rank="2-5", also_known_by=("a", "b"), knockout=options
    )


def test_the_summary_names_the_lowest_window_of_each_source(model: Path, capsys):
    given = ["--model", str(model), "--window", "1", "--source", "subject", "last"]
    assert run([*FRANCE, *given]) == 0
    found = knockout(
        load(str(model)), FRANCE[1], subject="France", window=1, source=["subject", "last"]
    )
    lines = words(capsys.readouterr().out)
    assert lines[0] == "prompt The capital of France is"
    assert any(line.startswith("cut target last, route scan, single layers, in ") for line in lines)
    for source in ("subject", "last"):
        own = found.sel(source=source)
        lowest = own.isel(start=int(own["score"].argmin("start")))
        (row,) = [line for line in lines if line.startswith(f"{source} ")]
        layer = int(lowest["start"])
        assert row.startswith(f"{source} {layer} to {layer} "), row
        assert f" {float(lowest['change']):+.1f} % " in row


def test_out_gets_figures_table_and_manifest(model: Path, capsys, tmp_path: Path):
    out = tmp_path / "a" / "b"
    given = ["--model", str(model), "--window", "1", "--source", "each", "--out", str(out)]
    assert run([*FRANCE, *given]) == 0
    names = ["knockout.html", "knockout.png", "manifest.json", "result.parquet"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "knockout.png").read_bytes().startswith(b"\x89PNG")
    wanted = knockout(load(str(model)), FRANCE[1], subject="France", window=1, source="each")
    xr.testing.assert_identical(open_results(out), wanted)
    capsys.readouterr()
    assert run(["show", str(out)]) == 0
    assert "where the answer falls most" in capsys.readouterr().out
    assert run([*FRANCE, *given]) == 0, "an earlier knockout is overwritten"


def test_json_is_one_object_and_nothing_else(model: Path, capsys):
    given = ["--model", str(model), "--window", "1", "--answer", "London", "--json"]
    assert run([*FRANCE, *given, "--source=-2"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    wanted = knockout(
        load(str(model)), FRANCE[1], subject="France", window=1, source=-2, answer="London"
    )
    np.testing.assert_allclose(told["score"], wanted["score"], atol=1e-6)
    assert (told["dims"], told["positions"], told["route"]) == (["start"], "3", "scan")
    assert told["tokens"] == ["The", " capital", " of", " France", " is"]
    assert "warning: the model answers" in printed.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "3"], "a window of 3 layers does not fit into the 2 layers"),
        (["--window", "0"], "--window: Input should be greater than or equal to 1"),
        (["--subject", "Spain"], "'Spain' does not occur"),
        (["--subject", "The", "--source", "context"], "no token of the prompt is 'context'"),
        (["--source", "nobody"], "unknown source 'nobody'; it is one of: first, last"),
        (["--source", "9"], "position 9 is out of range"),
        (["--source", "last", "--route", "conv"], "no target reads source 'last'"),
        (["--route", "attention"], "has no route 'attention'; it has: scan, conv, both"),
        (["--mode", "mask"], "route 'scan' has no mode 'mask'"),
        (["--features", "64"], "feature 64 is out of range"),
        (["--mean-of", "write"], "are for mode 'mean'"),
        (["--mode", "mean", "--reference", " "], "the prompt is empty"),
        (["--source", "each", "first"], "source 'each'"),
        (["--out", "/proc/results"], "cannot write to"),
        (["--model", "nothing"], "'nothing'"),
    ],
)
def test_each_mistake_is_one_line(options: list[str], message: str, model: Path, capsys):
    given = [*FRANCE, "--model", str(model), "--window", "1", *options]
    assert run(given) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mambascope: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_show_prints_the_means_and_draws_the_curves(swept: list[Path], capsys):
    assert run(["show", str(swept[0])]) == 0
    printed = capsys.readouterr().out
    lines = words(printed)
    assert "facts 8 cut, 0 skipped, 1 failed" in lines
    assert any(line.startswith("failed lost: the subject 'Spain'") for line in lines)
    flow = mean_flow(open_results(swept[0])).sel(source="subject")
    lowest = flow.isel(start=int(flow["effect"].argmin("start")))
    (row,) = [line.split() for line in lines if line.startswith("subject ")]
    layer = str(int(lowest["start"]))
    assert row[:6] == ["subject", "8", layer, "to", layer, f"{float(lowest['effect']):.3f}"]
    figures = sorted(path.name for path in (swept[0] / "figures").iterdir())
    assert figures == [
        f"flow-{q}.{kind}" for q in ("change", "hit", "score") for kind in ("html", "png")
    ]
    assert all(f"wrote {swept[0] / 'figures' / name}" in printed for name in figures)


def test_show_as_json_holds_the_curves(swept: list[Path], capsys):
    assert run(["show", str(swept[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    flow = mean_flow(open_results(swept[0]))
    np.testing.assert_allclose(told["flow"]["effect"], flow["effect"])
    assert (told["cut"], told["failed"], told["flow"]["rank"]) == (8, 1, "any")
    assert run(["show", str(swept[2]), "--json"]) == 0
    assert "subject_last" in json.loads(capsys.readouterr().out)["flow"]["role"]


def test_show_chooses_facts_by_rank(swept: list[Path], capsys):
    ranks = open_results(swept[0])["clean_rank"].values
    assert run(["show", str(swept[0]), "--rank", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["flow"]["facts"] == int((ranks == 1).sum())
    assert 0 < told["flow"]["facts"] < 8


def test_show_exports_the_cells(swept: list[Path], tmp_path: Path):
    target = tmp_path / "cells.csv"
    assert run(["show", str(swept[2]), "--export", "csv", "--to", str(target)]) == 0
    cells = int(np.isfinite(open_results(swept[2])["score"]).sum())
    assert len(target.read_text().splitlines()) == cells + 1


def test_compare_puts_models_side_by_side(swept: list[Path], tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run(["compare", *map(str, swept[:2]), "--name", "one", "two", "--out", str(out)]) == 0
    lines = words(capsys.readouterr().out)
    for name, folder in zip(("one", "two"), swept[:2], strict=True):
        assert any(line.startswith(f"{name}: 8 facts, probability of the answer") for line in lines)
        flow = mean_flow(open_results(folder), quantity="score")
        kept = open_results(out).sel(model=name)
        np.testing.assert_allclose(kept["effect"], flow["effect"])
    assert any(
        line.startswith("two minus one: probability of the answer, paired") for line in lines
    )
    first, second = (open_results(folder)["score"] for folder in swept[:2])
    difference = open_results(out)["difference"].sel(model="two")
    np.testing.assert_allclose(difference, (second - first).mean("fact_id"), atol=1e-12)
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert run(["compare", *map(str, swept[:2]), "--quantity", "hit", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {own["quantity"] for own in told["models"].values()} == {"hit"}
    assert next(iter(told["differences"].values()))["quantity"] == "hit"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "{one}"], "at least two sweeps are needed"),
        (["compare", "{one}", "{one}"], "two of the sweeps are called"),
        (["compare", "{one}", "{each}"], "cannot be compared"),
        (["compare", "{one}", "{tmp}"], "there is no result in"),
        (["compare", "{one}", "{two}", "--rank", "0"], "ranks begin at 1"),
        (["compare", "{one}", "{two}", "--name", "a"], "need as many names"),
        (["compare", "{one}", "{two}", "--out", "{one}"], "holds a result of 'sweep.knockout'"),
        (["show", "{one}", "--rank", "top"], "ranks are given as 1, <=3 or 2-5, not 'top'"),
        (["sweep", "knockout", "--facts", "bundled", "--rank", "5-2", "--out", "{tmp}"], "ascend"),
        (
            ["sweep", "knockout", "--facts", "bundled", "--also-known-by", "m", "--out", "{tmp}"],
            "rank says",
        ),
    ],
)
def test_what_cannot_be_shown_or_compared_is_one_line(
    arguments: list[str], message: str, swept: list[Path], tmp_path: Path, capsys
):
    places = dict(zip(("one", "two", "each"), swept, strict=True), tmp=tmp_path)
    assert run([text.format(**places) for text in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mambascope: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
