"""The definition of the scans and of the convolution: plain PyTorch loops over time, any device, any floating dtype.

    selective scan, Mamba-1 (Gu & Dao 2023, Algorithm 2):  h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t,  y_t = C_t h_t + D u_t
    SSD, Mamba-2 (Dao & Gu 2024, section 6):               the same with one A and one dt per head, h_t of shape (P, N)

References: selective_scan_ref of state-spaces/mamba and ssd_minimal.py. Differences: packed tokens, a start state for each
segment, the state after any token. Autograd goes through; every faster kernel is compared with this file in float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.sites.segments import Segments


class ScanOutput(NamedTuple):
    """y of every token, the state after each kept token, and (if asked) the state after every token."""

    out: Float[Tensor, "tokens ..."]
    kept: Float[Tensor, "keep ..."]
    states: Float[Tensor, "tokens ..."] | None


def selective_scan(
    u: Float[Tensor, "tokens E"],
    dt: Float[Tensor, "tokens E"],
    A: Float[Tensor, "E N"],
    B: Float[Tensor, "tokens N"],
    C: Float[Tensor, "tokens N"],
    D: Float[Tensor, " E"] | None,
    state: Float[Tensor, "slots E N"] | None,
    segments: Segments,
    *,
    all_states: bool = False,
) -> ScanOutput:
    """The selective scan of Mamba-1."""
    x = dt * u
    padded_dt, padded_x, padded_B, padded_C = (segments.pad(v) for v in (dt, x, B, C))

    def step(t: int, h: Tensor) -> tuple[Tensor, Tensor]:
        decay = torch.exp(padded_dt[:, t, :, None] * A)
        h = decay * h + padded_x[:, t, :, None] * padded_B[:, t, None, :]
        return h, (h * padded_C[:, t, None, :]).sum(-1)

    start = starting_entries(state, segments, u.new_empty(A.shape))
    result = _recur(step, start, segments, all_states)
    return result if D is None else result._replace(out=result.out + D * u)


def ssd_scan(
    u: Float[Tensor, "tokens H P"],
    dt: Float[Tensor, "tokens H"],
    A: Float[Tensor, " H"],
    B: Float[Tensor, "tokens G N"],
    C: Float[Tensor, "tokens G N"],
    D: Float[Tensor, " H"] | None,
    state: Float[Tensor, "slots H P N"] | None,
    segments: Segments,
    *,
    all_states: bool = False,
) -> ScanOutput:
    """The scan of Mamba-2; head h reads B and C of group h // (H / G)."""
    heads = u.shape[1]
    x, decay = dt[:, :, None] * u, torch.exp(dt * A)
    B, C = (v.repeat_interleave(heads // v.shape[1], dim=1) for v in (B, C))
    padded_decay, padded_x, padded_B, padded_C = (segments.pad(v) for v in (decay, x, B, C))

    def step(t: int, h: Tensor) -> tuple[Tensor, Tensor]:
        write = padded_x[:, t, :, :, None] * padded_B[:, t, :, None, :]
        h = padded_decay[:, t, :, None, None] * h + write
        return h, (h * padded_C[:, t, :, None, :]).sum(-1)

    start = starting_entries(state, segments, u.new_empty(*u.shape[1:], B.shape[-1]))
    result = _recur(step, start, segments, all_states)
    return result if D is None else result._replace(out=result.out + D[:, None] * u)


def causal_conv(
    x: Float[Tensor, "tokens E"],
    weight: Float[Tensor, "E K"],
    bias: Float[Tensor, " E"] | None,
    carry: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
) -> Float[Tensor, "tokens E"]:
    """SiLU of the depthwise convolution: silu(bias + sum_k weight[:, k] x_{t-K+1+k}), reaching back into the carry."""
    taps = weight.shape[1] - 1
    before = starting_entries(carry, segments, x.new_empty(taps, x.shape[1]))
    window = torch.cat([before, segments.pad(x)], dim=1)
    steps = window.shape[1] - taps
    out = sum(window[:, k : k + steps] * weight[:, k] for k in range(taps + 1))
    assert isinstance(out, Tensor)
    return F.silu(segments.unpad(out if bias is None else out + bias))


def conv_carry(
    x: Float[Tensor, "tokens E"],
    carry: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
    taps: int,
) -> Float[Tensor, "keep remembered E"]:
    """The last `taps` - 1 inputs of the convolution at each kept token, oldest first, reaching back into the carry."""
    remembered = taps - 1
    if len(segments.keep) == 0 or remembered == 0:
        return x.new_zeros(len(segments.keep), remembered, x.shape[1])
    if (
        carry is not None
        and carry.shape[1] == remembered
        and segments.single
        and (segments.slots >= 0).all()
    ):
        before = carry.to(x.dtype)[_index(segments.slots[segments.keep], x)]
        return torch.cat([before[:, 1:], x[_index(segments.keep, x)][:, None]], dim=1)
    of = segments.segment_of[segments.keep]
    back = np.arange(remembered - 1, -1, -1)
    within = (segments.keep - segments.offsets[of])[:, None] - back
    here = x[_index(np.maximum(segments.keep[:, None] - back, 0), x)]
    if carry is not None:
        slots = np.broadcast_to(np.maximum(segments.slots[of], 0)[:, None], within.shape)
        earlier = carry.to(x.dtype)[_index(slots, x), _index(np.clip(within, -remembered, -1), x)]
        fresh = _index((segments.slots[of] < 0)[:, None], x)
        earlier = earlier.masked_fill(fresh[:, :, None], 0.0)
    else:
        earlier = x.new_zeros(())
    return torch.where(_index(within >= 0, x)[:, :, None], here, earlier)


def starting_entries(carry: Tensor | None, segments: Segments, like: Tensor) -> Tensor:
    """The carry's entry of each segment, zeros for those that start from nothing. `like` gives one entry's shape and dtype."""
    if carry is None:
        return like.new_zeros(segments.count, *like.shape)
    taken = carry.to(like.dtype)[_index(np.maximum(segments.slots, 0), like)]
    fresh = _index(segments.slots < 0, like).view(-1, *[1] * like.ndim)
    return taken.masked_fill(fresh, 0.0)


def _index(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.array(values)).to(like.device)


def _recur(
    step: Callable[[int, Tensor], tuple[Tensor, Tensor]],
    state: Tensor,
    segments: Segments,
    all_states: bool,
) -> ScanOutput:
    """Step through time; shorter segments go on over their padding, which is never read."""
    outs: list[Tensor] = []
    states: list[Tensor] = []
    empty = state[:0]
    for t in range(int(segments.lengths.max())):
        state, out = step(t, state)
        outs.append(out)
        if all_states or len(segments.keep):
            states.append(state)
    out = segments.unpad(torch.stack(outs, dim=1))
    if not states:
        return ScanOutput(out, empty, None)
    every = segments.unpad(torch.stack(states, dim=1))
    return ScanOutput(out, every[_index(segments.keep, out)], every if all_states else None)
