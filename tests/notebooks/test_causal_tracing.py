"""The notebook runs from the first cell to the last, shows what its text says, and is committed without outputs."""

import resource
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import mambascope as ms

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "causal_tracing.ipynb"
SECONDS = 60


def computing():
    """Seconds that finished child processes, such as a notebook's kernel, have computed; waiting for others not counted."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The executed notebook, the seconds of computing that it took, and its folder."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        before = computing()
        client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
        client.execute()  # raises where a cell does
    return notebook, computing() - before, folder


def outputs(notebook, word):
    """The outputs of the one cell whose source has the word."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and word in c.source]
    return cell.outputs


def text(found):
    """What the outputs show as plain text."""
    return "\n".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in found)


def pictures(found):
    """How many figures the outputs show."""
    return sum("image/png" in o.get("data", {}) for o in found)


@pytest.mark.slow
def test_it_runs_in_under_a_minute_and_keeps_its_result(run):
    notebook, seconds, folder = run
    assert 0 < seconds < SECONDS
    assert "equal to what was saved: True" in text(outputs(notebook, "save(result"))
    assert (folder / "out" / "trace-notebook" / "result.parquet").is_file()


@pytest.mark.slow
def test_it_shows_predictions_figures_and_the_traces_own_numbers(run):
    notebook = run[0]
    assert "Paris" in text(outputs(notebook, "def top_five"))
    for word in ("trace_figure(result", 'site="mixer_out"', '"all tokens"', "for name in BUNDLED"):
        assert pictures(outputs(notebook, word)) == 1
    traced = ms.trace(ms.load("atlas-mamba1"), "The capital of France is", subject="France")
    shown = text(outputs(notebook, "result = ms.trace"))
    assert f"clean {traced.attrs['clean_score']:.3f}" in shown
    assert f"corrupted {traced.attrs['corrupted_score']:.3f}" in shown


@pytest.mark.slow
def test_every_bundled_model_is_traced_or_said_to_be_absent(run):
    shown = text(outputs(run[0], "for name in BUNDLED"))
    assert "atlas-mamba1" in shown
    for name in ("atlas-mamba2", "atlas-transformer"):
        assert name in shown


def test_it_is_committed_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
