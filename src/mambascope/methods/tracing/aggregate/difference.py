"""How the effect differs between two sweeps over the same facts: another model, site, corruption or severed route."""

import zlib
from collections.abc import Sequence
from typing import Unpack

import numpy as np
import xarray as xr

from mambascope.errors import ConfigError, OutputError
from mambascope.methods.tracing.aggregate.effects import fact_effects
from mambascope.methods.tracing.aggregate.matching import matched, told_apart
from mambascope.methods.tracing.aggregate.mean import aggregated, provenance
from mambascope.results.schema import ROLES
from mambascope.results.statistics import StatisticsOptions, statistics_config


def paired_difference(
    a: xr.Dataset,
    b: xr.Dataset,
    *,
    by: str = "layer",
    names: tuple[str, str] | None = None,
    normalise: bool = False,
    roles: Sequence[str] = ROLES,
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts of the effect in sweep `a` minus the effect in sweep `b`, matched by fact.

    by:    "layer": layer by layer, in models of equal depth. "peak": at each sweep's best layer, in models of any depth; each
           half of the facts is read at the layer where the mean effect of the other half is largest, since a peak that is
           picked and read on the same facts is too high
    names: what the sweeps are called, by default the models or options that tell them apart

    Sites of the same name are compared; where both sweeps have one site only, those two are. A fact that one sweep lacks is
    left out. Returns what `mean_effect` does; by "peak" without the dim `layer`, but with `layer_a` and `layer_b`, where the
    mean over all facts is largest. Raises OutputError where facts, prompts, sites or depths do not match.
    """
    config = statistics_config(**statistics)
    if by not in ("layer", "peak"):
        raise ConfigError(f"sweeps are compared by 'layer' or by 'peak', not by {by!r}")
    pair = matched((a, b))
    first, second = (fact_effects(sweep, normalise=normalise, roles=roles) for sweep in pair)
    if by == "layer" and first.sizes["layer"] != second.sizes["layer"]:
        raise OutputError(
            f"the sweeps have {first.sizes['layer']} and {second.sizes['layer']} layers; compare them by 'peak'"
        )
    peaks = {}
    if by == "peak":
        peaks = {"layer_a": best_layer(first), "layer_b": best_layer(second)}
        first, second = at_peak(first), at_peak(second)
    both = first - second  # facts that normalising left out of one are left out of both
    left_out = pair[0].sizes["fact_id"] - both.sizes["fact_id"]
    names = names or told_apart(a, b)
    attrs = {
        "statistic": "paired_difference",
        "quantity": "difference of effects",
        "title": f"{names[0]} minus {names[1]}",
        "names": list(names),
        "by": by,
        "a": provenance(pair[0]),
        "b": provenance(pair[1]),
    }
    both = both.assign_attrs(left_out=left_out)
    return aggregated(both, config, attrs, normalise=normalise).assign(peaks)


def best_layer(effects: xr.DataArray) -> xr.DataArray:
    """The layer with the largest mean effect, -1 where there is none: (fact_id, site, layer, role) to (site, role)."""
    mean = effects.mean("fact_id").fillna(-np.inf)
    best = effects["layer"][mean.argmax("layer")].drop_vars("layer")
    return best.where(effects.notnull().any(("fact_id", "layer")), -1).astype(int)


def at_peak(effects: xr.DataArray) -> xr.DataArray:
    """Each fact's effect at the layer where the other half of the facts has the largest mean: (fact_id, site, role).

    NaN where the other half has no such cell.
    """
    half = halves(effects["fact_id"].values.tolist())
    parts: list[xr.DataArray] = []
    for own, other in ((half, ~half), (~half, half)):
        mean = effects[other].mean("fact_id")
        best = mean.fillna(-np.inf).argmax("layer")
        read = effects[own].isel(layer=best).drop_vars("layer")
        parts.append(read.where(mean.notnull().any("layer")))
    return xr.concat(parts, "fact_id")


def halves(ids: Sequence[str]) -> np.ndarray:
    """True for one half of the facts, chosen by a hash of their ids."""
    order = np.argsort([zlib.crc32(name.encode()) for name in ids], kind="stable")
    return np.argsort(order) % 2 == 0
