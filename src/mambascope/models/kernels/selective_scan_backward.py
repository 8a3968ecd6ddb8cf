"""The selective scan with gradients: the fused forward pass, and its adjoint written by hand.

With g_t the gradient of the loss by h_t (through y_t, through h_{t+1}, and as kept or recorded state):

    g_t   = gy_t C_t + exp(dt_{t+1} A) g_{t+1} + given_t
    dC_t  = sum_e gy_t h_t      dB_t = sum_e g_t x_t        dx_t = sum_n g_t B_t          (x = dt u)
    d dt_t = dx_t u_t + sum_n g_t A exp(dt_t A) h_{t-1}     du_t = dx_t dt_t + gy_t D     dA = sum_t g_t dt_t exp(dt_t A) h_{t-1}

The forward pass keeps the state every `CHUNK` tokens; the backward pass recomputes the states of one chunk at a time.
Sums over channels and over segments are taken within fixed jobs, then over jobs in a fixed order: same bits every run.
Shapes as in selective_scan_numba.py; given (keep, E, N) and (tokens, E, N); partial dB and dC (blocks, tokens, N).
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambascope.models.kernels import selective_scan_numba as forward_pass
from mambascope.models.kernels.blocks import (
    SHARES,
    VECTORS,
    WIDTH,
    add_block,
    blocked_rates,
    empty_flat,
    flat,
    read_block,
    shares,
    slots_of,
    start_gradient,
    write_block,
)
from mambascope.models.kernels.definition import ScanOutput
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import (
    LANES,
    LN_2,
    broadcast,
    exp2,
    load,
    prefetch,
    splat,
    store,
    total,
)
from mambascope.sites.segments import Segments

CHUNK = 32
_NOTHING = np.float32(0.0)


class SelectiveScan(torch.autograd.Function):
    """Autograd through the fused scan."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """(u, dt, A, B, C, D, state, segments, all_states) to (out, kept, states)."""
        *tensors, segments, all_states = inputs
        marks = checkpoints(segments, CHUNK)
        keep = np.union1d(segments.keep, marks)
        out, every, states = forward_pass.selective_scan(
            *tensors, segments=segments, keep=keep, all_states=all_states
        )
        ctx.save_for_backward(*tensors, every[torch.from_numpy(np.searchsorted(keep, marks))])
        ctx.segments = segments
        kept = every[torch.from_numpy(np.searchsorted(keep, segments.keep))]
        ctx.set_materialize_grads(False)
        return out, kept, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Gradients by u, dt, A, B, C, D and state."""
        *tensors, marked = ctx.saved_tensors
        gradients = _backward(*tensors, ctx.segments, marked, *given)  # pyright: ignore[reportCallIssue]
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(g if wanted else None for g, wanted in needed), None, None


def with_gradients(*tensors: Tensor | None, segments: Segments, all_states: bool) -> ScanOutput:
    """The scan on (u, dt, A, B, C, D, state), differentiable by each of them."""
    return ScanOutput(*SelectiveScan.apply(*tensors, segments, all_states))


def checkpoints(segments: Segments, chunk: int) -> np.ndarray:
    """Packed index of the last token of each chunk that another one of its segment follows."""
    within = np.arange(segments.tokens) - segments.offsets[segments.segment_of]
    ends_chunk = (within + 1) % chunk == 0
    ends_chunk[segments.last] = False
    return np.flatnonzero(ends_chunk)


def _backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    marked: Tensor,
    g_out: Tensor | None,
    g_kept: Tensor | None,
    g_states: Tensor | None,
) -> tuple[Tensor | None, ...]:
    use_torch_threads()
    (tokens, E), N = u.shape, A.shape[1]
    blocks = -(-E // WIDTH)
    du, flat_du = empty_flat(tokens, E)
    d_dt, flat_d_dt = empty_flat(tokens, E)
    dA, flat_dA = empty_flat(SHARES, E, N)
    dD, flat_dD = empty_flat(SHARES, E)
    dB, flat_dB = empty_flat(blocks, tokens, N)
    dC, flat_dC = empty_flat(blocks, tokens, N)
    d_start, flat_d_start = empty_flat(segments.count if state is not None else 0, E, N)
    _adjoint(
        *(flat(x) for x in (u, dt, B, C, D, state, marked)),
        *(flat(x) for x in (torch.zeros_like(u) if g_out is None else g_out, g_kept, g_states)),
        blocked_rates(A),
        N,
        segments.offsets,
        slots_of(segments, state),
        segments.keep,
        np.searchsorted(segments.keep, segments.offsets),
        np.searchsorted(checkpoints(segments, CHUNK), segments.offsets),
        shares(segments, blocks),
        *(flat_du, flat_d_dt, flat_dA, flat_dB, flat_dC, flat_dD, flat_d_start),
    )
    d_state = None if state is None else start_gradient(state, segments, d_start)
    d_skip = None if D is None else dD.sum(0)
    return du, d_dt, dA.sum(0), dB.sum(0), dC.sum(0), d_skip, d_state


@kernel
def _adjoint(
    u,
    dt,
    B,
    C,
    D,
    state,
    marked,
    g_out,
    g_kept,
    g_states,
    rates,
    N,
    offsets,
    slots,
    keep,
    keep_from,
    marked_from,
    bounds,
    du,
    d_dt,
    dA,
    dB,
    dC,
    dD,
    d_start,
):
    tokens, size = offsets[-1], WIDTH * N
    E, blocks = len(u) // tokens, len(rates) // size
    for share in prange(len(bounds) - 1):
        h, g = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        given, by_rate = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        decay = np.zeros(CHUNK * size, dtype=np.float32)
        faded = np.zeros(CHUNK * size, dtype=np.float32)  # exp(dt_t A) h_{t-1}
        row = np.zeros(5 * WIDTH, dtype=np.float32)
        dA[share * E * N : (share + 1) * E * N] = _NOTHING
        by_skip = dD[share * E : (share + 1) * E]
        by_skip[:] = _NOTHING
        for pair in range(bounds[share], bounds[share + 1]):
            s, block = pair // blocks, pair % blocks
            first = block * WIDTH
            channels = min(WIDTH, E - first)
            rate = rates[block * size : (block + 1) * size]
            partial = block * tokens * N
            begin, end = offsets[s], offsets[s + 1]
            k = keep_from[s + 1] - 1
            g[:], by_rate[:] = _NOTHING, _NOTHING
            if channels < WIDTH:  # its other lanes would bring in what the last block left
                row[:], decay[:], faded[:] = _NOTHING, _NOTHING, _NOTHING
            for chunk in range((end - begin - 1) // CHUNK, -1, -1):
                start, stop = begin + chunk * CHUNK, min(end, begin + (chunk + 1) * CHUNK)
                if chunk > 0:
                    at = marked_from[s] + chunk - 1
                    read_block(marked, (at * E + first) * N, channels, N, h)
                elif slots[s] >= 0:
                    read_block(state, (slots[s] * E + first) * N, channels, N, h)
                else:
                    h[:] = _NOTHING
                _recompute(u, dt, B, N, E, first, channels, start, stop, rate, h, decay, faded)
                for t in range(stop - 1, start - 1, -1):
                    while k >= keep_from[s] and keep[k] == t:
                        if len(g_kept):
                            read_block(g_kept, (k * E + first) * N, channels, N, given)
                            _add(g, given)
                        k -= 1
                    if len(g_states):
                        read_block(g_states, (t * E + first) * N, channels, N, given)
                        _add(g, given)
                    _load_row(u, dt, g_out, E, t * E + first, first, channels, row, by_skip)
                    at = (t - start) * size
                    for n in range(N):
                        b, c = broadcast(B, t * N + n), broadcast(C, t * N + n)
                        sum_b, sum_c = splat(_NOTHING), splat(_NOTHING)
                        for v in range(VECTORS):
                            i, j = (v * N + n) * LANES, v * LANES
                            gy, x = load(row, j), load(row, WIDTH + j)
                            before = load(faded, at + i)
                            now = load(g, i) + gy * c
                            sum_c = sum_c + gy * (before + x * b)
                            sum_b = sum_b + now * x
                            store(row, 2 * WIDTH + j, load(row, 2 * WIDTH + j) + now * b)
                            back = now * before
                            by_dt = load(row, 3 * WIDTH + j) + back * load(rate, i)
                            store(row, 3 * WIDTH + j, by_dt)
                            by_A = load(by_rate, i) + back * load(row, 4 * WIDTH + j)
                            store(by_rate, i, by_A)
                            store(g, i, now * load(decay, at + i))
                        dB[partial + t * N + n] = total(sum_b)
                        dC[partial + t * N + n] = total(sum_c)
                    _store_row(u, D, t * E + first, first, channels, row, du, d_dt)
            if slots[s] >= 0:
                write_block(g, channels, N, d_start, (s * E + first) * N)
            add_block(by_rate, channels, N, dA, (share * E + first) * N)


@inlined
def _recompute(u, dt, B, N, E, first, channels, start, stop, rate, h, decay, faded):
    """The chunk's decays, and what each leaves of the state before it, from the state `h` before the chunk."""
    for t in range(start, stop):
        for v in range(channels // LANES):
            at = t * E + first + v * LANES
            prefetch(dt, at + E)
            prefetch(u, at + E)
            d = load(dt, at)
            x = d * load(u, at)
            for n in range(N):
                i = (v * N + n) * LANES
                a = exp2(d * load(rate, i))
                kept = a * load(h, i)
                store(decay, (t - start) * VECTORS * N * LANES + i, a)
                store(faded, (t - start) * VECTORS * N * LANES + i, kept)
                store(h, i, kept + x * broadcast(B, t * N + n))


@inlined
def _add(target, given):
    for i in range(0, len(target), LANES):
        store(target, i, load(target, i) + load(given, i))


@inlined
def _load_row(u, dt, g_out, E, at, first, channels, row, by_skip):
    """One token's gy, x, (zeros for) dx and d dt, dt in `row`; D's gradient goes on."""
    for j in range(0, channels, LANES):
        d, now = load(dt, at + j), load(u, at + j)
        gy = load(g_out, at + j)
        prefetch(g_out, at + j - E)
        store(row, j, gy)
        store(row, WIDTH + j, d * now)
        store(row, 2 * WIDTH + j, splat(_NOTHING))
        store(row, 3 * WIDTH + j, splat(_NOTHING))
        store(row, 4 * WIDTH + j, d)
        store(by_skip, first + j, load(by_skip, first + j) + gy * now)


@inlined
def _store_row(u, D, at, first, channels, row, du, d_dt):
    """One token's gradients by u and dt from those by x and by the decay."""
    for j in range(0, channels, LANES):
        by_x, now = load(row, 2 * WIDTH + j), load(u, at + j)
        by_u = by_x * load(row, 4 * WIDTH + j)
        if len(D):
            by_u = by_u + load(row, j) * load(D, first + j)
        store(du, at + j, by_u)
        store(d_dt, at + j, by_x * now + load(row, 3 * WIDTH + j) * LN_2)
