"""A sweep of ledgers is `ledger_many` on the machinery of all sweeps: same numbers, gone on with, opened, and averaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from mambascope import load, open_results
from mambascope.data.fact_prompt import FactFailure
from mambascope.data.fact_sets import read_facts
from mambascope.errors import ModelError, OutputError
from mambascope.methods.ledger.many import ledger_many
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.results import save
from mambascope.results.ledger import LEDGER_SWEEP, ROUTES
from mambascope.results.schema import conform
from mambascope.runner.config import LedgerSweep
from mambascope.runner.sweep import sweep
from tests.runner.small import damage, same, tables, unfinished

SOURCES = ("before", "subject_last", "random:subject_last")


def ledger_of(model: Path, facts: Path, **options) -> LedgerSweep:
    """A sweep of ledgers in small batches; in float64, since a random model's log-odds are far from zero."""
    ledger = {"source": SOURCES, **options.pop("ledger", {})}
    given = {"facts": str(facts), "model": str(model), "batch": 4, "dtype": "float64"}
    return LedgerSweep(**given, ledger=ledger, **options)


@pytest.fixture(scope="module")
def finished(model: Path, facts: Path, tmp_path_factory) -> Path:
    """A finished sweep."""
    return sweep(ledger_of(model, facts), tmp_path_factory.mktemp("sweep") / "out")


@pytest.fixture(scope="module")
def alone(model: Path, facts: Path):
    """The same facts by `ledger_many`, without those that fail."""
    config = ledger_of(model, facts).ledger
    found = ledger_many(load(str(model), dtype="float64"), read_facts(facts).facts, config)
    return [each for each in found if not isinstance(each, FactFailure)]


def test_rows_are_those_of_ledger_many(finished: Path, alone):
    found = open_results(finished)
    conform(found, LEDGER_SWEEP)
    assert found["source"].values.tolist() == list(SOURCES)
    assert found["fact_id"].values.tolist() == [each.attrs["fact_id"] for each in alone]
    absent = 0
    for each in alone:
        own = found.sel(fact_id=each.attrs["fact_id"])
        for source in SOURCES:
            here = own.sel(source=source)
            if source not in each["source"].values:
                absent += 1
                assert here["screened"].isnull().all() and not here["confirmed"].any()
                assert here["positions"].item() == "" and np.isnan(here["whole"].item())
                continue
            wanted = each.sel(source=source)
            for name in LEDGER_SWEEP.variables:
                np.testing.assert_allclose(here[name], wanted[name], atol=1e-8, err_msg=name)
            assert here["positions"].item() == wanted["positions"].item()
        for name in ("clean_score", "agreement_total"):
            np.testing.assert_allclose(own[name].item(), each.attrs[name], atol=1e-8)
        assert own["answer"].item() == each.attrs["answer"]
    assert absent == 8  # prompts that begin with their subject have nothing before it
    assert np.nanmax(np.abs(found["single"])) > 0.01


def test_cells_are_a_tidy_table(finished: Path):
    cells, facts = tables(finished)
    rows = cells.to_pandas()
    keys = ["fact_id", "source", "layer", "term"]
    assert not rows.duplicated(keys).any()
    assert set(rows["term"]) == {*ROUTES, "interaction", "total"}
    wide = rows.pivot(index=keys[:3], columns="term", values="single")
    np.testing.assert_allclose(wide.drop(columns="total").sum(axis=1), wide["total"], atol=1e-9)
    lacking = rows["screened"].isna()
    assert set(rows.loc[lacking, "term"]) == {"interaction"} and cells["screened"].null_count > 0
    status = {row["fact_id"]: row["status"] for row in facts.to_pylist()}
    assert status.pop("lost") == "failed" and set(status.values()) == {"entered"}


def test_the_mean_of_a_sweep_is_that_of_its_ledgers(finished: Path, alone, tmp_path: Path):
    found = open_results(finished)
    few = {"resamples": 200, "flips": 99}
    for form in ("single", "shapley"):
        mean, wanted = (mean_ledger(each, form=form, **few) for each in (found, alone))
        wanted = wanted.sel(source=mean["source"].values)
        for name in ("effect", "low", "high", "n", "above_effect", "above_low", "above_n"):
            np.testing.assert_allclose(mean[name], wanted[name], atol=1e-8, err_msg=name)
    assert mean["above_effect"].sel(source="subject_last").notnull().all()
    assert mean.attrs["facts"] == 24
    save(found, tmp_path / "again")
    assert open_results(tmp_path / "again").identical(found)


def test_only_what_is_missing_is_done_again_and_the_end_is_the_same(
    finished: Path, model: Path, facts: Path, tmp_path: Path, units
):
    out = tmp_path / "out"
    unfinished(ledger_of(model, facts), out)
    damage(out / "entered")
    with pytest.warns(UserWarning, match="is not finished"):
        assert open_results(out).sizes["fact_id"] == 16
    units.clear()
    sweep(ledger_of(model, facts), out)
    assert sorted(units) == [("entered", 1), ("entered", 3)]
    assert same(out, finished)


def test_what_was_screened_only_is_kept_but_not_averaged(model: Path, facts: Path, tmp_path: Path):
    out = sweep(ledger_of(model, facts, limit=4, ledger={"confirm": 1, "audit": 0}), tmp_path / "o")
    found = open_results(out)
    assert (found["confirmed"].sum(("layer", "source")) == 1).all()
    exact, every = (int(found[name].notnull().sum()) for name in ("total", "screened_total"))
    assert found.sizes["fact_id"] == exact < every
    assert json.loads(found.attrs["config"])["confirm"] == 1
    with pytest.raises(OutputError, match=r"only the largest cells .* confirm at least 6"):
        mean_ledger(found)


def test_a_transformer_is_refused_at_once(facts: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="is a transformer"):
        sweep(ledger_of(Path("atlas-transformer"), facts), tmp_path / "out")
