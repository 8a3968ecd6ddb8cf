"""Results on disk: a folder with `result.parquet` and `manifest.json`.

The table is long: one row per cell, with the labels of its dims, the other coordinates and the variables as columns, so
that any data-frame tool reads it. It carries the manifest inside, so the file alone gives back the labelled dataset and
the two cannot fall apart; `manifest.json` is the same text for people and other tools.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results.folder import MANIFEST, TABLE, check_folder, write_files
from mambascope.results.manifest import from_json, manifest, to_json
from mambascope.results.schema import check

METADATA_KEY = b"mambascope"


def save(
    result: xr.Dataset, folder: str | Path, figures: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Write a result, and figures of it by file name, into a folder; returns the paths.

    All files or none. Replaces an earlier result of the same method.
    Raises OutputError if the folder cannot be written to or holds something else.
    """
    folder = Path(folder)
    check(result)
    check_folder(folder, result.attrs["method"])
    described = to_json(manifest(result))
    files = {TABLE: _parquet(result, described), MANIFEST: described.encode()}
    return write_files(folder, {**(figures or {}), **files})


def load(path: str | Path) -> xr.Dataset:
    """The result in a folder, or in a `result.parquet`, equal to what was saved; OutputError if there is none."""
    path = Path(path)
    file = path / TABLE if path.is_dir() else path
    try:
        table = pq.read_table(file)
    except FileNotFoundError as error:
        raise OutputError(
            f"there is no result in {path}; name a folder that was given to --out"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"cannot read a result from {file}: {error}") from error
    described = (table.schema.metadata or {}).get(METADATA_KEY)
    if described is None:
        raise OutputError(f"{file} is a table, but not a result that mambascope wrote")
    return _dataset(table, from_json(described))


def _parquet(result: xr.Dataset, described: str) -> bytes:
    sizes = {str(name): size for name, size in result.sizes.items()}
    labels = {dim: np.arange(size) for dim, size in sizes.items() if dim not in result.coords}
    full = result.assign_coords(labels)
    names = [*sizes, *(name for name in full.variables if name not in sizes)]
    columns = {str(name): _column(full[name].variable, sizes) for name in names}
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: described.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _column(array: xr.Variable, sizes: dict[str, int]) -> pa.Array:
    cells = array.set_dims(sizes).transpose(*sizes).values.ravel()
    return pa.array(cells.tolist(), pa.string()) if cells.dtype.kind in "OU" else pa.array(cells)


def _dataset(table: pa.Table, described: dict[str, Any]) -> xr.Dataset:
    sizes = described["dims"]

    def read(entries: dict[str, Any]) -> dict[str, xr.Variable]:
        return {name: _variable(table, name, entry, sizes) for name, entry in entries.items()}

    return xr.Dataset(read(described["variables"]), read(described["coords"]), described["attrs"])


def _variable(
    table: pa.Table, name: str, entry: dict[str, Any], sizes: dict[str, int]
) -> xr.Variable:
    cells = table[name].to_numpy().astype(entry["dtype"]).reshape(tuple(sizes.values()))
    own = [dim for dim in sizes if dim in entry["dims"]]
    once = tuple(slice(None) if dim in own else 0 for dim in sizes)
    kept = cells[(*once, ...)]  # the dots keep a single cell an array of its dtype
    return xr.Variable(own, kept, entry["attrs"]).transpose(*entry["dims"])
