"""Information flow: the mean over facts of what is left of the answer when a source is cut, window by window.

Intervals and tests resample facts, all cells together (results/statistics.py).
"""

from typing import Any, Unpack

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.knockout.aggregate.quantities import UNITS, quantity_of
from mambascope.methods.knockout.aggregate.sharing import with_rank
from mambascope.results.schema import FLOW
from mambascope.results.statistics import (
    StatisticsConfig,
    StatisticsOptions,
    corrected,
    sign_flip_p,
    statistics_config,
    summarise,
)
from mambascope.results.wording import cut_in_words

PROVENANCE = (
    "model", "weights", "target", "window", "route", "mode", "features", "config", "seed", "versions",
)  # fmt: skip


def mean_flow(
    results: xr.Dataset,
    *,
    quantity: str = "change",
    rank: str | None = None,
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts by source and window; by role and window where every position was cut.

    results:    a sweep of knockouts (`open_results`)
    quantity:   "score", the answer's probability; "change", in per cent of each fact's clean probability; or "hit"
    rank:       only facts whose answer has such a rank in the clean run: "1", "<=3", "<=5", "2-5"
    statistics: confidence, resamples, flips, seed (StatisticsConfig)

    Returns dims (source, start) or (role, start): `effect`, its interval `low`, `high`, `n` facts that have the source, `p` of a
    sign-flip test that the cut changes nothing, `q` corrected over all cells; attrs `clean`, the mean before anything is cut,
    `facts`, and where they came from.
    """
    config = statistics_config(**statistics)
    kept = with_rank(results, rank)
    found = quantity_of(kept, quantity)
    attrs = {
        "statistic": "mean_flow",
        "quantity": quantity,
        "unit": UNITS[quantity],
        "title": cut_in_words(results.attrs),
        "clean": float(found.before.mean()),
        "rank": rank or "any",
        **{name: results.attrs[name] for name in PROVENANCE},
    }
    return averaged(found.values, found.values - found.before, config, attrs)


def averaged(
    values: xr.DataArray, difference: xr.DataArray, config: StatisticsConfig, attrs: dict[str, Any]
) -> xr.Dataset:
    """The summary over facts of `values`; the test and its correction are of the difference. OutputError without facts."""
    if not values.sizes["fact_id"]:
        raise OutputError("no fact is left to average over")
    found = summarise(values.values, config)
    p = sign_flip_p(difference.values, config)
    parts = {**{name: getattr(found, name) for name in ("effect", "low", "high", "n")}, "p": p}
    parts["q"] = corrected(p)
    dims = values.dims[1:]
    kept = [name for name in ("first_layer", "last_layer") if name in values.coords]
    return xr.Dataset(
        {name: (dims, np.asarray(part)) for name, part in parts.items()},
        coords={name: values[name].variable for name in (*dims, *kept)},
        attrs={
            "method": FLOW.method,
            **attrs,
            "facts": values.sizes["fact_id"],
            "statistics": config.model_dump_json(),
            "confidence": config.confidence,
        },
    )
