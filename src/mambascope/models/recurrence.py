"""Running a layer's convolution and scan with edits in the middle.

`state` at position t is h_t **after** the update by token t: an edit of it changes the readout y_t and everything that
flows on to t+1. `conv_carry` at t is what the convolution remembers after t: an edit changes later positions only.
Both are edited where they arise: the segments are cut after each edited token into pieces; the i-th pieces of all
segments run together, the edit is made at their ends, and the next pieces go on from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.models.kernels import ScanOutput, causal_conv, conv_carry
from mambascope.models.kernels.definition import starting_entries
from mambascope.sites import LayerTap, Segments


@dataclass(frozen=True, eq=False)
class Pieces:
    """One round of pieces. `tokens`: their packed indices; piece i belongs to segment `of[i]`, its slot."""

    segments: Segments
    tokens: np.ndarray
    of: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """Packed index, in the whole batch, of each piece's last token."""
        return self.tokens[self.segments.last]


def cut_into_pieces(segments: Segments, stops: np.ndarray) -> Iterator[Pieces]:
    """The segments cut after each stop (packed indices), in rounds that can run one after the other."""
    is_end = np.zeros(segments.tokens, dtype=bool)
    is_end[stops] = True
    is_end[segments.last] = True
    ends = np.flatnonzero(is_end)
    begins = np.concatenate([[0], ends[:-1] + 1])
    of = segments.segment_of[ends]
    nth = np.arange(len(ends)) - np.searchsorted(of, of)
    for number in range(int(nth.max()) + 1):
        chosen = np.flatnonzero(nth == number)
        lengths = ends[chosen] - begins[chosen] + 1
        tokens = np.concatenate(
            [np.arange(b, e + 1) for b, e in zip(begins[chosen], ends[chosen], strict=True)]
        )
        piece = Segments.of(
            lengths,
            rows=segments.rows[of[chosen]],
            starts=segments.positions[begins[chosen]],
            slots=of[chosen],
            keep="last",
        )
        yield Pieces(piece, tokens, of[chosen])


def convolve(
    x: Float[Tensor, "tokens E"],
    weight: Float[Tensor, "E K"],
    bias: Float[Tensor, " E"] | None,
    carried: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
    tap: LayerTap,
) -> tuple[Float[Tensor, "tokens E"], Float[Tensor, "keep taps E"]]:
    """SiLU of the causal convolution, and what it remembers after each kept token; site `conv_carry`."""
    taps = weight.shape[1]
    if not tap.wants("conv_carry"):
        return (
            causal_conv(x, weight, bias, carried, segments),
            conv_carry(x, carried, segments, taps),
        )
    memory = starting_entries(carried, segments, x.new_empty(taps - 1, x.shape[1]))
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    after = x.new_empty(segments.tokens, taps - 1, x.shape[1])
    for piece in cut_into_pieces(segments, tap.edited("conv_carry")):
        index = torch.from_numpy(piece.tokens).to(x.device)
        part, every = x[index], _keeping(piece.segments, np.arange(len(piece.tokens)))
        out = out.index_copy(0, index, causal_conv(part, weight, bias, memory, piece.segments))
        after = after.index_copy(0, index, conv_carry(part, memory, every, taps))
        ends = torch.from_numpy(piece.ends).to(x.device)
        edited = tap.edit("conv_carry", after[ends], piece.ends)
        after = after.index_copy(0, ends, edited)
        memory = memory.index_copy(0, torch.from_numpy(piece.of).to(x.device), edited)
    if tap.records("conv_carry"):
        tap.record("conv_carry", after)
    return out, after[torch.from_numpy(segments.keep).to(x.device)]


@runtime_checkable
class Recurrence(Protocol):
    """The scan of one layer on given inputs: h_t = exp(dt_t A) h_{t-1} + write_t,  y_t = C_t h_t + skip_t."""

    def scan(
        self,
        tokens: np.ndarray | None,
        state: Tensor | None,
        segments: Segments,
        *,
        skip: bool,
        all_states: bool,
    ) -> ScanOutput:
        """Run over the tokens with these packed indices (None: all); leave out the skip term if it is not wanted."""
        ...

    def write(self) -> Tensor:
        """What each token adds to the state, dt B u: (tokens, *state axes)."""
        ...

    def skip(self) -> Tensor:
        """D u: (tokens, *channel axes)."""
        ...

    def readout(self, state: Tensor, tokens: np.ndarray) -> Tensor:
        """C h without the skip, for states of the tokens with these packed indices."""
        ...


def run_scan(
    recurrence: Recurrence, state: Tensor | None, segments: Segments, tap: LayerTap
) -> tuple[Tensor, Tensor]:
    """The scan's output (tokens, ...) and the state after each kept token; sites `write`, `state`, `skip`."""
    if tap.wants("skip"):
        skip = tap("skip", recurrence.skip())
        out, kept = _scan_with_states(recurrence, state, segments, tap, with_skip=False)
        return out + skip, kept
    return _scan_with_states(recurrence, state, segments, tap, with_skip=True)


def _scan_with_states(
    recurrence: Recurrence, state: Tensor | None, segments: Segments, tap: LayerTap, with_skip: bool
) -> tuple[Tensor, Tensor]:
    change = None
    if tap.wants("write"):
        write = recurrence.write()
        change = tap("write", write) - write
    stops = tap.edited("write", "state")
    record = tap.records("state")
    if len(stops):
        return _scan_in_pieces(recurrence, state, segments, tap, stops, change, with_skip)
    result = recurrence.scan(None, state, segments, skip=with_skip, all_states=record)
    if record:
        assert result.states is not None
        tap.record("state", result.states)
    return result.out, result.kept


def _scan_in_pieces(
    recurrence: Recurrence,
    state: Tensor | None,
    segments: Segments,
    tap: LayerTap,
    stops: np.ndarray,
    change: Tensor | None,
    with_skip: bool,
) -> tuple[Tensor, Tensor]:
    """The scan with its state edited after each stop."""
    skip = recurrence.skip() if with_skip else None
    record = tap.records("state")
    memory: Tensor | None = None
    outs: list[Tensor] = []
    states: list[Tensor] = []
    kept: list[Tensor] = []
    order: list[np.ndarray] = []
    kept_order: list[np.ndarray] = []
    for piece in cut_into_pieces(segments, stops):
        wanted = np.union1d(
            piece.segments.last, np.flatnonzero(np.isin(piece.tokens, segments.keep))
        )
        if memory is None:
            one = recurrence.scan(
                piece.tokens[:1], None, Segments.of([1], keep="last"), skip=False, all_states=False
            )
            memory = starting_entries(state, segments, one.kept[0])
        result = recurrence.scan(
            piece.tokens,
            memory,
            _keeping(piece.segments, wanted),
            skip=with_skip,
            all_states=record,
        )
        ends = piece.ends
        at_end = torch.from_numpy(np.searchsorted(wanted, piece.segments.last))
        before = result.kept[at_end]
        after = before
        if change is not None:
            after = after + change[torch.from_numpy(ends)]
        after = tap.edit("state", after, ends)
        is_stop = np.isin(ends, stops)
        edited = torch.from_numpy(np.flatnonzero(is_stop))
        after = before.index_copy(0, edited, after[edited])
        last = torch.from_numpy(piece.segments.last)
        reread = recurrence.readout(after[edited], ends[is_stop])
        if skip is not None:
            reread = reread + skip[torch.from_numpy(ends[is_stop])]
        outs.append(result.out.index_copy(0, last[edited], reread.to(result.out.dtype)))
        order.append(piece.tokens)
        kept.append(result.kept.index_copy(0, at_end, after))
        kept_order.append(piece.tokens[wanted])
        if record:
            assert result.states is not None
            states.append(result.states.index_copy(0, last, after))
        memory = memory.index_copy(0, torch.from_numpy(piece.of), after)
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    if record:
        tap.record("state", torch.cat(states)[back])
    found = np.concatenate(kept_order)
    by_token = np.argsort(found)
    chosen = by_token[np.searchsorted(found[by_token], segments.keep)]
    return torch.cat(outs)[back], torch.cat(kept)[torch.from_numpy(chosen)]


def _keeping(segments: Segments, keep: np.ndarray) -> Segments:
    return Segments.of(
        segments.lengths,
        rows=segments.rows,
        starts=segments.starts,
        slots=segments.slots,
        keep=keep,
    )
