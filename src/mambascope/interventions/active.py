"""The (variant, row) pairs of a replay that have begun: from where on they differ from the base run, and their residual there.

A pair has the residual of its prompt's suffix from its start on. The suffixes lie packed one behind the other, in the order in
which the pairs joined.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.interventions.variants import Touch
from mambascope.sites import Segments
from mambascope.sites.positions import ranges


class Active:
    """The pairs that have begun, in order of joining: `variants`, `rows`, `starts`, and their suffixes' `resid`."""

    def __init__(self, n_variants: int, lengths: np.ndarray, room: Float[Tensor, "most D"]) -> None:
        """No pair has begun.

        lengths: of the base run's prompts
        room:    where the residual of all pairs that will ever begin finds its place
        """
        self.lengths = lengths
        self.variants = self.rows = self.starts = np.empty(0, dtype=np.int64)
        self._room: Tensor = room
        # The place of each (variant, row) pair among those that have begun; -1 while it equals the base run.
        self._place = np.full((n_variants, len(lengths)), -1, dtype=np.int64)

    @property
    def resid(self) -> Float[Tensor, "tokens D"]:
        """The suffixes' residual, one behind the other."""
        return self._room[: int(self.sizes.sum())]

    @property
    def sizes(self) -> np.ndarray:
        """How many tokens each pair's suffix has."""
        return self.lengths[self.rows] - self.starts

    def begun(self, variant: int, rows: np.ndarray) -> np.ndarray:
        """In which of these rows the variant has begun."""
        return self._place[variant, rows] >= 0

    def segments(
        self, pairs: slice | np.ndarray = slice(None), slots: np.ndarray | None = None
    ) -> Segments:
        """One segment per chosen pair, from its start to its prompt's end; `slots` of the carry by pair, chosen alike."""
        rows, starts = self.rows[pairs], self.starts[pairs]
        return Segments.of(
            self.lengths[rows] - starts,
            rows=rows,
            starts=starts,
            slots=None if slots is None else slots[pairs],
        )

    def tokens_of(self, base: Segments) -> Tensor:
        """Where each token of the suffixes lies among the base run's, on the residual's device."""
        return self._index(base.offsets[self.rows] + self.starts, self.sizes)

    def join(
        self, joining: Sequence[tuple[int, Touch]], resid: Float[Tensor, "tokens D"], base: Segments
    ) -> None:
        """Let these variants begin, or begin earlier in the prompt than so far, with the base run's residual."""
        if not joining:
            return
        starts, variants, rows, begins = self.starts.copy(), [self.variants], [self.rows], []
        for number, touch in joining:
            known = self.begun(number, touch.rows)
            place = self._place[number, touch.rows[known]]
            starts[place] = np.minimum(starts[place], touch.starts[known])
            variants.append(np.full((~known).sum(), number))
            rows.append(touch.rows[~known])
            begins.append(touch.starts[~known])
        self._extend(np.concatenate(rows), np.concatenate([starts, *begins]), resid, base)
        self.variants = np.concatenate(variants)
        self._place[self.variants, self.rows] = np.arange(len(self.rows))

    def _extend(self, rows: np.ndarray, starts: np.ndarray, resid: Tensor, base: Segments) -> None:
        """More pairs, and earlier starts: the base run's tokens wherever there was none so far."""
        old_starts, old_sizes, old_resid = self.starts, self.sizes, self.resid
        count = len(old_starts)
        self.rows, self.starts = rows, starts
        if (starts[:count] == old_starts).all():
            fresh = self._index(base.offsets[rows[count:]] + starts[count:], self.sizes[count:])
            torch.index_select(resid, 0, fresh, out=self.resid[len(old_resid) :])
            return
        sizes = self.sizes
        offsets = np.cumsum(sizes) - sizes
        missing = sizes.copy()
        missing[:count] -= old_sizes
        old_resid = old_resid.clone()  # the places of the old and of the new overlap
        taken = resid[self._index(base.offsets[rows] + starts, missing)]
        self.resid[self._index(offsets, missing)] = taken
        self.resid[self._index(offsets[:count] + missing[:count], old_sizes)] = old_resid

    def _index(self, begins: np.ndarray, sizes: np.ndarray) -> Tensor:
        """The indices of so many tokens from each begin on."""
        return torch.from_numpy(ranges(begins, sizes)).to(self._room.device)
