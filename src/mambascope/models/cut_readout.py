"""What the targets of a cut read from a Mamba layer's scan (see sites/cuts.py), by a second recurrence beside the true one.

    h'_t = exp(dt'_t A) h'_{t-1} + write'_t        y'_t = C'_t h'_t + D u'_t

The second one lacks the sources' writes (scan, both) and is fed what the convolution gives without its taps on the sources
(conv, both); it runs in O(T) beside the first, whose state goes on untouched. Only the targets read y'.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.models.kernels import conv_carry
from mambascope.models.recurrence import Recurrence, run_scan, scan_adding
from mambascope.sites import LayerTap, Segments
from mambascope.sites.positions import ranges
from mambascope.sites.views import View

FIXED = ("write", "state", "skip", "conv_carry")
RECOMPUTED = ("u", "dt", "B", "C")


class Reread(NamedTuple):
    """What a mixer computes from some tokens' convolution inputs; dt is None where it does not depend on them."""

    u: Tensor
    dt: Tensor | None
    B: Tensor
    C: Tensor


@dataclass(frozen=True, eq=False)
class ConvInput:
    """What enters a layer's convolution.

    x: all tokens'; carried: what each slot of the carry remembers; reread: from the last K inputs of some tokens
    """

    x: Float[Tensor, "tokens channels"]
    carried: Float[Tensor, "slots taps channels"] | None
    taps: int
    reread: Callable[[Float[Tensor, "some K channels"]], Reread]


def run_scan_with_cuts(
    recurrence: Recurrence,
    conv: ConvInput,
    state: Float[Tensor, "slots ..."] | None,
    segments: Segments,
    tap: LayerTap,
) -> tuple[Float[Tensor, "tokens ..."], Float[Tensor, "keep ..."]]:
    """As `run_scan`, with every cut of the layer made. Segments that read from views alone have no true scan to run."""
    rest = _true_segments(segments, tap)
    if len(rest) == segments.count:
        out, kept = run_scan(recurrence, state, segments, tap)
    else:
        out, kept = torch.empty_like(recurrence.u), recurrence.u.new_empty(0)
        if len(rest):
            tokens = ranges(segments.offsets[rest], segments.lengths[rest])
            some = Segments.of(segments.lengths[rest], slots=segments.slots[rest])
            found = recurrence.scan(tokens, state, some, skip=True, all_states=False)
            out[torch.from_numpy(tokens).to(out.device)] = found.out
    return cut_readout(out, recurrence, conv, state, segments, tap), kept


def _true_segments(segments: Segments, tap: LayerTap) -> np.ndarray:
    """The segments whose own scan somebody reads."""
    every = np.arange(segments.count)
    looked_at = tap.wants("state", "write", "skip")
    if not tap.views or looked_at or len(segments.keep) or torch.is_grad_enabled():
        return every
    assert tap.layer is not None
    whole = [v.targets for v in tap.views if v.cut.features_at(tap.layer) is None]
    read = np.bincount(
        segments.segment_of[np.concatenate([*whole, every[:0]])], minlength=len(every)
    )
    return np.flatnonzero(read < segments.lengths)


def cut_readout(
    out: Float[Tensor, "tokens ..."],
    recurrence: Recurrence,
    conv: ConvInput,
    state: Float[Tensor, "slots ..."] | None,
    segments: Segments,
    tap: LayerTap,
) -> Float[Tensor, "tokens ..."]:
    """The scan's output with every cut of this layer made; keeps the states that a view is to keep."""
    for view in tap.views:
        tokens, counts = view.tokens(segments)
        jobs = np.repeat(np.arange(len(counts)), counts)
        _refuse_edits(FIXED, view, tokens, segments, tap)
        source = view.sources[jobs, segments.positions[tokens]]
        seen = recurrence.taken(tokens)
        if view.cut.taps:
            seen = _without_taps(seen, view, tokens, jobs, conv, segments, tap)
        found, kept = _scan(seen, view, source, counts, state, segments, tap)
        if view.keep:
            tap.kept_views.append(kept)
        if len(view.targets):
            out = _read(out, found, view, tokens, tap)
    return out


def _without_taps(
    seen: Recurrence,
    view: View,
    tokens: np.ndarray,
    jobs: np.ndarray,
    conv: ConvInput,
    segments: Segments,
    tap: LayerTap,
) -> Recurrence:
    """The scan's inputs, computed anew where the convolution reaches a source."""
    hidden = _hidden_taps(view, jobs, segments.positions[tokens], conv.taps)
    rows = np.flatnonzero(hidden.any(axis=1))
    if not len(rows):
        return seen
    _refuse_edits(RECOMPUTED, view, tokens[rows], segments, tap)
    windows = conv_carry(conv.x, conv.carried, replace(segments, keep=tokens[rows]), conv.taps + 1)
    mask = torch.from_numpy(hidden[rows]).to(windows.device)[:, :, None]
    mean = view.cut.conv_mean
    fill = windows.new_zeros(()) if mean is None else mean[_layer(tap)].to(windows)
    reread = conv.reread(torch.where(mask, fill, windows))
    return seen.replaced(torch.from_numpy(rows).to(windows.device), *reread)


def _hidden_taps(
    view: View, jobs: np.ndarray, positions: np.ndarray, taps: int
) -> Bool[np.ndarray, "tokens K"]:
    """By token and tap, oldest first: whether the tap lies on a source. A token's tap on itself stays, unless its own write
    is to follow from the mean.
    """
    back = np.arange(taps - 1, -1, -1)
    at = positions[:, None] - back
    hidden = (at >= 0) & view.sources[jobs[:, None], np.maximum(at, 0)]
    hidden[:, -1] &= view.cut.recomputes_sources
    return hidden


def _scan(
    seen: Recurrence,
    view: View,
    source: Bool[np.ndarray, " tokens"],
    counts: np.ndarray,
    state: Tensor | None,
    segments: Segments,
    tap: LayerTap,
) -> tuple[Tensor, Tensor]:
    """The second recurrence over all jobs: its output for every token, and the state after each job."""
    starts, slots = _starts(view, state, segments)
    jobs = Segments.of(counts, slots=slots, keep="last" if view.keep else "none")
    cut = view.cut
    written = seen
    if cut.own_write and not cut.recomputes_sources:
        written = seen.silenced(torch.from_numpy(source), decaying=cut.mode != "no_decay")
    if cut.write_mean is None:
        result = written.scan(None, starts, jobs, skip=False, all_states=False)
        return result.out + seen.skip(), result.kept
    mean = cut.write_mean[_layer(tap)]
    out, kept = scan_adding(written, starts, jobs, np.flatnonzero(source), mean)
    return out + seen.skip(), kept


def _starts(
    view: View, state: Tensor | None, segments: Segments
) -> tuple[Tensor | None, np.ndarray]:
    """States, and each job's entry among them: the view's own before its segment, else the segment's; -1 for nothing."""
    own = segments.slots[view.segments]
    if view.start is None or view.slots is None or (view.slots < 0).all():
        return state, own
    if state is None or (view.slots >= 0).all():
        return view.start, view.slots
    # Some jobs start from either: entries of a view lie behind those of the carry.
    both = torch.cat([state, view.start.to(state)])
    return both, np.where(view.slots >= 0, view.slots + len(state), own)


def _read(
    out: Tensor, found: Tensor, view: View, tokens: np.ndarray, tap: LayerTap
) -> Float[Tensor, "tokens ..."]:
    """`out` with the targets' readout from the view, in the features that are cut."""
    places = torch.from_numpy(np.searchsorted(tokens, view.targets)).to(out.device)
    targets = torch.from_numpy(view.targets).to(out.device)
    read = found[places].to(out.dtype)
    features = view.cut.features_at(_layer(tap))
    if features is not None:
        chosen = torch.as_tensor(list(features), device=out.device)
        read = out[targets].index_copy(1, chosen, read[:, chosen])
    return out.index_copy(0, targets, read)


def _refuse_edits(
    sites: tuple[str, ...], view: View, tokens: np.ndarray, segments: Segments, tap: LayerTap
) -> None:
    """SiteError for an edit of what the view computes in its own way: what it should mean there is undefined."""
    for site in sites:
        edited = tap.edited(site)
        if len(np.intersect1d(edited, tokens)):
            raise SiteError(
                f"a cut of route {view.cut.route!r} cannot be combined with an edit of site {site!r} in the same layer "
                "and prompt; edit 'conv_in', 'gate' or 'scan_out' instead, or another layer"
            )


def _layer(tap: LayerTap) -> int:
    assert tap.layer is not None
    return tap.layer
