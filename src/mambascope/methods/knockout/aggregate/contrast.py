"""One source beside another, fact by fact: a role beside its matched random control, or two roles."""

from typing import Unpack

import xarray as xr

from mambascope.errors import ConfigError
from mambascope.methods.knockout.aggregate.flow import PROVENANCE, averaged
from mambascope.methods.knockout.aggregate.quantities import UNITS, quantity_of
from mambascope.methods.knockout.aggregate.sharing import with_rank
from mambascope.results.schema import CONTROL
from mambascope.results.statistics import StatisticsOptions, statistics_config, summarise
from mambascope.results.wording import cut_in_words


def source_contrast(
    results: xr.Dataset,
    source: str,
    control: str | None = None,
    *,
    quantity: str = "change",
    rank: str | None = None,
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts of the quantity with the source cut minus that with the control cut, window by window.

    source, control: two sources of the sweep (roles where every position was cut); the control is by default random:SOURCE,
                     as many random other positions. A fact that lacks either is left out
    quantity, rank, statistics: as in `mean_flow`

    Returns what `mean_flow` does, of the difference, with one source called "SOURCE minus CONTROL"; and of the two sides on the
    same facts `source_effect`, `source_low`, `source_high`, `control_effect`, `control_low`, `control_high`.
    """
    config = statistics_config(**statistics)
    found = quantity_of(with_rank(results, rank), quantity)
    other = f"{CONTROL}{source}" if control is None else control
    known = found.values[found.dim].values.tolist()
    for name in (source, other):
        if name not in known:
            raise ConfigError(f"the sweep did not cut {name!r}; it cut: {', '.join(known)}")
    one, two = (found.values.sel({found.dim: name}, drop=True) for name in (source, other))
    both = (one - two).notnull()
    difference = (one - two).expand_dims({found.dim: [f"{source} minus {other}"]}, axis=1)
    attrs = {
        "statistic": "source_contrast",
        "quantity": quantity,
        "unit": UNITS[quantity],
        "title": cut_in_words(results.attrs),
        "clean": 0.0,
        "rank": rank or "any",
        **{name: results.attrs[name] for name in PROVENANCE},
    }
    told = averaged(difference, difference, config, attrs)
    for name, side in (("source", one), ("control", two)):
        summary = summarise(side.where(both).values[:, None], config)
        for part in ("effect", "low", "high"):
            told[f"{name}_{part}"] = (told["effect"].dims, getattr(summary, part))
    return told
