"""`mambascope sweep` and `mambascope show` from the command line to the files, and each mistake one can make."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mambascope import open_results, trace
from mambascope.cli.main import parse, run
from mambascope.data.tokenizer import load_tokenizer as atlas_tokenizer
from mambascope.methods.tracing.aggregate import mean_effect
from mambascope.methods.tracing.config import TracingConfig
from mambascope.models.load import load
from mambascope.results import save
from mambascope.runner.config import TraceSweep
from tests.models.checkpoints.small import save_as_state_spaces
from tests.runner.small import save_facts, save_model


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """Facts, model and a few options."""
    folder = tmp_path_factory.mktemp("given")
    facts, model = save_facts(folder / "facts.jsonl", 8), save_model(folder / "model")
    return ["--facts", str(facts), "--model", str(model), "--samples", "2", "--batch", "3"]


@pytest.fixture(scope="module")
def swept(given: list[str], tmp_path_factory) -> Path:
    """The folder of a finished sweep."""
    out = tmp_path_factory.mktemp("swept") / "out"
    assert run(["sweep", "trace", *given, "--out", str(out)]) == 0
    return out


def test_the_options_are_those_of_the_configurations():
    options = ["--limit", "7", "--only-known", "--site", "state", "u", "--corruption", "swap"]
    where = ["--executor", "ray", "--workers", "3", "--address", "auto", "--dtype", "float64"]
    command = parse(["sweep", "trace", "--facts", "bundled", "--out", "o", *options, *where])
    tracing = TracingConfig(site=("state", "u"), corruption="swap")
    assert command.method.sweep == TraceSweep(
        facts="bundled", limit=7, only_known=True, dtype="float64", tracing=tracing
    )
    assert (command.method.executor, command.method.workers, command.method.address) == (
        "ray",
        3,
        "auto",
    )
    plain = parse(["sweep", "trace", "--facts", "bundled", "--out", "o"])
    assert plain.method.sweep == TraceSweep(facts="bundled")


def test_a_sweep_says_what_came_out(given: list[str], tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run(["sweep", "trace", *given, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "8 traced, 0 skipped, 1 failed"
    assert str(out) in printed.out
    assert run(["sweep", "trace", *given, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": str(out), "traced": 8, "skipped": 0, "failed": 1}


def test_another_configuration_is_one_line(given: list[str], swept: Path, capsys):
    assert run(["sweep", "trace", *given, "--out", str(swept), "--seed", "4"]) == 2
    printed = capsys.readouterr()
    assert "(tracing.seed: 0 there, 4 here)" in printed.err
    assert printed.err.startswith("mambascope: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--facts", "no-such-file"], "there is no fact set 'no-such-file'"),
        (["--facts", "bundled:none"], "unknown relation 'none'"),
        (["--facts", "bundled", "--limit", "0"], "--limit: Input should be greater than"),
        (["--facts", "bundled", "--samples", "0"], "--samples: Input should be greater than"),
        (["--facts", "bundled", "--corruption", "swap", "--swap", "a"], "leave swap out"),
        (["--facts", "bundled", "--swap", "a"], "corruption 'swap' and the subjects to swap in"),
        (["--facts", "bundled", "--workers", "0"], "workers must be at least 1"),
        (["--facts", "bundled", "--address", "auto"], "an address is for executor 'ray'"),
        (["--facts", "bundled", "--limit", "1", "--model", "nothing"], "'nothing'"),
    ],
)
def test_each_mistake_is_one_line(options: list[str], message: str, tmp_path: Path, capsys):
    assert run(["sweep", "trace", "--out", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mambascope: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_show_prints_the_effects_and_draws_the_figures(swept: Path, capsys):
    assert run(["show", str(swept)]) == 0
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "facts 8 traced, 0 skipped, 1 failed" in lines
    assert any(line.startswith("failed lost: the subject 'Spain'") for line in lines)
    effects = mean_effect(open_results(swept)).sel(site="resid_post", role="last")
    (row,) = [line.split() for line in lines if line.startswith("last ")]
    assert row[1] == str(int(effects["n"][0]))
    assert row[2] == f"{float(effects['effect'].mean()):.3f}"
    assert row[3] == str(int(effects["layer"][int(effects["effect"].values.argmax())]))
    assert row[4] == f"{float(effects['effect'].max()):.3f}"
    figures = sorted((swept / "figures").iterdir())
    assert [path.suffix for path in figures].count(".png") == 2
    assert all(f"wrote {path}" in printed.out for path in figures)


def test_show_as_json_is_one_object(swept: Path, capsys):
    assert run(["show", str(swept), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["traced"], told["failed"], told["skipped"]) == (8, 1, 0)
    best = told["sites"]["resid_post"]["best"]
    assert [cell["effect"] for cell in best] == sorted((c["effect"] for c in best), reverse=True)
    roles = {row["role"]: row for row in told["sites"]["resid_post"]["by_role"]}
    assert best[0]["effect"] == max(row["effect"] for row in roles.values())
    assert all(Path(path).is_file() for path in told["files"])


def test_show_exports_the_cells(swept: Path, tmp_path: Path, capsys):
    found = open_results(swept)
    for kind in ("csv", "npz"):
        target = tmp_path / "new" / f"cells.{kind}"
        assert run(["show", str(swept), "--export", kind, "--to", str(target)]) == 0
        assert f"wrote {target}" in capsys.readouterr().out
    with (tmp_path / "new" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == int(np.isfinite(found["score"]).sum())
    read = np.load(tmp_path / "new" / "cells.npz")
    np.testing.assert_array_equal(read["score"], found["score"])


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_show_exports_into_the_folder_which_stays_a_result(
    kind: str, given: list[str], tmp_path: Path, capsys
):
    found = trace(load(given[3]), "The capital of France is", subject="France", samples=2)
    save(found, tmp_path)
    assert run(["show", str(tmp_path), "--export", kind]) == 0
    target = tmp_path / f"cells.{kind}"
    assert f"wrote {target}" in capsys.readouterr().out
    if kind == "csv":
        with target.open() as file:
            assert len(list(csv.DictReader(file))) == found["score"].size
    else:
        np.testing.assert_array_equal(np.load(target)["score"], found["score"])
    assert open_results(tmp_path)["score"].equals(found["score"])


def test_show_of_one_trace_is_its_summary(given: list[str], tmp_path: Path, capsys):
    prompt = "The capital of France is"
    save(trace(load(given[3]), prompt, subject="France", samples=2), tmp_path)
    assert run(["show", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"prompt     {prompt}\n")
    assert "best cells" in printed
    assert not (tmp_path / "figures").exists()
    assert run(["show", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == prompt


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{tmp}"], "there is no result in"),
        (["{swept}", "--to", "file"], "--to file is for --export csv or --export npz"),
        (["{swept}", "--export", "csv", "--to", "/proc/no/file"], "cannot write to /proc/no"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    options: list[str], message: str, swept: Path, tmp_path: Path, capsys
):
    assert run(["show", *(text.format(tmp=tmp_path, swept=swept) for text in options)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("mambascope: ")
    assert message in printed
    assert printed.count("\n") == 1


def test_a_model_without_a_tokenizer_is_swept_with_the_one_that_is_named(
    given: list[str], swept: Path, tmp_path: Path, capsys
):
    bare = save_as_state_spaces(load(given[3]), tmp_path / "original")
    atlas_tokenizer().save_pretrained(tmp_path / "tokenizer")
    asked = ["sweep", "trace", *given, "--model", str(bare), "--out", str(tmp_path / "out")]
    assert run(asked) == 2
    assert "has no tokenizer" in capsys.readouterr().err
    assert run([*asked, "--tokenizer", str(tmp_path / "tokenizer")]) == 0
    found = open_results(tmp_path / "out")
    assert found["score"].equals(open_results(swept)["score"])
