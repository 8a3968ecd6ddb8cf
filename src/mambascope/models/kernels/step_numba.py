"""One token of each row, in place on what the layer remembers, on CPU in float32 without gradients: decoding.

    convolution   p = bias + w_K x + sum_k w_k memory_k;  u = silu(p);  the memory moves on by x
    Mamba-1       dt = softplus(low + bias);  h = exp(dt A) h + dt u B;  out = (C h + D u) silu(z)
    Mamba-2       h = exp(dt A) h + dt u B^T;  y = h C + D u

Mirrors conv_numba, selective_scan_numba and ssd_numba. Differs: the lanes run over N, in which a state lies in memory, so a
state is read and written once and never laid out anew; Mamba-1's softplus and gate are part of the pass.
Shapes: memory (rows, K-1, E); state (rows, E, N) or (rows, H, P, N), contiguous; E and N multiples of LANES; x, u, z, B, C may
be column slices of wider tensors.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat, flat, rows
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
    u: Tensor,
    dt_low: Tensor,
    dt_bias: Tensor,
    A_log: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    state: Tensor,
) -> Tensor:
    """Mamba-1's gated output; the state moves on."""
    use_torch_threads()
    out, flat_out = empty_flat(*u.shape)
    inputs = (part for x in (u, dt_low, B, C, z) for part in rows(x))
    weights = (flat(x) for x in (dt_bias, A_log, D))
    _selective_step(*inputs, *weights, *A_log.shape, state.view(-1).numpy(), flat_out)
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
            e = block * LANES
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
    u, u_step, low, low_step, B, B_step, C, C_step, z, z_step, dt_bias, A_log, D, E, N, state, out
):
    blocks = E // LANES
    for job in prange(_JOBS):
        rates = np.empty(LANES * N, dtype=np.float32)
        each = np.empty(3 * LANES, dtype=np.float32)  # of sixteen channels: dt, dt u, y
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            e = block * LANES
            for i in range(0, LANES * N, LANES):
                store(rates, i, exp(load(A_log, e * N + i)) * -LOG2_E)
            for m in range(len(out) // E):
                now, by = load(u, m * u_step + e), load(z, m * z_step + e)
                dt = _softplus(load(low, m * low_step + e) + load(dt_bias, e))
                store(each, 0, dt)
                store(each, LANES, dt * now)
                for c in range(LANES):
                    at = (m * E + e + c) * N
                    each[2 * LANES + c] = _one_channel(
                        state, at, rates, c * N, each, c, B, m * B_step, C, m * C_step, N
                    )
                y = load(each, 2 * LANES) + load(D, e) * now
                store(out, m * E + e, y * (by * sigmoid(by)))


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
