"""Results come back from disk as they went, or one clear error says why not."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mambascope.errors import OutputError
from mambascope.results import load, save


def small_result() -> xr.Dataset:
    return xr.Dataset(
        {
            "score": (("layer", "position"), np.array([[0.25, np.nan, 1.0], [0.5, 0.75, 0.0]])),
            "count": ("position", np.array([1, 2, 3], dtype=np.int32), {"unit": "tokens"}),
            "total": ((), np.float32(0.1)),
        },
        coords={
            "layer": [3, 7],
            "token": ("position", ["The", "\u00b7K\u00f8benhavn", ""]),
            "known": ("position", [True, False, True]),
        },
        attrs={
            "method": "trace",
            "answer": "Paris",
            "clean_score": 0.1,
            "window": None,
            "worst": float("nan"),
            "best": float("inf"),
            "options": {"sites": ["state", "u"], "seed": 3},
        },
    )


def test_a_result_comes_back_labelled_and_equal(tmp_path: Path):
    result = small_result()
    save(result, tmp_path)
    back = load(tmp_path)
    xr.testing.assert_identical(back, result)
    assert {name: v.dtype for name, v in back.variables.items()} == {
        name: v.dtype for name, v in result.variables.items()
    }
    assert [back[name].dims for name in back.data_vars] == [
        ("layer", "position"),
        ("position",),
        (),
    ]
    assert list(back.sizes) == list(result.sizes)


def test_the_table_alone_is_the_whole_result(tmp_path: Path):
    save(small_result(), tmp_path)
    moved = (tmp_path / "result.parquet").rename(tmp_path / "elsewhere.parquet")
    xr.testing.assert_identical(load(moved), small_result())


def test_the_table_is_long_with_one_row_per_cell(tmp_path: Path):
    save(small_result(), tmp_path)
    rows = pq.read_table(tmp_path / "result.parquet").to_pylist()
    assert len(rows) == 2 * 3
    assert rows[5] == {
        "layer": 7,
        "position": 2,
        "token": "",
        "known": True,
        "score": 0.0,
        "count": 3,
        "total": pytest.approx(0.1),
    }


def test_the_manifest_is_standard_json_with_shape_and_versions(tmp_path: Path):
    save(small_result(), tmp_path)

    def refuse(word: str):
        raise AssertionError(f"{word} is not JSON")

    read = json.loads((tmp_path / "manifest.json").read_text(), parse_constant=refuse)
    assert read["method"] == "trace"
    assert read["dims"] == {"layer": 2, "position": 3}
    assert read["variables"]["score"]["dims"] == ["layer", "position"]
    assert read["attrs"]["answer"] == "Paris"
    assert {"python", "torch", "numpy", "mambascope"} <= read["versions"].keys()


values = arrays.arrays(
    st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_, "<U3"]),
    arrays.array_shapes(min_dims=0, max_dims=4, max_side=4),
)


@settings(max_examples=60, deadline=None)
@given(values=values, shuffle=st.randoms(use_true_random=False))
def test_any_array_comes_back_equal(values: np.ndarray, shuffle, tmp_path_factory):
    dims = [f"dim{n}" for n in range(values.ndim)]
    variables = {
        "value": (dims, values),
        "first": (dims[:1], values.reshape(-1)[: len(values)] if dims else values),
    }
    order = shuffle.sample(dims, len(dims))
    result = xr.Dataset(variables, attrs={"method": "any"}).assign(
        turned=xr.DataArray(values, dims=dims).transpose(*order)
    )
    folder = tmp_path_factory.mktemp("any")
    save(result, folder)
    back = load(folder)
    xr.testing.assert_identical(back, result)
    assert back["turned"].dims == tuple(order)
    assert back["value"].dtype == values.dtype


def test_an_earlier_result_of_the_same_method_is_replaced(tmp_path: Path):
    save(small_result(), tmp_path, {"trace.png": b"old"})
    save(small_result().assign_attrs(answer="Lyon"), tmp_path, {"trace.png": b"new"})
    assert load(tmp_path).attrs["answer"] == "Lyon"
    assert (tmp_path / "trace.png").read_bytes() == b"new"


def test_a_full_disk_leaves_the_earlier_result_and_no_other_file(tmp_path: Path, monkeypatch):
    save(small_result(), tmp_path, {"trace.png": b"old"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    calls = iter([None, full])

    def fsync(handle: int) -> None:
        if error := next(calls):
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match=r"cannot write to .*: No space left on device"):
        save(small_result().assign_attrs(answer="Lyon"), tmp_path, {"trace.png": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failed_first_write_leaves_no_folder(tmp_path: Path, monkeypatch):
    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError):
        save(small_result(), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_attrs(), r"attrs\['method'\]"),
        (lambda ds: ds.drop_vars(list(ds.data_vars)), "at least one variable"),
        (lambda ds: ds.isel(layer=slice(0)), "dim 'layer' of the result is empty"),
        (lambda ds: ds.assign(z=("layer", np.array([1j, 2j]))), "'z' has dtype complex128"),
        (
            lambda ds: ds.assign(z=("layer", np.array([{}, 1], dtype=object))),
            "'z' has dtype object",
        ),
        (lambda ds: ds.assign_attrs(bad=np.arange(3)), r"attrs\['bad'\] holds a ndarray"),
        (lambda ds: ds.assign_attrs(bad={1: "x"}), "keys must be strings"),
        (lambda ds: ds.stack(cell=("layer", "position")), "'cell' has dtype object"),
    ],
)
def test_what_cannot_come_back_equal_is_refused(change, message: str, tmp_path: Path):
    with pytest.raises(OutputError, match=message):
        save(change(small_result()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_result_is_not_read(tmp_path: Path):
    for missing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(OutputError, match=f"there is no result in {missing}; name a folder"):
            load(missing)
    (tmp_path / "result.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(OutputError, match="cannot read a result from"):
        load(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "result.parquet")
    with pytest.raises(OutputError, match="not a result that mambascope wrote"):
        load(tmp_path)
