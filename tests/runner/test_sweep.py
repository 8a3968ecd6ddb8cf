"""A sweep gives what tracing each fact alone gives, says what became of every fact, and does nothing twice."""

import errno
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mambascope import load, trace
from mambascope.data.fact_sets import read_facts
from mambascope.errors import ConfigError, DataError, MambascopeError, OutputError, SiteError
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import subject_statistics
from mambascope.methods.tracing.swaps import swap_subjects
from mambascope.results.schema import SWEEP, conform
from mambascope.results.stack import stack_traces
from mambascope.runner.folder import SweepFolder
from mambascope.runner.opening import fact_rows, open_results
from mambascope.runner.sweep import sweep
from tests.runner.small import (
    config_of,
    damage,
    same,
    save_facts,
    save_model,
    tables,
    traced_shards,
    unfinished,
)


@pytest.fixture(scope="module")
def finished(model: Path, facts: Path, tmp_path_factory) -> Path:
    """A finished sweep."""
    return sweep(config_of(model, facts), tmp_path_factory.mktemp("sweep") / "out")


def one_by_one(model: Path, facts: Path, dtype: str = "float32", **options):
    """The same by a plain loop over `trace`, where the subject is in the prompt."""
    loaded = load(str(model), dtype=dtype)
    taken = [fact for fact in read_facts(facts).facts if fact.subject in fact.prompt]
    of_set = subject_statistics(loaded, [(fact.prompt, fact.subject) for fact in taken])
    swaps = swap_subjects(read_facts(facts).facts, 2, 0)
    traces = []
    for fact in taken:
        if options.get("corruption") == "swap":
            options["swap"] = swaps[fact.fact_id]
        about = {"subject": fact.subject, "answer": fact.answer, "facts": of_set, "samples": 2}
        found = trace(loaded, fact.prompt, **about, **options)
        named = {"fact_id": fact.fact_id, "relation": fact.relation, "subject": fact.subject}
        traces.append(found.assign_attrs(named))
    return stack_traces(traces, failed=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"site": ("state", "mixer_out"), "direction": "corrupt"},
        {"corruption": "mean", "sever": ("scan",)},
        {"corruption": "swap"},
    ],
    ids=["noise", "corrupt", "mean", "swap"],
)
def test_a_sweep_is_a_loop_over_trace(options: dict, model: Path, facts: Path, tmp_path: Path):
    config = config_of(model, facts, dtype="float64", tracing=options, swaps=2)
    found = open_results(sweep(config, tmp_path / "out"))
    wanted = one_by_one(model, facts, "float64", **options).sel(fact_id=found["fact_id"])
    np.testing.assert_allclose(found["score"], wanted["score"], atol=1e-9, rtol=0)
    apart = found["score"].max(("layer", "position")) - found["score"].min(("layer", "position"))
    assert (apart > 1e-3).mean() > 0.5
    for name in ("clean_score", "corrupted_score"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-9, rtol=0)
    for name in (
        "token",
        "role",
        "prompt",
        "subject",
        "answer",
        "top_answer",
        "relation",
        "length",
    ):
        assert (found[name] == wanted[name]).all(), name
    shared = {name: found.attrs[name] for name in wanted.attrs if name != "config"}
    assert shared == {name: wanted.attrs[name] for name in shared}
    assert json.loads(found.attrs["config"])["samples"] == 2


def test_the_results_are_labelled_and_hold_each_fact_once(finished: Path, facts: Path):
    found = open_results(finished)
    conform(found, SWEEP)
    asked = [fact.fact_id for fact in read_facts(facts).facts]
    assert found["fact_id"].values.tolist() == asked[:-1]
    assert (found.attrs["failed"], found.attrs["skipped"]) == (1, 0)
    ends = found["position"] >= found["length"]
    assert (found["token"].values[ends.transpose("fact_id", "position")] == "").all()
    assert np.array_equal(np.isnan(found["score"].isel(site=0, layer=0)), ends.T)


def test_a_fact_that_fails_is_recorded_with_its_reason_and_stops_nothing(finished: Path):
    cells, facts = tables(finished)
    rows = {row["fact_id"]: row for row in facts.to_pylist()}
    assert len(rows) == facts.num_rows == 25
    assert rows["lost"]["status"] == "failed"
    assert "'Spain' does not occur" in rows["lost"]["reason"]
    assert rows["lost"]["clean_score"] is None
    assert {row["status"] for name, row in rows.items() if name != "lost"} == {"traced"}
    assert "lost" not in set(cells["fact_id"].to_pylist())


def test_the_tables_are_read_by_pandas_polars_and_duckdb(finished: Path):
    import duckdb
    import pandas
    import polars

    wanted = tables(finished)[0].to_pylist()
    path = str(finished / "cells.parquet")
    assert pandas.read_parquet(path).to_dict("records") == wanted
    assert polars.read_parquet(path).to_dicts() == wanted
    read = duckdb.sql(f"select * from '{path}'")
    assert [dict(zip(read.columns, row, strict=True)) for row in read.fetchall()] == wanted
    joined = duckdb.sql(
        f"select f.relation, max(c.score - f.corrupted_score) from '{path}' c "
        f"join '{finished / 'facts.parquet'}' f using (fact_id) group by 1"
    ).fetchall()
    best = max(
        row["score"] - fact["corrupted_score"]
        for fact in tables(finished)[1].to_pylist()
        for row in wanted
        if row["fact_id"] == fact["fact_id"]
    )
    assert joined == [("r", pytest.approx(best))]
    statuses = polars.read_parquet(finished / "facts.parquet")["status"].value_counts()
    assert dict(statuses.iter_rows()) == {"traced": 24, "failed": 1}
    facts = pandas.read_parquet(finished / "facts.parquet")
    assert len(facts.dropna(subset=["clean_score"])) == 24


def test_only_known_keeps_what_the_model_itself_would_say(model: Path, tmp_path: Path):
    loaded = load(str(model))
    source = read_facts(save_facts(tmp_path / "facts.jsonl")).facts[:-1]
    tops = {}
    rows = ["fact_id,prompt,subject,answer"]
    for number, fact in enumerate(source):
        logits = loaded.run(fact.prompt, logits="last").logits
        tops[fact.fact_id] = loaded.tokenizer.decode(int(logits.argmax()))
        known = number % 3 == 0 and tops[fact.fact_id].strip().isalpha()
        answer = tops[fact.fact_id].strip() if known else "no such word"
        rows.append(f'{fact.fact_id},"{fact.prompt}",{fact.subject},{answer}')
    (tmp_path / "known.csv").write_text("\n".join(rows))
    out = sweep(config_of(model, tmp_path / "known.csv", only_known=True), tmp_path / "out")
    found = open_results(out)
    told = {row["fact_id"]: row for row in tables(out)[1].to_pylist()}
    assert 0 < found.sizes["fact_id"] < 12
    assert (found["top_answer"] == found["answer"]).all()
    skipped = [row for row in told.values() if row["status"] == "skipped"]
    assert len(skipped) == found.attrs["skipped"] == 24 - found.sizes["fact_id"]
    assert all(row["top_answer"] == tops[row["fact_id"]] for row in told.values())
    assert all(f"the model answers {row['top_answer']!r}" in row["reason"] for row in skipped)


def test_a_finished_sweep_is_not_run_again(finished: Path, model: Path, facts: Path, units):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert sweep(config_of(model, facts), finished) == finished
    assert units == []
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before


def test_only_what_is_missing_or_damaged_is_done_again(
    finished: Path, model: Path, facts: Path, tmp_path: Path, units
):
    out = tmp_path / "out"
    unfinished(config_of(model, facts), out)
    damage(out / "traced")
    (out / "traced" / ".000003.0.parquet.xyz").write_bytes(b"torn")
    (out / ".cells.parquet.xyz").write_bytes(b"torn")
    units.clear()
    sweep(config_of(model, facts), out)
    assert sorted(units) == [("traced", 1), ("traced", 3)]
    assert same(out, finished)
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "cells.parquet",
        "facts.parquet",
        "manifest.json",
    ]


def test_shards_that_a_killed_end_left_are_removed(
    finished: Path, model: Path, facts: Path, tmp_path: Path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as killed:
        killed.setattr("mambascope.runner.result.clear", lambda *_: None)
        sweep(config_of(model, facts), out)
    assert traced_shards(out) == 6
    assert open_results(out).identical(open_results(finished))
    sweep(config_of(model, facts), out)
    assert not (out / "traced").exists()
    assert same(out, finished)


def test_another_configuration_is_refused(finished: Path, model: Path, facts: Path, tmp_path: Path):
    for options, named in [
        ({"batch": 5}, "batch: 4 there, 5 here"),
        ({"tracing": {"seed": 3}}, "tracing.seed: 0 there, 3 here"),
        ({"only_known": True}, "only_known: False there, True here"),
        ({"dtype": "float64"}, "dtype: 'float32' there, 'float64' here"),
    ]:
        with pytest.raises(OutputError) as error:
            sweep(config_of(model, facts, **options), finished)
        assert f"({named})" in str(error.value)
    changed = tmp_path / facts.name
    changed.write_text(facts.read_text().replace("capital", "port"))
    with pytest.raises(OutputError, match=r"facts.digest: '[0-9a-f]+' there, '[0-9a-f]+' here"):
        sweep(config_of(model, changed), finished)


def test_weights_that_changed_in_between_are_refused(facts: Path, tmp_path: Path):
    out, changing = tmp_path / "out", tmp_path / "model"
    save_model(changing, seed=1)
    unfinished(config_of(changing, facts), out)
    next((out / "traced").iterdir()).unlink()
    save_model(changing, seed=2)
    with pytest.raises(OutputError, match="results of other weights of the same model"):
        sweep(config_of(changing, facts), out)


def test_a_full_disk_is_one_error_and_the_rest_is_done_later(
    finished: Path, model: Path, facts: Path, tmp_path: Path, monkeypatch, units
):
    out, real, calls = tmp_path / "out", os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as disk:
        disk.setattr("mambascope.results.folder.os.fsync", full)
        with pytest.raises(
            OutputError, match=r"No space left on device; what was finished is kept"
        ):
            sweep(config_of(model, facts), out)
    kept = {("asked", 0), ("measured", 0), ("traced", 0), ("traced", 1)}
    assert set(units[:4]) == kept
    assert not list(out.rglob(".*.*"))
    units.clear()
    sweep(config_of(model, facts), out)
    assert not kept & set(units)
    assert same(out, finished)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_disk_that_is_really_full_is_one_error(
    finished: Path, model: Path, facts: Path, tmp_path: Path
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            sweep(config_of(model, facts), disk / "out")
        assert traced_shards(disk / "out") > 0
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        sweep(config_of(model, facts), disk / "out")
        assert same(disk / "out", finished)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tracing": TracingConfig(site="hidden")}, SiteError, "'hidden'"),
        ({"model": "no-such-model"}, MambascopeError, "no-such-model"),
        ({"facts": "no/such/file"}, DataError, "no fact set"),
        ({"device": "tpu"}, ConfigError, "device must be"),
    ],
)
def test_what_would_fail_for_every_fact_stops_at_once_and_can_be_mended(
    options: dict, error: type[Exception], message: str, model: Path, facts: Path, tmp_path: Path
):
    wrong = config_of(model, facts).model_copy(update=options)
    with pytest.raises(error, match=message):
        sweep(wrong, tmp_path / "out")
    sweep(config_of(model, facts, limit=3), tmp_path / "out")


def test_a_sweep_of_which_every_fact_fails_says_so(model: Path, tmp_path: Path):
    (tmp_path / "facts.csv").write_text("prompt,subject\nParis is in,Rome\nOslo is in,Rome\n")
    out = sweep(config_of(model, tmp_path / "facts.csv"), tmp_path / "out")
    assert [row["status"] for row in fact_rows(SweepFolder(out))] == ["failed", "failed"]
    with pytest.raises(OutputError, match="2 failed and 0 were skipped, such as 'facts-00000'"):
        open_results(out)


def test_broken_records_are_told(model: Path, tmp_path: Path):
    (tmp_path / "facts.csv").write_text("prompt,subject\nParis is in,Paris\n,Rome\n")
    with pytest.warns(UserWarning) as told:
        sweep(config_of(model, tmp_path / "facts.csv"), tmp_path / "out")
    assert [str(warning.message).split(": ", 1)[-1] for warning in told] == [
        "line 3: field 'prompt' is empty",
        "1 broken records were left out; 1 facts remain",
    ]


def test_swapped_subjects_are_chosen_by_the_sweep_itself(model: Path, facts: Path):
    with pytest.raises(ValueError, match="leave swap out"):
        config_of(model, facts, tracing={"corruption": "swap", "swap": ("Italy",)})
