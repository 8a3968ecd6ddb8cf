"""The notebook runs from the first cell to the last, shows what its text says, and is committed without outputs."""

import re
import resource
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import mambascope as ms
from mambascope.methods.knockout.aggregate import mean_flow, source_contrast

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "knockout.ipynb"
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


@pytest.mark.slow
def test_it_runs_in_under_a_minute_and_its_sweeps_are_kept(run):
    notebook, seconds, folder = run
    assert 0 < seconds < SECONDS
    assert "equal to the plain run: True" in text(outputs(notebook, "by_hand"))
    for name in ("atlas-mamba1", "atlas-mamba2", "atlas-transformer"):
        assert (folder / "out" / name / "cells.parquet").is_file()


@pytest.mark.slow
def test_it_shows_figures_and_the_results_own_numbers(run):
    notebook, _, folder = run
    for word in ("sources = [", "each = ", "flow = mean_flow", "models_figure(*models)"):
        assert sum("image/png" in o.get("data", {}) for o in outputs(notebook, word)) == 1, word
    found = ms.knockout(
        ms.load("atlas-mamba2"), "The capital of France is", subject="France", window=3
    )
    shown = text(outputs(notebook, "result = ms.knockout"))
    assert f"clean {found.attrs['clean_score']:.3f}" in shown
    lowest = float(found["score"].min())
    assert re.search(rf"\b{lowest:.3f}".rstrip("0"), shown)
    told = text(outputs(notebook, "apart = source_contrast"))
    apart = source_contrast(ms.open_results(folder / "out" / "atlas-mamba2"), "subject")
    assert f"{float(apart['effect'].min()):.1f}" in told


@pytest.mark.slow
def test_what_its_text_says_of_the_routes_and_the_control_is_so(run):
    notebook, _, folder = run
    rows = {
        line.split()[0]: [float(number) for number in line.split()[1:]]
        for line in text(outputs(notebook, "plant(name")).splitlines()
        if line.split()[:1] in (["latch"], ["shift"])
    }
    both, conv, scan = 0, 1, 2  # pivoted, in the order of the alphabet
    assert rows["latch"][scan] < -50 < -5 < rows["latch"][conv]
    assert rows["shift"][conv] < -50 < -5 < rows["shift"][scan]
    assert all(own[both] < -50 for own in rows.values())
    flow = mean_flow(ms.open_results(folder / "out" / "atlas-mamba2"))
    lowest = flow["effect"].min("start")
    assert float(lowest.sel(source="subject")) < 2 * float(lowest.sel(source="random:subject")) < 0


def test_it_is_committed_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
