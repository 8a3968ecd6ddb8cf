"""Where the segments of a packed batch are cut for Mamba-2's scan: at most `PIECE` tokens, and after each kept one."""

from dataclasses import dataclass

import numpy as np

from mambascope.models.kernels.simd import LANES
from mambascope.sites.segments import Segments

PIECE = 128  # up to here the quadratic form costs less than going through a state of 64 x 128


@dataclass(frozen=True, eq=False)
class Pieces:
    """Segments cut after the tokens of `keep` and after `PIECE` tokens.

    begin:  packed index of each piece's first token, and the number of tokens at the end
    of:     the first piece of each segment, and the number of pieces at the end
    kept:   the entry of `keep` that a piece ends at, or -1
    scores: where each piece's (C_t . B_s) begin, and their number at the end (per group)
    """

    begin: np.ndarray
    of: np.ndarray
    kept: np.ndarray
    scores: np.ndarray

    @classmethod
    def of_segments(cls, segments: Segments, keep: np.ndarray) -> "Pieces":
        """The pieces; `keep` ascending, each token once."""
        ends = np.union1d(np.union1d(keep, marks(segments)), segments.last)
        begin = np.concatenate([[0], ends + 1])
        kept = np.full(len(ends), -1)
        kept[np.searchsorted(ends, keep)] = np.arange(len(keep))
        lengths = np.diff(begin)
        scores = np.concatenate([[0], np.cumsum(lengths * _full_vectors(lengths))])
        return cls(begin, np.searchsorted(begin, segments.offsets), kept, scores)


def marks(segments: Segments) -> np.ndarray:
    """Packed index of the last token of each `PIECE` tokens that more of the same segment follow."""
    if int(segments.lengths.max()) <= PIECE:
        return np.empty(0, dtype=np.int64)
    within = np.arange(segments.tokens) - segments.offsets[segments.segment_of]
    full = (within + 1) % PIECE == 0
    full[segments.last] = False
    return np.flatnonzero(full)


def _full_vectors(lengths: np.ndarray) -> np.ndarray:
    return -(-lengths // LANES) * LANES
