"""The cuts of one layer in a replay: what their targets' views held before the variants begin comes from the base run.

A variant starts at a cut's first target. What the view's recurrence holds before that depends on the base run alone, so it is
computed there, once for all variants whose cuts differ in their layers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mambascope.sites import Cut, LayerTap, Segments
from mambascope.sites.views import keeping, targeting


@dataclass(frozen=True, eq=False)
class Shadow:
    """One cut in a layer, and the active (variant, row) pairs that make it.

    rows, starts: where in the base run its view's state is needed, each once
    slots:        by active pair, its entry among those; -1 where the view starts as the pair's segment does
    """

    cut: Cut
    pairs: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    slots: np.ndarray

    @classmethod
    def of(cls, cut: Cut, pairs: np.ndarray, rows: np.ndarray, starts: np.ndarray) -> "Shadow":
        """`pairs` make the cut; `rows` and `starts` are those of all active pairs."""
        inside = pairs[starts[pairs] > 0]
        wanted = np.stack([rows[inside], starts[inside]])
        each, entry = np.unique(wanted, axis=1, return_inverse=True)
        slots = np.full(len(rows), -1, dtype=np.int64)
        slots[inside] = entry.reshape(-1)
        return cls(cut, pairs, each[0], each[1], slots)


class Shadows:
    """All cuts of one layer."""

    def __init__(
        self, cuts: Sequence[tuple[Cut, np.ndarray]], rows: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts with the active pairs that make them; `rows` and `starts` of all active pairs."""
        self.each = [Shadow.of(cut, pairs, rows, starts) for cut, pairs in cuts]

    def ask(self, tap: LayerTap, base: Segments, lengths: np.ndarray) -> None:
        """Let the base run's mixer keep the state of each view at its starts."""
        for shadow in self._kept():
            last = base.offsets[shadow.rows] + shadow.starts - 1
            tap.add_view(keeping(shadow.cut, base, lengths, shadow.rows, last))

    def place(
        self,
        tap: LayerTap,
        kept: Sequence[Tensor],
        segments: Segments,
        pairs: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        """Make the cuts in the segments of some active pairs, one segment each.

        kept: what the base run's mixer kept; empty where a view has no state of its own, as in attention
        """
        starts = dict(zip(map(id, self._kept()), kept, strict=False))
        for shadow in self.each:
            among = np.flatnonzero(np.isin(pairs, shadow.pairs))
            slots = shadow.slots[pairs]
            view = targeting(shadow.cut, segments, lengths, among, starts.get(id(shadow)), slots)
            if view is not None:
                tap.add_view(view)

    def _kept(self) -> list[Shadow]:
        """Those that need a state of the base run, in the order in which it is kept."""
        return [shadow for shadow in self.each if len(shadow.rows)]
