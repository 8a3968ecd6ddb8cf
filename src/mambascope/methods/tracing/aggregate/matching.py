"""Sweeps over the same facts, brought together: their common facts in one order, and what tells the sweeps apart."""

import json
from collections.abc import Sequence
from typing import Any

import xarray as xr

from mambascope.errors import OutputError
from mambascope.results.common_facts import common_facts
from mambascope.results.schema import SWEEP, conform


def matched(sweeps: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The sweeps with those facts that all have, in the first one's order, and the sites that all have.

    Where each has one site only, those are compared whatever their names: the result then has one site, named after all.
    Raises OutputError if no fact or no site is common, or a fact's prompts differ.
    """
    for sweep in sweeps:
        conform(sweep, SWEEP)
    return _same_sites(common_facts(sweeps))


def options(sweep: xr.Dataset) -> dict[str, Any]:
    """The options that a sweep was made with, without the subjects swapped in, which belong to each fact."""
    return {name: v for name, v in json.loads(sweep.attrs["config"]).items() if name != "swap"}


def differences(a: xr.Dataset, b: xr.Dataset) -> dict[str, tuple[Any, Any]]:
    """What two sweeps differ in: model, sites and options, each with both values."""
    first, second = (
        {"model": s.attrs["model"], **options(s), "site": s["site"].values.tolist()} for s in (a, b)
    )
    names = [name for name in first | second if first.get(name) != second.get(name)]
    return {name: (first.get(name), second.get(name)) for name in names}


def told_apart(a: xr.Dataset, b: xr.Dataset) -> tuple[str, str]:
    """What to call two sweeps: the values in which they differ."""
    found = differences(a, b)
    if "model" in found:
        return found["model"]
    if "site" in found:
        found = {"site": found["site"]}
    first, second = (
        ", ".join(f"{name} {_shown(pair[which])}" for name, pair in found.items())
        for which in (0, 1)
    )
    return first or "a", second or "b"


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _same_sites(sweeps: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    names = [sweep["site"].values.tolist() for sweep in sweeps]
    common = [name for name in names[0] if all(name in other for other in names[1:])]
    if common:
        return [sweep.sel(site=common) for sweep in sweeps]
    if any(len(own) > 1 for own in names):
        raise OutputError(
            f"the sweeps have no site in common ({', '.join(names[0])}; {', '.join(names[1])}); select one of each"
        )
    label = " / ".join(own[0] for own in names)
    return [sweep.assign_coords(site=[label]) for sweep in sweeps]
