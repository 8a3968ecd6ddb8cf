"""The facts that several sweeps have in common, so that what is compared was asked alike."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from mambascope.errors import OutputError


def common_facts(sweeps: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The sweeps with those facts that all have, in the first one's order.

    Raises OutputError if no fact is common, or a fact's prompts differ.
    """
    common = set.intersection(*(set(sweep["fact_id"].values.tolist()) for sweep in sweeps))
    ids = [name for name in sweeps[0]["fact_id"].values.tolist() if name in common]
    if not ids:
        raise OutputError("the sweeps have no fact in common; compare sweeps over the same facts")
    chosen = [sweep.sel(fact_id=ids) for sweep in sweeps]
    for other in chosen[1:]:
        _check_prompts(chosen[0], other)
    return chosen


def _check_prompts(first: xr.Dataset, other: xr.Dataset) -> None:
    unlike = np.flatnonzero(first["prompt"].values != other["prompt"].values)
    if len(unlike):
        name = first["fact_id"].values.tolist()[unlike[0]]
        ours, theirs = (str(sweep["prompt"].sel(fact_id=name).item()) for sweep in (first, other))
        raise OutputError(
            f"fact {name!r} is asked as {ours!r} in one sweep and {theirs!r} in another; "
            "compare sweeps over the same facts"
        )
