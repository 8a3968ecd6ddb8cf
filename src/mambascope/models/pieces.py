"""A packed batch cut where something is edited in the middle, run in rounds, and put together again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mambascope.sites import Segments


@dataclass(frozen=True, eq=False)
class Pieces:
    """One round of pieces.

    segments: the pieces; slots are those of the whole segments in the first round, later entries of `stops` of the round before
    tokens:   their packed indices in the whole batch
    stops:    those of the tokens after which there is an edit, each the last one of its piece, ascending
    """

    segments: Segments
    tokens: np.ndarray
    stops: np.ndarray

    def places(self, chosen: np.ndarray) -> np.ndarray:
        """Where among `tokens` those lie for which the mask over the whole batch is true, ascending."""
        return np.flatnonzero(chosen[self.tokens])


def cut_into_pieces(segments: Segments, stops: np.ndarray) -> Iterator[Pieces]:
    """The segments cut after each stop (packed indices), in rounds that can run one after the other."""
    is_stop = mask_of(stops, segments.tokens)
    is_end = is_stop.copy()
    is_end[segments.last] = True
    ends = np.flatnonzero(is_end)
    begins = np.concatenate([[0], ends[:-1] + 1])
    of = segments.segment_of[ends]
    nth = np.arange(len(ends)) - np.searchsorted(of, of)
    slots, stopped = segments.slots, np.arange(segments.count)
    for number in range(int(nth.max()) + 1):
        chosen = np.flatnonzero(nth == number)
        lengths = ends[chosen] - begins[chosen] + 1
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        piece = Segments.of(
            lengths,
            rows=segments.rows[of[chosen]],
            starts=segments.positions[begins[chosen]],
            slots=slots[np.searchsorted(stopped, of[chosen])],
        )
        here = chosen[is_stop[ends[chosen]]]
        yield Pieces(piece, within + np.repeat(begins[chosen], lengths), ends[here])
        slots, stopped = np.arange(len(here)), of[here]


def mask_of(tokens: np.ndarray, count: int) -> np.ndarray:
    """True at these packed indices, of `count` tokens."""
    mask = np.zeros(count, dtype=bool)
    mask[tokens] = True
    return mask


class Gathered:
    """Values of packed tokens that arise in parts; of a token given twice the later value counts."""

    def __init__(self, tokens: int) -> None:
        self.parts: list[Tensor] = []
        self.count = 0
        self.place = np.full(tokens, -1, dtype=np.int64)

    def add(self, tokens: np.ndarray, values: Tensor) -> None:
        """The values (len(tokens), *axes) of these packed indices."""
        self.place[tokens] = np.arange(self.count, self.count + len(tokens))
        self.count += len(tokens)
        self.parts.append(values)

    def at(self, tokens: np.ndarray) -> Tensor:
        """The values of these packed indices, all of which must have been given."""
        if not len(tokens):
            return self.parts[0][:0]
        places = torch.from_numpy(self.place[tokens]).to(self.parts[0].device)
        return torch.cat(self.parts)[places]
