"""Models side by side, on the facts that all of them were asked and, if wanted, know; and how far one is from another."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.methods.knockout.aggregate.flow import PROVENANCE, averaged, mean_flow
from mambascope.methods.knockout.aggregate.quantities import UNITS, quantity_of
from mambascope.methods.knockout.aggregate.sharing import shared_facts
from mambascope.results.statistics import StatisticsOptions, statistics_config

SHOWN = ("effect", "low", "high", "n", "q")


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
    shared = _shared(sweeps, rank, names)
    flows = [mean_flow(sweep, quantity=quantity, **statistics) for sweep in shared.values()]
    return [
        flow.assign_attrs(model=name, rank=rank or "any")
        for flow, name in zip(flows, shared, strict=True)
    ]


def model_differences(
    sweeps: Sequence[xr.Dataset],
    *,
    quantity: str = "score",
    rank: str | None = None,
    names: Sequence[str] | None = None,
    **statistics: Unpack[StatisticsOptions],
) -> list[xr.Dataset]:
    """For each sweep but the first: the mean over facts of its quantity minus the first one's, paired by fact.

    A window of the first model is set beside the other's window whose middle lies at the nearest relative depth.
    Arguments and errors are those of `model_flows`.

    Returns what `mean_flow` does, of the difference, over the first model's windows; p and q test that the two are equal. The
    other's windows are the coordinates `other_first_layer` and `other_last_layer`; `model` is "OTHER minus FIRST".
    """
    config = statistics_config(**statistics)
    shared = _shared(sweeps, rank, names)
    found = {name: quantity_of(sweep, quantity) for name, sweep in shared.items()}
    (name, first), *others = found.items()
    differences = []
    for other_name, other in others:
        theirs = _beside(other.values, first.values)
        difference = (theirs - first.values).transpose(*first.values.dims)
        attrs = {
            "statistic": "model_difference",
            "quantity": quantity,
            "unit": UNITS[quantity],
            "title": "paired by fact, windows of like depth",
            "clean": float((other.before - first.before).mean()),
            "rank": rank or "any",
            **{key: shared[name].attrs[key] for key in PROVENANCE},
            "model": f"{other_name} minus {name}",
        }
        told = averaged(difference, difference, config, attrs)
        kept = {key: theirs[key].variable for key in ("other_first_layer", "other_last_layer")}
        differences.append(told.assign_coords(kept))
    return differences


def compared(flows: Sequence[xr.Dataset], differences: Sequence[xr.Dataset]) -> xr.Dataset:
    """Several flows as one result with the dim `model` in front, NaN past the windows of a shallower model.

    differences: those of `model_differences`, kept as `difference`, `difference_low`, ...; NaN for the first model
    """
    told = [None, *differences]
    parts = [
        _with_difference(flow, beside).expand_dims(model=[flow.attrs["model"]])
        for flow, beside in zip(flows, told, strict=True)
    ]
    first: dict[str, Any] = flows[0].attrs
    same = {
        name: value
        for name, value in first.items()
        if all(flow.attrs.get(name) == value for flow in flows)
    }
    found = xr.concat(parts, "model", join="outer", combine_attrs="drop", data_vars="all")
    clean = ("model", [flow.attrs["clean"] for flow in flows])
    return found.assign_coords(clean=clean).assign_attrs({**same, "method": "compare.knockout"})


def _shared(
    sweeps: Sequence[xr.Dataset], rank: str | None, names: Sequence[str] | None
) -> dict[str, xr.Dataset]:
    """The sweeps over what all of them have, by what they are called."""
    if len(sweeps) < 2:
        raise OutputError("at least two sweeps are needed to compare")
    shared = shared_facts(sweeps, rank=rank)
    called = [sweep.attrs["model"] for sweep in sweeps] if names is None else [*names]
    if len(called) != len(sweeps):
        raise OutputError(f"{len(sweeps)} sweeps need as many names, but {len(called)} were given")
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise OutputError(f"two of the sweeps are called {twice[0]!r}; give each a name of its own")
    return dict(zip(called, shared, strict=True))


def _beside(theirs: xr.DataArray, ours: xr.DataArray) -> xr.DataArray:
    """Of theirs the window nearest in relative depth to each of ours, under our starts."""
    apart = np.abs(_depths(ours)[:, None] - _depths(theirs)[None, :])
    chosen = theirs.isel(start=apart.argmin(1))
    layers = {name: chosen[name].values for name in ("first_layer", "last_layer")}
    coords = {f"other_{name}": ("start", values) for name, values in layers.items()}
    return chosen.drop_vars(layers).assign_coords({"start": ours["start"].values, **coords})


def _depths(values: xr.DataArray) -> np.ndarray:
    """The middle of each window, 0 being the first layer of the model and 1 the last."""
    first, last = values["first_layer"].values, values["last_layer"].values
    return (first + last) / 2 / max(int(last.max()), 1)


def _with_difference(flow: xr.Dataset, difference: xr.Dataset | None) -> xr.Dataset:
    """A flow with its layers as variables, and the difference from the first model as others."""
    apart = flow.reset_coords(("first_layer", "last_layer"))
    told = xr.full_like(flow[[*SHOWN]], np.nan, dtype=float) if difference is None else difference
    renamed = {part: "difference" if part == "effect" else f"difference_{part}" for part in SHOWN}
    kept = told[[*SHOWN]].reset_coords(drop=True).rename(renamed).astype(float)
    return xr.merge([apart, kept], join="outer", combine_attrs="drop").assign_attrs(flow.attrs)
