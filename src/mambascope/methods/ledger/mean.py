"""The mean of many facts' ledgers, with intervals over facts."""

import json
from collections.abc import Sequence
from typing import Unpack

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.ledger.config import ROLES
from mambascope.results.ledger import LEDGER, MEAN_LEDGER, terms
from mambascope.results.schema import conform
from mambascope.results.statistics import StatisticsOptions, statistics_config, summarise

SHARED = ("model", "weights", "measure", "unit", "config", "versions")


def mean_ledger(
    ledgers: Sequence[xr.Dataset],
    *,
    form: str = "single",
    **statistics: Unpack[StatisticsOptions],
) -> xr.Dataset:
    """The mean over facts of every term of their ledgers.

    ledgers: of one model and configuration, one for each fact, every cell of them confirmed
    form:    "single" has the terms state, conv, gate, skip, query, interaction and total; "shapley" the Shapley values of the
             routes, and the total
    statistics: see StatisticsConfig

    Returns dims (layer, source, term): `effect`, `low`, `high`, `n` (facts that have the source), `p`, and `q`, corrected over
    all cells. attrs `facts`, `form`, `confidence` and what the ledgers share.
    Raises OutputError unless they are such ledgers, ConfigError for another form or an impossible option.
    """
    config = statistics_config(**statistics)
    if not ledgers:
        raise OutputError("no ledger was given; give one for each fact")
    for each in ledgers:
        _check(each, ledgers[0])
    parts = [terms(each, form) for each in ledgers]
    sources = _sources(parts)
    values = np.stack([part.reindex(source=sources).values for part in parts])
    summary = summarise(values, config)
    dims = ("layer", "source", "term")
    names = ("effect", "low", "high", "n", "p", "q")
    first = ledgers[0].attrs
    return xr.Dataset(
        {name: (dims, getattr(summary, name)) for name in names},
        coords={
            "layer": parts[0]["layer"].values,
            "source": sources,
            "term": parts[0]["term"].values,
        },
        attrs={
            "method": MEAN_LEDGER.method,
            "form": form,
            "facts": len(ledgers),
            "confidence": config.confidence,
            "statistics": config.model_dump_json(),
            **{name: first[name] for name in SHARED},
        },
    )


def _check(ledger: xr.Dataset, first: xr.Dataset) -> None:
    conform(ledger, LEDGER)
    for name in SHARED:
        if ledger.attrs[name] != first.attrs[name]:
            raise OutputError(
                f"the ledgers differ in {name}: {first.attrs[name]!r} and {ledger.attrs[name]!r}; average like with like"
            )
    if not ledger["confirmed"].values.all():
        most = json.loads(ledger.attrs["config"])["confirm"]
        raise OutputError(
            f"only the largest cells of a ledger were confirmed (confirm={most}), and their mean would not be that of all; "
            f"confirm at least {ledger['confirmed'].size}"
        )


def _sources(parts: Sequence[xr.DataArray]) -> list[str]:
    """All sources that any fact has, roles in the order of a prompt, then the others in the order in which they come."""
    found = dict.fromkeys(name for part in parts for name in part["source"].values.tolist())
    roles = [name for name in ROLES if name in found]
    return [*roles, *(name for name in found if name not in roles)]
