"""The mean effect over the facts of a sweep, by site, layer and role, and the form that all aggregates have.

Effects are averaged over the positions of a role within each fact, then over facts; intervals and tests resample facts, all
cells together (results/statistics.py).
"""

import json
from collections.abc import Sequence
from typing import Any, Unpack

import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.tracing.aggregate.effects import fact_effects
from mambascope.results.schema import EFFECT, ROLES
from mambascope.results.statistics import (
    StatisticsConfig,
    StatisticsOptions,
    statistics_config,
    summarise,
)
from mambascope.results.wording import model_in_words

VERBS = {"restore": "restoring", "corrupt": "corrupting"}
UNITS = {False: "probability of the answer", True: "share of clean minus corrupted score"}
PROVENANCE = ("model", "weights", "direction", "window", "config", "seed", "versions")


def mean_effect(
    results: xr.Dataset,
    *,
    normalise: bool = False,
    roles: Sequence[str] = ROLES,
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean effect over facts, by site, layer and role.

    results:    a sweep (`open_results`, `stack_traces`)
    normalise:  each fact's effect as a share of its clean minus its corrupted score
    roles:      those of a trace; "subject" and "all" stand for several
    statistics: confidence, resamples, flips, seed (StatisticsConfig)

    Returns dims (site, layer, role): `effect`, its interval `low`, `high`, `n` facts that have the cell, `p` of a sign-flip
    test, `q` corrected over all cells; coord `window` by site; attrs `facts`, `left_out`, and where they came from.
    """
    config = statistics_config(**statistics)
    effects = fact_effects(results, normalise=normalise, roles=roles)
    attrs = {
        "statistic": "mean_effect",
        "quantity": "effect",
        "title": f"{VERBS[results.attrs['direction']]} in {model_in_words(results.attrs['model'])}",
        **provenance(results),
    }
    found = aggregated(effects, config, attrs, normalise=normalise)
    return found.assign_coords(window=window_by_site(results))


def aggregated(
    effects: xr.DataArray, config: StatisticsConfig, attrs: dict[str, Any], *, normalise: bool
) -> xr.Dataset:
    """The summary over `fact_id` of effects by fact, its first dim, as a dataset; OutputError if there is no fact."""
    facts = effects.sizes["fact_id"]
    if not facts:
        raise OutputError("no fact is left to average over")
    found = summarise(effects.values, config)
    dims = effects.dims[1:]
    return xr.Dataset(
        {name: (dims, getattr(found, name)) for name in ("effect", "low", "high", "n", "p", "q")},
        coords={dim: effects[dim].values for dim in dims},
        attrs={
            "method": EFFECT.method,
            **attrs,
            "unit": UNITS[normalise],
            "facts": facts,
            "left_out": effects.attrs["left_out"],
            "statistics": config.model_dump_json(),
            "confidence": config.confidence,
        },
    )


def window_by_site(results: xr.Dataset) -> tuple[str, list[int]]:
    """How many layers were exchanged together, by site, as a coordinate; also of a sweep from which sites were selected."""
    sites = json.loads(results.attrs["config"])["site"]
    sites = [sites] if isinstance(sites, str) else sites
    windows = dict(zip(sites, results.attrs["window"], strict=True))
    return "site", [windows[name] for name in results["site"].values.tolist()]


def provenance(results: xr.Dataset) -> dict[str, Any]:
    """What made a sweep, in attributes."""
    return {name: results.attrs[name] for name in PROVENANCE}
