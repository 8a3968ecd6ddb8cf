"""Which part of the effect goes through a route: the effect that is lost when the route is severed.

The sweeps are over the same facts with the same options but for `sever`: "scan", "conv", "gate", "mixer", or any site. Routes
overlap (all of a mixer's effect is lost with the mixer), so shares need not add up to one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.tracing.aggregate.effects import fact_effects
from mambascope.methods.tracing.aggregate.matching import differences, matched, options
from mambascope.methods.tracing.aggregate.mean import (
    VERBS,
    aggregated,
    provenance,
    window_by_site,
)
from mambascope.results.schema import ROLES
from mambascope.results.statistics import (
    StatisticsConfig,
    StatisticsOptions,
    bootstrap_interval,
    statistics_config,
    summarise,
)
from mambascope.results.wording import model_in_words


def route_share(
    whole: xr.Dataset,
    severed: Mapping[str, xr.Dataset],
    *,
    normalise: bool = False,
    roles: Sequence[str] = ROLES,
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The effect that is lost when a route is severed, by route, site, layer and role.

    whole:   the sweep without anything severed
    severed: by name of the route, the sweep in which it is

    Returns dims (route, site, layer, role): what `mean_effect` does, of the effect lost (whole minus severed); and `share`,
    `share_low`, `share_high`: the sum lost over the sum of the whole effect, over facts. The share is NaN where the whole
    effect is not significantly above zero, since a part of nothing is not defined.
    Raises OutputError for sweeps that differ in more than what is severed.
    """
    config = statistics_config(**statistics)
    if not severed:
        raise OutputError("there is no severed sweep; at least one is needed")
    for route, sweep in severed.items():
        _check_pair(whole, route, sweep)
    sweeps = matched((whole, *severed.values()))
    effects = [fact_effects(sweep, normalise=normalise, roles=roles) for sweep in sweeps]
    attrs = effects[0].attrs
    full = effects[0]
    lost = xr.concat([full - part for part in effects[1:]], "route")
    lost = lost.assign_coords(route=list(severed)).transpose("fact_id", "route", ...)
    described = {
        "statistic": "route_share",
        "quantity": "effect lost",
        "title": f"effect of {VERBS[whole.attrs['direction']]} that is lost in {model_in_words(whole.attrs['model'])}",
        **provenance(whole),
    }
    found = aggregated(lost.assign_attrs(attrs), config, described, normalise=normalise)
    found = found.assign_coords(window=window_by_site(sweeps[0]))
    return found.assign(_shares(full, lost, config))


def _shares(full: xr.DataArray, lost: xr.DataArray, config: StatisticsConfig) -> dict[str, Any]:
    """Share and interval: the ratio of sums over those facts that have both."""
    there = np.isfinite(lost.values)
    above = np.where(there, lost.values, 0.0)
    below = np.where(there, full.values[:, None], 0.0)
    low, high = bootstrap_interval(above, below, config)
    total = summarise(full.values, config)
    real = (total.effect > 0) & (total.q < 1 - config.confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = above.sum(0) / below.sum(0)
    parts = {"share": share, "share_low": low, "share_high": high}
    return {name: (lost.dims[1:], np.where(real, part, np.nan)) for name, part in parts.items()}


def _check_pair(whole: xr.Dataset, route: str, sweep: xr.Dataset) -> None:
    if options(whole).get("sever") or not options(sweep).get("sever"):
        raise OutputError(
            f"route {route!r} needs a sweep with something severed, beside a whole one without"
        )
    if not set(whole["site"].values.tolist()) & set(sweep["site"].values.tolist()):
        raise OutputError(f"the sweep of route {route!r} has no site in common with the whole one")
    unlike = [name for name in differences(whole, sweep) if name not in ("sever", "site")]
    if unlike:
        raise OutputError(
            f"the sweep of route {route!r} differs from the whole one in {', '.join(unlike)}; only what is severed may differ"
        )
