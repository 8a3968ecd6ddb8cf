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
from mambascope.models.kernels.few_rows_numba import sixteen_outputs
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import (
    LANES,
    LOG2_E,
    broadcast,
    exp,
    exp2,
    load,
    log1p,
    maximum,
    prefetch,
    sigmoid,
    splat,
    store,
    total,
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
    _selective_step(*inputs, *weights, *sizes, *remembered, flat_out)
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
def _selective_step(
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
    E = len(D)
    count, blocks, width, R = len(out) // E, E // LANES, len(x_proj) // E, len(dt_proj) // E
    groups, outputs = -(-count // LANES), -(-width // LANES)
    u, low = np.empty(count * E, dtype=np.float32), np.empty(count * width, dtype=np.float32)
    # The same with sixteen rows in the lanes.
    u_lanes = np.zeros(groups * E * LANES, dtype=np.float32)
    low_lanes = np.zeros(groups * R * LANES, dtype=np.float32)
    for job in prange(_JOBS):
        w = np.empty(K * LANES, dtype=np.float32)
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            e = block * LANES
            _convolve(x, x_step, filters, bias, E, K, e, w, memory, u)
            for m in range(count):
                for c in range(e, e + LANES):
                    u_lanes[(m // LANES * E + c) * LANES + m % LANES] = u[m * E + c]
    for job in prange(groups * outputs):
        sums = np.empty(LANES * LANES, dtype=np.float32)
        group, first = job // outputs, min(job % outputs * LANES, width - LANES)
        here = u_lanes[group * E * LANES : (group + 1) * E * LANES]
        sixteen_outputs(x_proj, first * E, E, here, sums)
        for m in range(group * LANES, min((group + 1) * LANES, count)):
            for o in range(LANES):
                low[m * width + first + o] = sums[o * LANES + m % LANES]
    for m in range(count):
        if eps >= 0:
            for begin, end in ((0, R), (R, R + N), (R + N, width)):
                _normalise(low, m * width + begin, m * width + end, eps)
        for r in range(R):
            low_lanes[(m // LANES * R + r) * LANES + m % LANES] = low[m * width + r]
    for job in prange(_JOBS):
        rates = np.empty(LANES * N, dtype=np.float32)
        each = np.empty(3 * LANES, dtype=np.float32)  # of sixteen channels: dt, dt u, y
        sums = np.empty(LANES * LANES, dtype=np.float32)
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            e = block * LANES
            for i in range(0, LANES * N, LANES):
                store(rates, i, exp(load(A_log, e * N + i)) * -LOG2_E)
            for m in range(count):
                if m % LANES == 0:
                    here = low_lanes[m // LANES * R * LANES : (m // LANES + 1) * R * LANES]
                    sixteen_outputs(dt_proj, e * R, R, here, sums)
                for c in range(LANES):
                    each[c] = sums[c * LANES + m % LANES]
                now, by = load(u, m * E + e), load(z, m * z_step + e)
                dt = _softplus(load(each, 0) + load(dt_bias, e))
                store(each, 0, dt)
                store(each, LANES, dt * now)
                B = m * width + R
                for c in range(LANES):
                    at = (m * E + e + c) * N
                    each[2 * LANES + c] = _one_channel(
                        state, at, rates, c * N, each, c, low, B, low, B + N, N
                    )
                y = load(each, 2 * LANES) + load(D, e) * now
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
def _one_channel(state, at, rates, rate, each, c, B, B_at, C, C_at, N):
    """C h of one channel after its step; dt and dt u lie at `c` of `each` and a vector further."""
    dt, x, y = broadcast(each, c), broadcast(each, LANES + c), splat(_NOTHING)
    for n in range(0, N, LANES):
        decayed = exp2(dt * load(rates, rate + n)) * load(state, at + n)
        prefetch(
            state, at + n + LANES * N
        )  # this row in the next block, which is far from the other rows
        h = decayed + x * load(B, B_at + n)
        store(state, at + n, h)
        y = y + h * load(C, C_at + n)
    return total(y)


@inlined
def _softplus(x):
    zero = splat(_NOTHING)
    return maximum(x, zero) + log1p(exp(zero - maximum(x, zero - x)))


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
