"""Views: the cuts of a run placed on its packed tokens, as a layer's mixer meets them.

In a view some segments' targets see a world without the sources. A replay starts segments in the middle of a prompt: what such
a view's state was before, the base run computes beside its own and keeps (`View.keep`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.cuts import Cut
from mambascope.sites.positions import Index, Places, ranges
from mambascope.sites.segments import Segments


@dataclass(frozen=True, eq=False)
class View:
    """One cut on some segments of a packed batch, each of them one job.

    segments: each job's segment; last: the packed index of the last token that it runs to
    sources:  each job's sources, by position in its prompt
    targets:  the packed indices of the tokens that read from this view, ascending
    keep:     whether the state after each job's last token is wanted
    start, slots: the view's state before each job's segment and the entry of each job; -1 starts as the segment itself does
    """

    cut: Cut
    segments: Index
    last: Index
    sources: Bool[np.ndarray, "jobs T"]
    targets: Index
    keep: bool = False
    start: Tensor | None = None
    slots: Index | None = None

    def tokens(self, segments: Segments) -> tuple[Index, Index]:
        """The packed indices of all jobs' tokens, job after job, and how many each job has."""
        first = segments.offsets[self.segments]
        counts = self.last - first + 1
        return ranges(first, counts), counts


def targeting(
    cut: Cut,
    segments: Segments,
    lengths: Index,
    among: Index,
    start: Tensor | None = None,
    slots: Index | None = None,
) -> View | None:
    """The view of a cut's targets in the segments of `among`; None if it changes nothing there.

    lengths: the number of tokens of each prompt; slots: by segment of the batch, the entry of `start`
    """
    sources, reading = reads(cut, lengths)
    tokens = ranges(segments.offsets[among], segments.lengths[among])
    targets = np.sort(tokens[reading[segments.token_rows[tokens], segments.positions[tokens]]])
    if not len(targets):
        return None
    chosen, first = np.unique(segments.segment_of[targets], return_index=True)
    return View(
        cut=cut,
        segments=chosen,
        last=targets[np.append(first[1:], len(targets)) - 1],
        sources=sources[segments.rows[chosen]],
        targets=targets,
        start=start,
        slots=None if slots is None else slots[chosen],
    )


def keeping(cut: Cut, segments: Segments, lengths: Index, chosen: Index, last: Index) -> View:
    """The view of a cut in these segments up to these packed tokens, of which the state is wanted."""
    sources, _ = reads(cut, lengths)
    return View(
        cut=cut,
        segments=chosen,
        last=last,
        sources=sources[segments.rows[chosen]],
        targets=np.empty(0, dtype=np.int64),
        keep=True,
    )


def reads(
    cut: Cut, lengths: Index
) -> tuple[Bool[np.ndarray, "rows T"], Bool[np.ndarray, "rows T"]]:
    """By row and position: the sources, and the targets that read from one."""
    sources = _mask(cut.source_places(lengths), lengths)
    targets = _mask(cut.target_places(lengths), lengths)
    behind = np.maximum.accumulate(sources, axis=1)
    if not cut.own_write and cut.taps:  # the convolution's own tap stays
        behind[:, 1:], behind[:, :1] = behind[:, :-1].copy(), False
    return sources, targets & behind


def check_disjoint(views: Sequence[View]) -> None:
    """SiteError if a token is a target of two cuts."""
    every = np.concatenate([view.targets for view in views])
    if len(np.unique(every)) < len(every):
        raise SiteError(
            "two cuts of one layer share a target; give one cut with the sources of both"
        )


def _mask(places: Places, lengths: Index) -> Bool[np.ndarray, "rows T"]:
    mask = np.zeros((len(lengths), int(lengths.max(initial=1))), dtype=bool)
    mask[np.repeat(places.rows, places.counts), places.positions] = True
    return mask
