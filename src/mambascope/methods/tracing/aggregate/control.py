"""The effect at a role beside a matched random control: another position of the same prompt, drawn for each fact."""

import zlib
from collections.abc import Sequence
from typing import Unpack

import numpy as np
import xarray as xr

from mambascope.methods.tracing.aggregate.effects import in_role, position_effects, role_mean
from mambascope.methods.tracing.aggregate.mean import (
    VERBS,
    aggregated,
    provenance,
    window_by_site,
)
from mambascope.results.schema import ROLES
from mambascope.results.statistics import StatisticsOptions, statistics_config, summarise
from mambascope.results.wording import model_in_words


def random_control(
    results: xr.Dataset,
    *,
    normalise: bool = False,
    roles: Sequence[str] = ROLES[1:],
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts of the effect at a role minus that at a random other position of the same prompt.

    The position is drawn for each fact and role by the seed and the fact's id, the same for all sites and layers and whatever
    other facts there are; never one of the role, and none before the subject, where nothing can have an effect. A fact
    without such a position is left out of that role.

    Returns what `mean_effect` does, of the difference; and of the two sides on the same facts `role_effect`, `role_low`,
    `role_high`, `control_effect`, `control_low`, `control_high`.
    """
    config = statistics_config(**statistics)
    at = position_effects(results, normalise=normalise)
    names = list(roles)
    pairs = [_pair(at, role, config.seed) for role in names]
    own = xr.concat([pair[0] for pair in pairs], "role").transpose(..., "role")
    other = xr.concat([pair[1] for pair in pairs], "role").transpose(..., "role")
    difference = (own - other).assign_coords(role=names).assign_attrs(at.attrs)
    attrs = {
        "statistic": "random_control",
        "quantity": "effect at the role minus control",
        "title": f"{VERBS[results.attrs['direction']]} at the role minus at a random other position, "
        f"in {model_in_words(results.attrs['model'])}",
        **provenance(results),
    }
    found = aggregated(difference, config, attrs, normalise=normalise)
    for name, side in (("role", own), ("control", other)):
        summary = summarise(side.values, config)
        for part in ("effect", "low", "high"):
            found[f"{name}_{part}"] = (found["effect"].dims, getattr(summary, part))
    return found.assign_coords(window=window_by_site(results))


def _pair(at: xr.DataArray, role: str, seed: int) -> tuple[xr.DataArray, xr.DataArray]:
    """The effect at the role and at the control, each (fact_id, site, layer), NaN where a fact lacks either."""
    inside = in_role(at, role)
    finite = at.notnull().all(("site", "layer"))
    allowed = finite & ~inside & ~at["role"].isin(("", "before"))
    order = xr.DataArray(_priorities(at, role, seed), dims=("fact_id", "position"))
    chosen = order.where(allowed, -1.0).argmax("position")
    plain = at.reset_coords(drop=True)
    control = plain.isel(position=chosen.reset_coords(drop=True))
    control = control.where(allowed.any("position").reset_coords(drop=True))
    own = role_mean(at, role)
    both = own.notnull() & control.notnull()
    return own.where(both), control.where(both)


def _priorities(at: xr.DataArray, role: str, seed: int) -> np.ndarray:
    """Random numbers in [0, 1) by fact and position, a function of seed, role and fact alone."""
    length = at.sizes["position"]
    keys = [zlib.crc32(f"{role}/{name}".encode()) for name in at["fact_id"].values.tolist()]
    return np.stack([np.random.default_rng([seed, key]).random(length) for key in keys])
