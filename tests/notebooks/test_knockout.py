"""The notebook runs from the first cell to the last, shows what its text says, and is committed without outputs."""

import re

import pytest

import mambascope as ms
from mambascope.methods.knockout.aggregate import mean_flow, source_contrast
from tests.notebooks.executed import execute, has_outputs

NOTEBOOK = "knockout.ipynb"
SECONDS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The executed notebook."""
    return execute(NOTEBOOK, tmp_path_factory.mktemp("notebook"))


@pytest.mark.slow
def test_it_runs_in_under_a_minute_and_its_sweeps_are_kept(run):
    assert 0 < run.seconds < SECONDS
    assert "equal to the plain run: True" in run.text("by_hand")
    for name in ("atlas-mamba1", "atlas-mamba2", "atlas-transformer"):
        assert (run.folder / "out" / name / "cells.parquet").is_file()


@pytest.mark.slow
def test_it_shows_figures_and_the_results_own_numbers(run):
    for word in ("sources = [", "each = ", "flow = mean_flow", "models_figure(*models)"):
        assert run.pictures(word) == 1, word
    found = ms.knockout(
        ms.load("atlas-mamba2"), "The capital of France is", subject="France", window=3
    )
    shown = run.text("result = ms.knockout")
    assert f"clean {found.attrs['clean_score']:.3f}" in shown
    lowest = float(found["score"].min())
    assert re.search(rf"\b{lowest:.3f}".rstrip("0"), shown)
    apart = source_contrast(ms.open_results(run.folder / "out" / "atlas-mamba2"), "subject")
    assert f"{float(apart['effect'].min()):.1f}" in run.text("apart = source_contrast")


@pytest.mark.slow
def test_what_its_text_says_of_the_routes_and_the_control_is_so(run):
    rows = {
        line.split()[0]: [float(number) for number in line.split()[1:]]
        for line in run.text("plant(name").splitlines()
        if line.split()[:1] in (["latch"], ["shift"])
    }
    both, conv, scan = 0, 1, 2  # pivoted, in the order of the alphabet
    assert rows["latch"][scan] < -50 < -5 < rows["latch"][conv]
    assert rows["shift"][conv] < -50 < -5 < rows["shift"][scan]
    assert all(own[both] < -50 for own in rows.values())
    flow = mean_flow(ms.open_results(run.folder / "out" / "atlas-mamba2"))
    lowest = flow["effect"].min("start")
    assert float(lowest.sel(source="subject")) < 2 * float(lowest.sel(source="random:subject")) < 0


def test_it_is_committed_without_outputs():
    assert not has_outputs(NOTEBOOK)
