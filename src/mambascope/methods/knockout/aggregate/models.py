"""Models side by side, on the facts that all of them were asked and, if wanted, know."""

from collections.abc import Sequence
from typing import Any, Unpack

import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.knockout.aggregate.flow import mean_flow
from mambascope.methods.knockout.aggregate.sharing import shared_facts
from mambascope.results.statistics import StatisticsOptions


def model_flows(
    sweeps: Sequence[xr.Dataset],
    *,
    quantity: str = "score",
    rank: str | None = None,
    names: Sequence[str] | None = None,
    **statistics: Unpack[StatisticsOptions],
) -> list[xr.Dataset]:
    """`mean_flow` of each sweep over the facts and sources that all have; `rank` holds for each sweep's own model.

    names: what the sweeps are called, by default their models
    Raises OutputError for fewer than two sweeps, two of one name, or sweeps that do not fit together.
    """
    if len(sweeps) < 2:
        raise OutputError("at least two sweeps are needed to compare")
    shared = shared_facts(sweeps, rank=rank)
    called = [sweep.attrs["model"] for sweep in sweeps] if names is None else [*names]
    if len(called) != len(sweeps):
        raise OutputError(f"{len(sweeps)} sweeps need as many names, but {len(called)} were given")
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise OutputError(f"two of the sweeps are called {twice[0]!r}; give each a name of its own")
    flows = [mean_flow(sweep, quantity=quantity, **statistics) for sweep in shared]
    return [
        flow.assign_attrs(model=name, rank=rank or "any")
        for flow, name in zip(flows, called, strict=True)
    ]


def compared(flows: Sequence[xr.Dataset]) -> xr.Dataset:
    """Several flows as one result with the dim `model` in front, NaN past the windows of a shallower model."""
    apart = [flow.reset_coords(("first_layer", "last_layer")) for flow in flows]
    parts = [flow.expand_dims(model=[flow.attrs["model"]]) for flow in apart]
    first: dict[str, Any] = flows[0].attrs
    same = {
        name: value
        for name, value in first.items()
        if all(flow.attrs.get(name) == value for flow in flows)
    }
    found = xr.concat(parts, "model", join="outer", combine_attrs="drop")
    clean = ("model", [flow.attrs["clean"] for flow in flows])
    return found.assign_coords(clean=clean).assign_attrs({**same, "method": "compare.knockout"})
