"""Facts chosen by what a model gets right, and those that several sweeps have in common."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.ranks import read_ranks
from mambascope.results.common_facts import common_facts
from mambascope.results.schema import KNOCKOUT_SWEEP, conform, with_sources


def with_rank(results: xr.Dataset, rank: str | None) -> xr.Dataset:
    """The facts whose answer's first token has such a rank in the clean run: "1", "<=3", "2-5"; None keeps all.

    Raises OutputError if this is no sweep of knockouts or no fact is left.
    """
    conform(with_sources(results), KNOCKOUT_SWEEP)
    if rank is None:
        return results
    ranks = read_ranks(rank)
    inside = np.isin(results["clean_rank"].values, list(ranks))
    if not inside.any():
        raise OutputError(f"no fact's answer has rank {rank} for {results.attrs['model']}")
    return results.isel(fact_id=np.flatnonzero(inside))


def shared_facts(sweeps: Sequence[xr.Dataset], *, rank: str | None = None) -> list[xr.Dataset]:
    """The sweeps with those facts that all have, in the first one's order, and the sources that all have.

    rank: the answer must have such a rank for each sweep's model
    Raises OutputError if no fact or no source is common, or a fact's prompts differ.
    """
    if not sweeps:
        raise OutputError("no sweep was given; give at least one")
    return _same_sources(common_facts([with_rank(sweep, rank) for sweep in sweeps]))


def _same_sources(sweeps: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    positions = ["position" in sweep.dims for sweep in sweeps]
    if all(positions):
        return [*sweeps]
    if any(positions):
        raise OutputError("sweeps of every position and sweeps of sources cannot be compared")
    names = [sweep["source"].values.tolist() for sweep in sweeps]
    common = [name for name in names[0] if all(name in other for other in names[1:])]
    if not common:
        raise OutputError(
            f"the sweeps have no source in common ({'; '.join(map(', '.join, names))})"
        )
    return [sweep.sel(source=common) for sweep in sweeps]
