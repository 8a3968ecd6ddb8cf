"""The mean of many facts' ledgers, with intervals over facts, and beside each source its matched random control."""

import json
from collections.abc import Sequence
from typing import Unpack

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.ledger.config import ROLES
from mambascope.results.ledger import LEDGER, LEDGER_SWEEP, MEAN, MEAN_LEDGER, terms
from mambascope.results.schema import CONTROL, conform
from mambascope.results.statistics import StatisticsOptions, statistics_config, summarise

SHARED = ("model", "weights", "measure", "unit", "config", "versions")


def mean_ledger(
    ledgers: xr.Dataset | Sequence[xr.Dataset],
    *,
    form: str = "single",
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts of every term of their ledgers.

    ledgers: a sweep of ledgers (`open_results`), or one ledger for each fact, of one model and configuration; every cell of them
             confirmed
    form:    "single" has the terms state, conv, gate, skip, query, interaction and total; "shapley" the Shapley values of the
             routes, and the total
    statistics: see StatisticsConfig

    Returns dims (layer, source, term): `effect`, `low`, `high`, `n` (facts that have the source), `p`, and `q`, corrected over
    all cells; and of the difference between a source and its matched random control random:SOURCE, over the facts that have
    both, `above_effect` to `above_q`, NaN for a source without one. attrs `facts`, `form`, `confidence`, and what the ledgers
    share.
    Raises OutputError unless they are such ledgers, ConfigError for another form or an impossible option.
    """
    config = statistics_config(**statistics)
    swept = isinstance(ledgers, xr.Dataset)
    values = _swept(ledgers, form) if swept else _stacked(ledgers, form)
    first = ledgers.attrs if swept else ledgers[0].attrs
    names = values["source"].values.tolist()
    above = values - values.reindex(source=[CONTROL + name for name in names]).values
    dims = values.dims[1:]
    found: dict[str, object] = {}
    for before, each in (("", values), ("above_", above)):
        summary = summarise(each.values, config)
        found |= {before + name: (dims, getattr(summary, name)) for name in MEAN}
    return xr.Dataset(
        found,
        coords={name: values[name].values for name in dims},
        attrs={
            "method": MEAN_LEDGER.method,
            "form": form,
            "facts": len(values),
            "confidence": config.confidence,
            "statistics": config.model_dump_json(),
            **{name: first[name] for name in SHARED},
        },
    )


def _swept(sweep: xr.Dataset, form: str) -> xr.DataArray:
    """The terms of a sweep, dims (fact_id, layer, source, term); sources that no fact has are left out."""
    conform(sweep, LEDGER_SWEEP)
    there = sweep["screened_total"].notnull()
    _check_confirmed(sweep, bool((sweep["confirmed"] | ~there).all()))
    known = there.any(("fact_id", "layer")).values
    return terms(sweep, form).isel(source=np.flatnonzero(known))


def _stacked(ledgers: Sequence[xr.Dataset], form: str) -> xr.DataArray:
    """The same of single ledgers."""
    if not ledgers:
        raise OutputError("no ledger was given; give one for each fact")
    for each in ledgers:
        _check(each, ledgers[0])
    parts = [terms(each, form).reset_coords(drop=True) for each in ledgers]
    sources = _sources(parts)
    return xr.concat([part.reindex(source=sources) for part in parts], "fact_id")


def _check(ledger: xr.Dataset, first: xr.Dataset) -> None:
    conform(ledger, LEDGER)
    for name in SHARED:
        if ledger.attrs[name] != first.attrs[name]:
            raise OutputError(
                f"the ledgers differ in {name}: {first.attrs[name]!r} and {ledger.attrs[name]!r}; average like with like"
            )
    _check_confirmed(ledger, bool(ledger["confirmed"].all()))


def _check_confirmed(ledger: xr.Dataset, every: bool) -> None:
    """Of a ledger or a sweep; every: whether all of its cells are confirmed."""
    if not every:
        most = json.loads(ledger.attrs["config"])["confirm"]
        raise OutputError(
            f"only the largest cells of a ledger were confirmed (confirm={most}), and their mean would not be that of all; "
            f"confirm at least {ledger.sizes['layer'] * ledger.sizes['source']}"
        )


def _sources(parts: Sequence[xr.DataArray]) -> list[str]:
    """All sources that any fact has, roles in the order of a prompt, then the others in the order in which they come."""
    found = dict.fromkeys(name for part in parts for name in part["source"].values.tolist())
    roles = [name for name in ROLES if name in found]
    return [*roles, *(name for name in found if name not in roles)]
