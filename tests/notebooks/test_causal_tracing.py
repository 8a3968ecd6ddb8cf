"""The notebook runs from the first cell to the last, shows what its text says, and is committed without outputs."""

import pytest

import mambascope as ms
from tests.notebooks.executed import execute, has_outputs

NOTEBOOK = "causal_tracing.ipynb"
SECONDS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The executed notebook."""
    return execute(NOTEBOOK, tmp_path_factory.mktemp("notebook"))


@pytest.mark.slow
def test_it_runs_in_under_a_minute_and_keeps_its_result(run):
    assert 0 < run.seconds < SECONDS
    assert "equal to what was saved: True" in run.text("save(result")
    assert (run.folder / "out" / "trace-notebook" / "result.parquet").is_file()


@pytest.mark.slow
def test_it_shows_predictions_figures_and_the_traces_own_numbers(run):
    assert "Paris" in run.text("def top_five")
    for word in ("trace_figure(result", 'site="mixer_out"', '"all tokens"', "for name in BUNDLED"):
        assert run.pictures(word) == 1
    traced = ms.trace(ms.load("atlas-mamba1"), "The capital of France is", subject="France")
    shown = run.text("result = ms.trace")
    assert f"clean {traced.attrs['clean_score']:.3f}" in shown
    assert f"corrupted {traced.attrs['corrupted_score']:.3f}" in shown


@pytest.mark.slow
def test_every_bundled_model_is_traced_or_said_to_be_absent(run):
    shown = run.text("for name in BUNDLED")
    assert "atlas-mamba1" in shown
    for name in ("atlas-mamba2", "atlas-transformer"):
        assert name in shown


def test_it_is_committed_without_outputs():
    assert not has_outputs(NOTEBOOK)
