"""The effect of each exchange in each fact of a sweep, by position and by role: what every aggregate is made of.

Restoring: how far the score rises above the corrupted run's. Corrupting: how far it falls below the clean run's. Either way
positive where the exchange did what it is meant to show.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from mambascope.errors import ConfigError, OutputError
from mambascope.results.schema import ROLES, SWEEP, conform

SMALLEST_DROP = 0.05
"""A fact whose clean and corrupted score differ by less is left out where effects are divided by that difference."""
UNIONS = {
    "subject": ("subject_first", "subject_middle", "subject_last"),
    "all": ROLES,
}
"""Roles that stand for several."""


def position_effects(results: xr.Dataset, *, normalise: bool = False) -> xr.DataArray:
    """The effect of each cell of each fact: dims (fact_id, site, layer, position), coords as in the sweep.

    In units of probability, or with `normalise` as a share of the difference between clean and corrupted score. Facts where
    that is below SMALLEST_DROP are then left out, and counted in attrs `left_out`.
    Raises OutputError if this is no sweep, or if no fact is left.
    """
    conform(results, SWEEP)
    if not normalise:
        return _effects(results).assign_attrs(left_out=0)
    drop = results["clean_score"] - results["corrupted_score"]
    kept = results.isel(fact_id=np.flatnonzero(drop.values >= SMALLEST_DROP))
    if not kept.sizes["fact_id"]:
        raise OutputError(
            f"no fact's clean score lies {SMALLEST_DROP} above its corrupted score, so none can be normalised"
        )
    effects = _effects(kept) / (kept["clean_score"] - kept["corrupted_score"])
    left_out = results.sizes["fact_id"] - kept.sizes["fact_id"]
    return effects.assign_attrs(left_out=left_out)


def fact_effects(
    results: xr.Dataset, *, normalise: bool = False, roles: Sequence[str] = ROLES
) -> xr.DataArray:
    """The effect in each fact, averaged over the positions of each role: dims (fact_id, site, layer, role).

    roles: those of a trace, "subject" for its three, "all" for every position; NaN where a fact lacks the role.
    """
    at = position_effects(results, normalise=normalise)
    means = xr.concat([role_mean(at, role) for role in roles], "role")
    found = means.assign_coords(role=list(roles)).transpose("fact_id", "site", "layer", "role")
    return found.assign_attrs(at.attrs)


def role_mean(effects: xr.DataArray, role: str) -> xr.DataArray:
    """The mean over the positions of one role in each fact: dims (fact_id, site, layer), NaN where there is none."""
    mean = effects.where(in_role(effects, role)).mean("position")
    return mean.transpose("fact_id", "site", "layer").reset_coords(drop=True)


def in_role(effects: xr.DataArray, role: str) -> xr.DataArray:
    """Which positions of each fact have the role: dims (fact_id, position); ConfigError if there is no such role."""
    if role not in (*ROLES, *UNIONS):
        raise ConfigError(f"there is no role {role!r}; there are {', '.join((*ROLES, *UNIONS))}")
    return effects["role"].isin(UNIONS.get(role, (role,)))


def _effects(results: xr.Dataset) -> xr.DataArray:
    if results.attrs["direction"] == "restore":
        return results["score"] - results["corrupted_score"]
    return results["clean_score"] - results["score"]
