"""Segments: where each run of consecutive tokens lies in a packed batch.

A packed batch is all tokens of all rows one after another, with nothing padded. A rectangular batch, unequal prompts,
replayed suffixes that begin anywhere, and decoding (segments of length one) are all lists of segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

Index = Int64[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class Segments:
    """Runs of consecutive tokens of a packed batch, in packed order.

    rows:    the prompt that each segment belongs to
    starts:  the position in the prompt of each segment's first token
    lengths: its number of tokens, at least 1
    slots:   the entry of the carry that it starts from; -1 starts from nothing
    keep:    packed indices of the tokens after which the carry is returned, ascending
    ends_only: whether nothing is asked of a layer but what the last token of each segment leaves with
    """

    rows: Index
    starts: Index
    lengths: Index
    slots: Index
    keep: Index
    ends_only: bool = False

    @classmethod
    def of(
        cls,
        lengths: Sequence[int] | np.ndarray,
        *,
        rows: Sequence[int] | np.ndarray | None = None,
        starts: Sequence[int] | np.ndarray | None = None,
        slots: Sequence[int] | np.ndarray | None = None,
        keep: Sequence[int] | np.ndarray | Literal["none", "last", "all"] = "none",
    ) -> "Segments":
        """Segments of these lengths; by default whole prompts, from nothing, keeping no carry."""
        sizes = np.asarray(lengths, dtype=np.int64)
        count = len(sizes)
        return cls(
            rows=_index(rows, np.arange(count)),
            starts=_index(starts, np.zeros(count)),
            lengths=sizes,
            slots=_index(slots, np.full(count, -1)),
            keep=_kept(keep, sizes),
        )

    @property
    def count(self) -> int:
        """Number of segments."""
        return len(self.lengths)

    @cached_property
    def offsets(self) -> Index:
        """Packed index of each segment's first token, and the total at the end (count + 1 entries)."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return int(self.offsets[-1])

    @cached_property
    def segment_of(self) -> Index:
        """The segment of each token."""
        return np.repeat(np.arange(self.count), self.lengths)

    @cached_property
    def positions(self) -> Index:
        """The position in its prompt of each token."""
        within = np.arange(self.tokens) - np.repeat(self.offsets[:-1], self.lengths)
        return within + np.repeat(self.starts, self.lengths)

    @cached_property
    def token_rows(self) -> Index:
        """The prompt of each token."""
        return np.repeat(self.rows, self.lengths)

    @cached_property
    def last(self) -> Index:
        """Packed index of each segment's last token."""
        return self.offsets[1:] - 1

    def needed(self, x: Shaped[Tensor, "tokens ..."]) -> Shaped[Tensor, "some ..."]:
        """The rows of x whose way on through a layer matters: all, or those of the last tokens if `ends_only`."""
        return x[torch.from_numpy(self.last).to(x.device)] if self.ends_only else x

    @cached_property
    def rectangular(self) -> bool:
        """True if all segments have the same length."""
        return bool((self.lengths == self.lengths[0]).all())

    @cached_property
    def single(self) -> bool:
        """True if every segment is one token, as in decoding."""
        return bool((self.lengths == 1).all())

    @cached_property
    def steps(self) -> bool:
        """True if every segment is one token that goes on from a carry and keeps it, as in decoding."""
        all_kept = np.array_equal(self.keep, np.arange(self.count))
        return self.single and all_kept and bool((self.slots >= 0).all())

    @cached_property
    def slots_in_order(self) -> bool:
        """True if segment i starts from slot i."""
        return np.array_equal(self.slots, np.arange(self.count))

    def pad(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """(tokens, ...) to (count, longest, ...), shorter segments filled up at the end."""
        longest = int(self.lengths.max())
        if self.rectangular:
            return packed.reshape(self.count, longest, *packed.shape[1:])
        out = packed.new_full((self.count * longest, *packed.shape[1:]), fill)
        out = out.index_copy(0, self._padded_places(longest, packed.device), packed)
        return out.reshape(self.count, longest, *packed.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(count, longest, ...) back to (tokens, ...)."""
        flat = padded.reshape(-1, *padded.shape[2:])
        if self.rectangular:
            return flat
        return flat.index_select(0, self._padded_places(padded.shape[1], padded.device))

    def _padded_places(self, longest: int, device: torch.device) -> Tensor:
        within = np.arange(self.tokens) - np.repeat(self.offsets[:-1], self.lengths)
        return torch.from_numpy(self.segment_of * longest + within).to(device)


def _index(given: Sequence[int] | np.ndarray | None, default: np.ndarray) -> Index:
    return np.ascontiguousarray(default if given is None else given, dtype=np.int64)


def _kept(keep: Sequence[int] | np.ndarray | str, lengths: Index) -> Index:
    if isinstance(keep, str):
        ends = np.cumsum(lengths) - 1
        choices = {"none": ends[:0], "last": ends, "all": np.arange(lengths.sum())}
        return choices[keep].astype(np.int64)
    return np.asarray(keep, dtype=np.int64)
