"""How packed segments are laid out for attention: padded together with segments of like length.

Queries and keys are grouped by length to the next power of two, so padding at most doubles either side. Segments from
nothing form groups of their own: padding comes after all that a query sees, so plain causal attention needs no mask.
Padded queries see at least one key, so nothing in them is NaN, and they are dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from mambascope.sites import Segments


@dataclass(frozen=True, eq=False)
class Padding:
    """Packed rows in padded groups of (count, longest); `places` is None where they are one rectangle as they stand."""

    shapes: list[tuple[int, int]]
    places: Int64[Tensor, " rows"] | None

    def pad(self, packed: Tensor) -> list[Tensor]:
        """(rows, ...) to (count, longest, ...) per group, zeros behind the shorter ones."""
        flat = packed
        if self.places is not None:
            size = sum(count * longest for count, longest in self.shapes)
            flat = packed.new_zeros(size, *packed.shape[1:]).index_copy_(0, self.places, packed)
        parts = flat.split([count * longest for count, longest in self.shapes])
        return [p.unflatten(0, shape) for p, shape in zip(parts, self.shapes, strict=True)]

    def unpad(self, groups: Sequence[Tensor]) -> Tensor:
        """The groups back to (rows, ...)."""
        flat = [group.flatten(0, 1) for group in groups]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat)
        return joined if self.places is None else joined.index_select(0, self.places)


@dataclass(frozen=True, eq=False)
class Group:
    """Segments that are padded together, and what their queries see.

    visible: n = 1 if it is the same for all of them; causal: it is the lower triangle
    mask:    None where causal, or where everything is visible
    """

    visible: Bool[Tensor, "n queries keys"]
    mask: Bool[Tensor, "n 1 queries keys"] | None
    causal: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """The groups, and where the rows of the queries and of the keys lie in them."""

    groups: list[Group]
    queries: Padding
    keys: Padding


def contexts_of(segments: Segments) -> np.ndarray:
    """How many positions before its start each segment sees: all of them, or none if it starts from nothing."""
    return np.where(segments.slots < 0, 0, segments.starts)


@lru_cache(maxsize=4)
def layout_of(segments: Segments, device: torch.device, *, grouped: bool) -> Layout:
    """The layout of a run, made once for all its layers; not `grouped`: everything padded to one rectangle."""
    contexts = contexts_of(segments)
    totals = contexts + segments.lengths
    members = _members(contexts, segments.lengths) if grouped else [np.arange(segments.count)]
    with torch.inference_mode(False):  # it may serve a run with gradients later
        queries = _padding(segments.lengths, members, device)
        keys = _padding(totals, members, device)
        groups = [
            _group(contexts[chosen], n_queries, n_keys, device)
            for chosen, (_, n_queries), (_, n_keys) in zip(
                members, queries.shapes, keys.shapes, strict=True
            )
        ]
    return Layout(groups, queries, keys)


def _members(contexts: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Segments of like query and key lengths; those of one common shape stay together as they are."""
    totals = contexts + lengths
    kinds = np.stack([contexts > 0, _power(lengths), _power(totals)])
    if (np.ptp(lengths) == 0 and np.ptp(totals) == 0) or np.ptp(kinds, axis=1).sum() == 0:
        return [np.arange(len(lengths))]
    _, kind = np.unique(kinds, axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    return [np.flatnonzero(kind == number) for number in range(kind.max() + 1)]


def _power(lengths: np.ndarray) -> np.ndarray:
    return np.ceil(np.log2(lengths)).astype(np.int64)


def _padding(lengths: np.ndarray, groups: list[np.ndarray], device: torch.device) -> Padding:
    """Places of all segments' rows when each group is padded to its longest."""
    shapes = [(len(group), int(lengths[group].max())) for group in groups]
    if len(groups) == 1 and np.ptp(lengths) == 0:
        return Padding(shapes, None)
    begins = np.empty(len(lengths), dtype=np.int64)
    base = 0
    for group, (count, longest) in zip(groups, shapes, strict=True):
        begins[group] = base + longest * np.arange(count)
        base += count * longest
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.repeat(begins, lengths) + within
    return Padding(shapes, torch.from_numpy(places).to(device))


def _group(contexts: np.ndarray, n_queries: int, n_keys: int, device: torch.device) -> Group:
    """Each query sees the keys of its segment's context, and its own segment's up to itself."""
    alike = contexts[:1] if np.ptp(contexts) == 0 else contexts
    last = alike[:, None] + np.arange(n_queries)
    seen = np.arange(n_keys) <= last[:, :, None]
    visible = torch.from_numpy(seen).to(device)
    causal = not contexts.any()
    return Group(visible, None if causal or seen.all() else visible[:, None], causal)
