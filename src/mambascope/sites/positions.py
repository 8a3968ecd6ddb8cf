"""Positions in the prompts of a batch: how they are given, and where they lie."""

from collections.abc import Sequence
from itertools import chain
from operator import index
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from mambascope.errors import SiteError

Positions = int | Sequence[int] | Sequence[Sequence[int]] | Int64[np.ndarray, "rows _"] | None
Index = Int64[np.ndarray, " _"]


class Places(NamedTuple):
    """Chosen positions: the rows, how many positions each has, and all positions one after the other, from 0."""

    rows: Index
    counts: Index
    positions: Index


def places_of(positions: Positions, rows: Sequence[int] | Index | None, lengths: Index) -> Places:
    """The positions in prompts of these lengths; SiteError if a row or a position is out of range.

    positions: one or several, negative ones counted from the prompt's end; a list of lists gives each row its own; None
               is every position
    rows:      the prompts that they concern; None is all of them
    """
    chosen = np.arange(len(lengths)) if rows is None else np.asarray(rows, dtype=int)
    if len(outside := chosen[(chosen < 0) | (chosen >= len(lengths))]):
        raise SiteError(f"row {outside[0]} is out of range: the run has {len(lengths)} prompts")
    counts, given = _by_row(positions, lengths[chosen])
    sizes = np.repeat(lengths[chosen], counts)
    outside = np.flatnonzero((given < -sizes) | (given >= sizes))
    if len(outside):
        first = outside[0]
        raise SiteError(
            f"position {given[first]} is out of range: prompt {np.repeat(chosen, counts)[first]} has positions "
            f"0 to {sizes[first] - 1}"
        )
    return Places(chosen, counts, np.where(given < 0, given + sizes, given))


def _by_row(positions: Any, lengths: Index) -> tuple[Index, Index]:
    """How many positions each row has, and all of them as they were given."""
    count = len(lengths)
    if positions is None:
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return lengths, within
    if isinstance(positions, int):
        return np.ones(count, dtype=int), np.full(count, positions)
    try:
        return _listed(positions, count)
    except TypeError as error:
        raise SiteError(
            f"positions must be a whole number, a list of them, or such a list for each row, not {positions!r}"
        ) from error


def _listed(positions: Any, count: int) -> tuple[Index, Index]:
    by_row = isinstance(positions, np.ndarray) or any(isinstance(p, Sequence) for p in positions)
    if not by_row:
        same = np.array([index(p) for p in positions], dtype=int)
        return np.full(count, len(same)), np.tile(same, count)
    if len(positions) != count:
        raise SiteError(f"positions has {len(positions)} rows, but the edit concerns {count}")
    if isinstance(positions, np.ndarray):
        return np.full(count, positions.shape[1]), positions.reshape(-1)
    lists = [[p] if isinstance(p, int) else list(p) for p in positions]
    counts = np.array([len(p) for p in lists], dtype=int)
    return counts, np.fromiter(map(index, chain.from_iterable(lists)), dtype=int)


def ranges(first: Index, counts: Index) -> Index:
    """first[i], first[i] + 1, ..., `counts[i]` numbers each, all in one array."""
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + within
