"""Results for other tools: one CSV row per cell, or numpy's arrays."""

import io
import json
from typing import Any

import numpy as np
import xarray as xr


def as_csv(result: xr.Dataset) -> bytes:
    """One row per cell: the labels of its dims, its token and role, and its variables. UTF-8.

    Places past the end of a fact's prompt are left out; a cell without a score has an empty one.
    """
    kept = [name for name in ("token", "role", "length") if name in result.coords]
    plain = result.reset_coords(drop=True).assign_coords({name: result[name] for name in kept})
    rows: Any = plain.to_dataframe(dim_order=[str(dim) for dim in result.dims]).reset_index()
    if "length" in kept and "position" in rows:
        rows = rows[rows["position"] < rows["length"]]
    order = [*result.dims, *(name for name in kept if name != "length"), *result.data_vars]
    return rows[order].to_csv(index=False).encode()


def as_npz(result: xr.Dataset) -> bytes:
    """Every variable and coordinate as an array of its name; `attrs` is the attributes as a text of JSON."""
    written = io.BytesIO()
    arrays: Any = {str(name): _plain(array.values) for name, array in result.variables.items()}
    np.savez_compressed(written, **arrays, attrs=np.array(json.dumps(result.attrs)))
    return written.getvalue()


def _plain(values: np.ndarray) -> np.ndarray:
    """Texts as numpy's own, so that the file is read without pickle."""
    return values.astype(str) if values.dtype == object else values
