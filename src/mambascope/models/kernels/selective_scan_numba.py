"""Mamba-1's selective scan on CPU in float32 (Gu & Dao 2023, Algorithm 2), fused: h_t never leaves the first cache.

    h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t        y_t = C_t h_t + D u_t

Mirrors `definition.selective_scan`. Differs: exp(dt A) is 2^(dt (A log2 e)), a polynomial; sums run in another order.
Shapes: u, dt (tokens, E); A (E, N); B, C (tokens, N); state (slots, E, N). All arrays arrive flat.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import (
    WIDTH,
    blocked_rates,
    empty_flat,
    flat,
    read_block,
    result_flat,
    shares,
    slots_of,
    write_block,
)
from mambascope.models.kernels.definition import ScanOutput
from mambascope.models.kernels.jit import kernel, use_torch_threads
from mambascope.models.kernels.reuse import reused_flat
from mambascope.models.kernels.simd import (
    LANES,
    broadcast,
    exp2,
    load,
    prefetch,
    splat,
    store,
)
from mambascope.sites.segments import Segments

_NOTHING = np.float32(0.0)


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    keep: np.ndarray,
    all_states: bool,
    overwrite: bool = False,
) -> ScanOutput:
    """The scan without gradients, keeping the state after the tokens of `keep`; its output over `u` if that may be."""
    use_torch_threads()
    E, N = A.shape
    out, flat_out = result_flat(u, overwrite)
    kept, flat_kept = reused_flat(len(keep), E, N)
    states, flat_states = empty_flat(len(u) if all_states else 0, E, N)
    _scan(
        *(flat(x) for x in (u, dt, B, C, D, state)),
        blocked_rates(A),
        N,
        segments.offsets,
        slots_of(segments, state),
        keep,
        np.searchsorted(keep, segments.offsets),
        shares(segments, -(-E // WIDTH)),
        flat_out,
        flat_kept,
        flat_states,
    )
    return ScanOutput(out, kept, states if all_states else None)


@kernel
def _scan(
    u, dt, B, C, D, state, rates, N, offsets, slots, keep, keep_from, bounds, out, kept, states
):
    E, size = len(u) // offsets[-1], WIDTH * N
    blocks = len(rates) // size
    for share in prange(len(bounds) - 1):
        h = np.zeros(size, dtype=np.float32)
        # Neighbours often start from one slot: it is laid out in blocks once, for all of them.
        begun, held = np.empty(blocks * size, dtype=np.float32), np.full(blocks, -1)
        for pair in range(bounds[share], bounds[share + 1]):
            s, block = pair // blocks, pair % blocks
            first = block * WIDTH
            channels = min(WIDTH, E - first)
            if slots[s] >= 0:
                start = begun[block * size : (block + 1) * size]
                if held[block] != slots[s]:
                    read_block(state, (slots[s] * E + first) * N, channels, N, start)
                    held[block] = slots[s]
                h[:] = start
            else:
                h[:] = _NOTHING
            k = keep_from[s]
            for t in range(offsets[s], offsets[s + 1]):
                for v in range(channels // LANES):
                    at = t * E + first + v * LANES
                    prefetch(dt, at + E)
                    prefetch(u, at + E)
                    d, now = load(dt, at), load(u, at)
                    x, y = d * now, splat(_NOTHING)
                    if len(D):
                        y = load(D, first + v * LANES) * now
                    for n in range(N):
                        i = (v * N + n) * LANES
                        a = exp2(d * load(rates, block * size + i))
                        new = a * load(h, i) + x * broadcast(B, t * N + n)
                        store(h, i, new)
                        y = y + new * broadcast(C, t * N + n)
                    store(out, at, y)
                while k < keep_from[s + 1] and keep[k] == t:
                    write_block(h, channels, N, kept, (k * E + first) * N)
                    k += 1
                if len(states):
                    write_block(h, channels, N, states, (t * E + first) * N)
