"""The manifest: what a result is and what made it, as one JSON object.

`attrs` are the dataset's own. Beside them stand its shape, so that it can be read back, and the circumstances of the
writing: when, by which command, on what machine, with which versions.
"""

import json
import math
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import xarray as xr

from mambascope.errors import OutputError

FORMAT = 1
PACKAGES = ("mambascope", "torch", "transformers", "numpy", "xarray", "numba")


def versions() -> dict[str, str]:
    """Python and the packages that a result's numbers can depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def circumstances(method: str) -> dict[str, Any]:
    """What every manifest begins with: the method, and when, how and with what it was run."""
    return {
        "format": FORMAT,
        "method": method,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "platform": platform.platform(),
        "versions": versions(),
    }


def manifest(result: xr.Dataset) -> dict[str, Any]:
    """The manifest of a result that is being written now."""
    return {
        **circumstances(result.attrs["method"]),
        "dims": {str(name): size for name, size in result.sizes.items()},
        "coords": {str(name): _described(array) for name, array in result.coords.items()},
        "variables": {str(name): _described(array) for name, array in result.data_vars.items()},
        "attrs": result.attrs,
    }


def to_json(manifest: dict[str, Any]) -> str:
    """The manifest as standard JSON; numbers that JSON lacks are written as {"$float": "nan"}."""
    return json.dumps(_plain(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str | bytes) -> dict[str, Any]:
    """A manifest that `to_json` wrote; OutputError if it is none, or one of a later format."""
    try:
        read = json.loads(text, object_hook=_float_back)
    except ValueError as error:
        raise OutputError(f"the manifest is not readable as JSON: {error}") from error
    found = read.get("format") if isinstance(read, dict) else None
    if found != FORMAT:
        raise OutputError(f"the manifest has format {found!r}; this version reads format {FORMAT}")
    return read


def _described(array: xr.DataArray) -> dict[str, Any]:
    return {"dims": list(array.dims), "dtype": array.dtype.str, "attrs": array.attrs}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def _float_back(read: dict[str, Any]) -> Any:
    return float(read["$float"]) if read.keys() == {"$float"} else read
