"""Running a layer's convolution and scan with edits in the middle.

`state` at position t is h_t **after** the update by token t: an edit of it changes the readout y_t and everything that
flows on to t+1. `conv_carry` at t is what the convolution remembers after t: an edit changes later positions only.
Both are edited where they arise: the segments are cut after each edited token into pieces; the i-th pieces of all
segments run together, the edit is made at their ends, and the next pieces go on from there.
"""

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.models.kernels import ScanOutput, causal_conv, conv_carry
from mambascope.models.pieces import Gathered, cut_into_pieces, mask_of
from mambascope.sites import LayerTap, Segments


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
    stops = tap.edited("conv_carry")
    if tap.records("conv_carry"):
        return _convolve_in_pieces(
            x, weight, bias, carried, segments, tap, stops, np.arange(len(x))
        )
    wanted = np.union1d(stops, segments.keep)
    return _convolve_in_pieces(x, weight, bias, carried, segments, tap, stops, wanted)


def convolved(
    windows: Float[Tensor, "some K channels"],
    weight: Float[Tensor, "channels K"],
    bias: Float[Tensor, " channels"] | None,
) -> Float[Tensor, "some channels"]:
    """SiLU of the convolution of single tokens with these last inputs, oldest first."""
    out = torch.einsum("nkc,ck->nc", windows, weight)
    return F.silu(out if bias is None else out + bias)


def _convolve_in_pieces(
    x: Float[Tensor, "tokens E"],
    weight: Float[Tensor, "E K"],
    bias: Float[Tensor, " E"] | None,
    carried: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
    tap: LayerTap,
    stops: np.ndarray,
    wanted: np.ndarray,
) -> tuple[Float[Tensor, "tokens E"], Float[Tensor, "keep taps E"]]:
    """The convolution with what it remembers edited after each stop; `wanted`: the tokens after which that is needed."""
    is_wanted, is_stop = (mask_of(tokens, len(x)) for tokens in (wanted, stops))
    outs, after = Gathered(len(x)), Gathered(len(x))
    memory = carried
    for piece in cut_into_pieces(segments, stops):
        part = x[torch.from_numpy(piece.tokens).to(x.device)]
        outs.add(piece.tokens, causal_conv(part, weight, bias, memory, piece.segments))
        keep = piece.places(is_wanted)
        tokens = piece.tokens[keep]
        remembered = conv_carry(part, memory, replace(piece.segments, keep=keep), weight.shape[1])
        after.add(tokens, remembered)
        if len(piece.stops):
            memory = remembered[torch.from_numpy(np.flatnonzero(is_stop[tokens])).to(x.device)]
            memory = tap.edit("conv_carry", memory, piece.stops)
            after.add(piece.stops, memory)
    if tap.records("conv_carry"):
        tap.record("conv_carry", after.at(np.arange(len(x))))
    return outs.at(np.arange(len(x))), after.at(segments.keep)


_Inputs = TypeVar("_Inputs", bound="ScanInputs")


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

    @property
    def u(self) -> Tensor:
        """The scan's input: (tokens, *channel axes)."""
        ...

    def taken(self, tokens: np.ndarray) -> "Recurrence":
        """The scan on the inputs of the tokens with these packed indices alone."""
        ...

    def replaced(
        self, rows: Tensor, u: Tensor, dt: Tensor | None, B: Tensor, C: Tensor
    ) -> "Recurrence":
        """With the inputs of some tokens replaced; dt stays if it is None."""
        ...

    def silenced(self, chosen: Tensor, *, decaying: bool) -> "Recurrence":
        """With the chosen tokens (a mask) writing nothing; not `decaying`: nor do they decay the state."""
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


@dataclass(frozen=True, eq=False)
class ScanInputs:
    """The inputs that the scans of both Mambas have, one row per token, and how they are changed."""

    u: Float[Tensor, "tokens ..."]
    dt: Float[Tensor, "tokens ..."]
    A: Float[Tensor, "..."]
    B: Float[Tensor, "tokens ..."]
    C: Float[Tensor, "tokens ..."]
    D: Float[Tensor, " _"]

    def taken(self: _Inputs, tokens: np.ndarray) -> _Inputs:
        """See Recurrence."""
        index = torch.from_numpy(tokens).to(self.u.device)
        return replace(self, u=self.u[index], dt=self.dt[index], B=self.B[index], C=self.C[index])

    def replaced(
        self: _Inputs, rows: Tensor, u: Tensor, dt: Tensor | None, B: Tensor, C: Tensor
    ) -> _Inputs:
        """See Recurrence."""
        given = {"u": u, "dt": dt, "B": B, "C": C}
        changed = {
            name: getattr(self, name).index_copy(0, rows, value)
            for name, value in given.items()
            if value is not None
        }
        return replace(self, **changed)

    def silenced(self: _Inputs, chosen: Tensor, *, decaying: bool) -> _Inputs:
        """See Recurrence."""
        rows = chosen.nonzero()[:, 0].to(self.u.device)
        quiet = replace(self, u=self.u.index_fill(0, rows, 0.0))
        return quiet if decaying else replace(quiet, dt=self.dt.index_fill(0, rows, 0.0))


def run_scan(
    recurrence: Recurrence, state: Tensor | None, segments: Segments, tap: LayerTap
) -> tuple[Tensor, Tensor]:
    """The scan's output (tokens, ...) and the state after each kept token; sites `write`, `state`, `skip`."""
    if tap.wants("skip"):
        skip = tap("skip", recurrence.skip())
        out, kept = _scan_with_states(recurrence, state, segments, tap, with_skip=False)
        return out + skip, kept
    return _scan_with_states(recurrence, state, segments, tap, with_skip=True)


def scan_adding(
    recurrence: Recurrence,
    state: Tensor | None,
    segments: Segments,
    tokens: np.ndarray,
    addend: Float[Tensor, "..."],
) -> tuple[Tensor, Tensor]:
    """The scan without its skip, with `addend` (one state's axes) added to the state after each of these tokens."""
    change = addend.expand(segments.tokens, *addend.shape)
    return _scan_in_pieces(recurrence, state, segments, LayerTap(None), tokens, change, False)


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
    count = segments.tokens
    is_wanted = mask_of(segments.keep, count) | mask_of(stops, count)
    is_stop = mask_of(stops, count)
    outs, states, kept = Gathered(count), Gathered(count), Gathered(count)
    for piece in cut_into_pieces(segments, stops):
        wanted = piece.places(is_wanted)
        result = recurrence.scan(
            piece.tokens,
            state,
            replace(piece.segments, keep=wanted),
            skip=with_skip,
            all_states=record,
        )
        outs.add(piece.tokens, result.out)
        kept.add(piece.tokens[wanted], result.kept)
        if record:
            assert result.states is not None
            states.add(piece.tokens, result.states)
        if not len(piece.stops):
            continue
        at_stops = torch.from_numpy(piece.stops).to(result.out.device)
        before = np.flatnonzero(is_stop[piece.tokens[wanted]])
        state = result.kept[torch.from_numpy(before).to(result.out.device)]
        if change is not None:
            state = state + change[at_stops]
        state = tap.edit("state", state, piece.stops)
        reread = recurrence.readout(state, piece.stops)
        reread = reread if skip is None else reread + skip[at_stops]
        outs.add(piece.stops, reread.to(result.out.dtype))
        kept.add(piece.stops, state)
        states.add(piece.stops, state)
    if record:
        tap.record("state", states.at(np.arange(count)))
    return outs.at(np.arange(count)), kept.at(segments.keep)
