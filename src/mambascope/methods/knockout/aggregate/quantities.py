"""What is averaged over facts: by source, or where every position was cut by the position's role, and window."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.errors import ConfigError
from mambascope.results.schema import KNOCKOUT_SWEEP, ROLES, conform, with_sources

UNITS = {
    "score": "probability of the answer",
    "change": "% of the clean probability",
    "hit": "share of facts with the answer on top",
}


@dataclass(frozen=True)
class Quantity:
    """One quantity of a sweep.

    values: (fact_id, source, start), or (fact_id, role, start); NaN where a fact lacks it
    before: the same before anything is cut, (fact_id,)
    """

    name: str
    values: xr.DataArray
    before: xr.DataArray

    @property
    def dim(self) -> str:
        """What is cut: "source" or "role"."""
        return str(self.values.dims[1])


def quantity_of(results: xr.Dataset, name: str) -> Quantity:
    """A quantity of each fact. OutputError if this is no sweep of knockouts, ConfigError for another quantity."""
    if name not in UNITS:
        raise ConfigError(f"unknown quantity {name!r}; it is one of: {', '.join(UNITS)}")
    conform(with_sources(results), KNOCKOUT_SWEEP)
    before = {
        "score": results["clean_score"],
        "change": xr.zeros_like(results["clean_score"]),
        "hit": (results["clean_rank"] == 1).astype(float),
    }[name]
    values = results[name]
    if "position" in values.dims:
        values = _by_role(values)
    return Quantity(name, values, before.reset_coords(drop=True))


def _by_role(values: xr.DataArray) -> xr.DataArray:
    """The mean over each fact's positions of a role, for the roles that any fact has."""
    role = values["role"].values
    parts, names = [], []
    for name in ROLES:
        inside = xr.DataArray(role == name, dims=("fact_id", "position"))
        if inside.any():
            parts.append(values.where(inside).mean("position"))
            names.append(name)
    found = xr.concat(parts, "role").assign_coords(role=np.array(names))
    return found.transpose("fact_id", "role", "start")
