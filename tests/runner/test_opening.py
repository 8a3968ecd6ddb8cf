"""Results come back from their folder labelled: of a trace, of a sweep, of one that is not finished; else an error."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mambascope as ms
from mambascope.errors import OutputError
from mambascope.results import save
from mambascope.runner.sweep import sweep
from tests.runner.small import config_of


@pytest.fixture(scope="module")
def finished(model: Path, facts: Path, tmp_path_factory) -> Path:
    """A finished sweep over two sites."""
    config = config_of(model, facts, tracing={"site": ("resid_post", "state")})
    return sweep(config, tmp_path_factory.mktemp("finished") / "out")


@pytest.fixture(scope="module")
def unfinished(model: Path, facts: Path, tmp_path_factory) -> Path:
    """The same sweep without its end, and without two of its six batches."""
    out = tmp_path_factory.mktemp("unfinished") / "out"
    config = config_of(model, facts, tracing={"site": ("resid_post", "state")})
    with pytest.MonkeyPatch.context() as never:
        never.setattr("mambascope.runner.sweep.finish", lambda *_: None)
        sweep(config, out)
    for shard in sorted((out / "traced").iterdir())[2:4]:
        shard.unlink()
    return out


def test_a_sweep_can_be_saved_and_loaded_like_any_result(finished: Path, tmp_path: Path):
    found = ms.open_results(finished)
    assert found.sizes == {"fact_id": 24, "site": 2, "layer": 2, "position": 14}
    assert found["score"].sel(fact_id="f0", site="state", position=1).dims == ("layer",)
    save(found, tmp_path)
    xr.testing.assert_identical(ms.open_results(tmp_path), found)


def test_an_unfinished_sweep_gives_what_is_there_with_a_warning(finished: Path, unfinished: Path):
    with pytest.warns(UserWarning, match="is not finished: 17 of 25 facts are done"):
        found = ms.open_results(unfinished)
    whole = ms.open_results(finished)
    assert found.sizes["fact_id"] == 16
    assert found.attrs == whole.attrs
    part = whole.sel(fact_id=found["fact_id"]).isel(position=found["position"].values)
    np.testing.assert_array_equal(found["score"], part["score"])
    assert (found["token"] == part["token"]).all()


def test_the_results_of_one_trace_are_as_they_were_saved(trace_result, tmp_path: Path):
    save(trace_result(), tmp_path)
    xr.testing.assert_identical(ms.open_results(tmp_path), trace_result())
    xr.testing.assert_identical(ms.open_results(tmp_path / "result.parquet"), trace_result())


def test_where_there_are_no_results_is_an_error(tmp_path: Path, finished: Path):
    with pytest.raises(OutputError, match="there is no result in"):
        ms.open_results(tmp_path)
    with pytest.raises(OutputError, match="there is no result in"):
        ms.open_results(tmp_path / "absent")
    (tmp_path / "manifest.json").write_bytes((finished / "manifest.json").read_bytes())
    with (
        pytest.warns(UserWarning, match="0 of 25 facts"),
        pytest.raises(OutputError, match="no fact of this sweep is done yet"),
    ):
        ms.open_results(tmp_path)


@pytest.mark.parametrize("name", ["cells.parquet", "facts.parquet"])
def test_damaged_tables_are_an_error(name: str, finished: Path, tmp_path: Path):
    for path in finished.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-10])
    with pytest.raises(OutputError, match="cannot read"):
        ms.open_results(tmp_path)
