"""One token of each row, in place on what the layer remembers, on CPU in float32 without gradients: decoding.

    convolution   p = bias + w_K x + sum_k w_k memory_k;  u = silu(p);  the memory moves on by x
    Mamba-1       low, B, C = x_proj u;  dt = softplus(dt_proj low);  h = exp(dt A) h + dt u B;  out = (C h + D u) silu(z)
    Mamba-2       h = exp(dt A) h + dt u B^T;  y = h C + D u

Mirrors conv_numba, few_rows_numba, selective_scan_numba and ssd_numba. Differs: the lanes run over N, in which a state lies
in memory, so a state is read and written once and never laid out anew. Of Mamba-1 all between in_proj and out_proj is one
call: behind the reading of in_proj nothing is left in the second cache, and each call would begin by fetching its own code.
Shapes: memory (rows, K-1, E); state (rows, E, N) or (rows, H, P, N), contiguous; E and N multiples of LANES; x, u, z, B, C may
be column slices of wider tensors.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat, flat, rows
from mambascope.models.kernels.few_rows_numba import rows_to_lanes, sixteen_outputs
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import (
    LANES,
    LOG2_E,
    broadcast,
    exp,
    exp2,
    fold_1,
    fold_2,
    fold_4,
    fold_8,
    load,
    sigmoid,
    softplus,
    splat,
    store,
    total,
    transpose,
)

_NOTHING = np.float32(0.0)
_JOBS = 16


def conv_step(x: Tensor, weight: Tensor, bias: Tensor | None, memory: Tensor) -> Tensor:
    """SiLU of the convolution; the memory moves on."""
    use_torch_threads()
    out, flat_out = empty_flat(*x.shape)
    _conv_step(*rows(x), flat(weight), flat(bias), *weight.shape, memory.view(-1).numpy(), flat_out)
    return out


def selective_step(
    x: Tensor,
    z: Tensor,
    convolution: tuple[Tensor, Tensor | None],
    x_proj: Tensor,
    dt_proj: tuple[Tensor, Tensor],
    A_log: Tensor,
    D: Tensor,
    norm_eps: float | None,
    memory: Tensor,
    state: Tensor,
) -> Tensor:
    """Mamba-1's gated output from what in_proj gives; both memories move on. `norm_eps`: of Falcon's norms, None without."""
    use_torch_threads()
    out, flat_out = empty_flat(*x.shape)
    inputs = *rows(x), *rows(z)
    weights = (flat(w) for w in (*convolution, x_proj, *dt_proj, A_log, D))
    remembered = (m.view(-1).numpy() for m in (memory, state))
    sizes = (
        convolution[0].shape[1],
        A_log.shape[1],
        np.float32(-1 if norm_eps is None else norm_eps),
    )
    selective_step_kernel(*inputs, *weights, *sizes, *remembered, flat_out)
    return out


def ssd_step(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor
) -> Tensor:
    """Mamba-2's output (rows, H, P) from u of that shape, dt (rows, H) and B, C (rows, G, N); the state moves on."""
    use_torch_threads()
    out, flat_out = empty_flat(*u.shape)
    inputs = (part for x in (u, B, C) for part in rows(x.flatten(1)))
    sizes = (*u.shape[1:], *B.shape[1:])
    _ssd_step(*inputs, flat(dt), flat(A), flat(D), *sizes, state.view(-1).numpy(), flat_out)
    return out


@kernel
def _conv_step(x, step, weight, bias, E, K, memory, out):
    blocks = E // LANES
    for job in prange(_JOBS):
        w = np.empty(K * LANES, dtype=np.float32)
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            _convolve(x, step, weight, bias, E, K, block * LANES, w, memory, out)


@inlined
def _convolve(x, step, weight, bias, E, K, e, w, memory, out):
    """Sixteen channels from e on, of all rows; `w`: room for their filters."""
    for c in range(LANES):
        for k in range(K):
            w[k * LANES + c] = weight[(e + c) * K + k]
    for m in range(len(out) // E):
        now = load(x, m * step + e)
        p = now * load(w, (K - 1) * LANES)
        if len(bias):
            p = p + load(bias, e)
        for k in range(K - 1):
            at = (m * (K - 1) + k) * E + e
            p = p + load(memory, at) * load(w, k * LANES)
            store(memory, at, load(memory, at + E) if k < K - 2 else now)
        store(out, m * E + e, p * sigmoid(p))


@kernel
def selective_step_kernel(
    x,
    x_step,
    z,
    z_step,
    filters,
    bias,
    x_proj,
    dt_proj,
    dt_bias,
    A_log,
    D,
    K,
    N,
    eps,
    memory,
    state,
    out,
):
    """All between the projections; `eps`: of Falcon's norms, below 0 without."""
    E = len(D)
    count, blocks, width, R = len(out) // E, E // LANES, len(x_proj) // E, len(dt_proj) // E
    groups, outputs = -(-count // LANES), -(-width // LANES)
    u, low = np.empty(count * E, dtype=np.float32), np.empty(count * width, dtype=np.float32)
    # The same with sixteen rows in the lanes.
    u_lanes = np.empty(groups * E * LANES, dtype=np.float32)
    low_lanes = np.empty(groups * R * LANES, dtype=np.float32)
    for job in prange(_JOBS):
        w = np.empty(K * LANES, dtype=np.float32)
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            e = block * LANES
            _convolve(x, x_step, filters, bias, E, K, e, w, memory, u)
            for group in range(groups):
                last = min(count - group * LANES, LANES) - 1
                transpose(u, group * LANES * E + e, E, last, u_lanes, (group * E + e) * LANES)
    for job in prange(groups * outputs):
        sums = np.empty(LANES * LANES, dtype=np.float32)
        group, first = job // outputs, min(job % outputs * LANES, width - LANES)
        sixteen_outputs(x_proj, first * E, E, u_lanes, group * E * LANES, sums, 0)
        for m in range(group * LANES, min((group + 1) * LANES, count)):
            store(low, m * width + first, load(sums, m % LANES * LANES))
    for group in range(groups):
        begin, some = group * LANES * width, min(count - group * LANES, LANES)
        if eps >= 0:
            for at in range(begin, begin + some * width, width):
                for first, end in ((0, R), (R, R + N), (R + N, width)):
                    _normalise(low, at + first, at + end, eps)
        rows_to_lanes(low, begin, width, some, R, low_lanes, group * R * LANES)
    for job in prange(_JOBS):
        begin, end = job * blocks // _JOBS, (job + 1) * blocks // _JOBS
        rates = np.empty((end - begin) * LANES * N, dtype=np.float32)
        dts = np.empty((end - begin) * LANES * LANES, dtype=np.float32)  # (block, row, channel)
        each = np.empty(2 * LANES, dtype=np.float32)  # of sixteen channels: dt, dt u
        for i in range(0, len(rates), LANES):
            store(rates, i, exp(load(A_log, begin * LANES * N + i)) * -LOG2_E)
        for m in range(count):
            if m % LANES == 0:
                for block in range(begin, end):
                    to = (block - begin) * LANES * LANES
                    sixteen_outputs(dt_proj, block * LANES * R, R, low_lanes, m * R, dts, to)
            for block in range(begin, end):
                e, local = block * LANES, (block - begin) * LANES
                now, by = load(u, m * E + e), load(z, m * z_step + e)
                dt = softplus(load(dts, (local + m % LANES) * LANES) + load(dt_bias, e))
                store(each, 0, dt)
                store(each, LANES, dt * now)
                at, rate, B = (m * E + e) * N, local * N, m * width + R
                q0 = _four_channels(state, at, rates, rate, each, 0, low, B, N)
                q1 = _four_channels(state, at + 4 * N, rates, rate + 4 * N, each, 4, low, B, N)
                q2 = _four_channels(state, at + 8 * N, rates, rate + 8 * N, each, 8, low, B, N)
                q3 = _four_channels(state, at + 12 * N, rates, rate + 12 * N, each, 12, low, B, N)
                y = fold_1(fold_2(q0, q1), fold_2(q2, q3)) + load(D, e) * now
                store(out, m * E + e, y * (by * sigmoid(by)))


@inlined
def _normalise(values, begin, end, eps):
    """Divide these values by their root mean square."""
    squares = np.float32(0.0)
    for i in range(begin, end):
        squares += values[i] * values[i]
    scale = np.float32(1.0) / np.sqrt(squares / np.float32(end - begin) + eps)
    for i in range(begin, end):
        values[i] *= scale


@inlined
def _four_channels(state, at, rates, rate, each, c, low, B, N):
    """C h of four channels after their step, the sums over N folded to four lanes each; C lies behind B."""
    zero = splat(_NOTHING)
    y_0 = y_1 = y_2 = y_3 = zero
    for n in range(0, N, LANES):
        B_n, C_n = load(low, B + n), load(low, B + N + n)
        y_0 = y_0 + _next(state, at + n, rates, rate + n, each, c, B_n) * C_n
        y_1 = y_1 + _next(state, at + N + n, rates, rate + N + n, each, c + 1, B_n) * C_n
        y_2 = y_2 + _next(state, at + 2 * N + n, rates, rate + 2 * N + n, each, c + 2, B_n) * C_n
        y_3 = y_3 + _next(state, at + 3 * N + n, rates, rate + 3 * N + n, each, c + 3, B_n) * C_n
    return fold_4(fold_8(y_0, y_1), fold_8(y_2, y_3))


@inlined
def _next(state, at, rates, rate, each, c, B):
    """Sixteen numbers of a channel's state after their step; dt and dt u lie at `c` of `each` and a vector further."""
    decayed = exp2(broadcast(each, c) * load(rates, rate)) * load(state, at)
    h = decayed + broadcast(each, LANES + c) * B
    store(state, at, h)
    return h


@kernel
def _ssd_step(u, u_step, B, B_step, C, C_step, dt, A, D, H, P, G, N, state, out):
    pairs = len(out) // P
    for job in prange(_JOBS):
        for pair in range(job * pairs // _JOBS, (job + 1) * pairs // _JOBS):
            m, head = pair // H, pair % H
            group = head // (H // G) * N
            decay = exp2(splat(dt[pair] * A[head] * LOG2_E))
            for p in range(P):
                now = u[m * u_step + head * P + p]
                x, y, at = splat(dt[pair] * now), splat(_NOTHING), (pair * P + p) * N
                for n in range(0, N, LANES):
                    write = x * load(B, m * B_step + group + n)
                    h = decay * load(state, at + n) + write
                    store(state, at + n, h)
                    y = y + h * load(C, m * C_step + group + n)
                out[pair * P + p] = total(y) + D[head] * now
