"""The causal depthwise convolution and its SiLU on CPU in float32, in one pass, with a gradient written by hand.

    p_t = bias + sum_k w_k x_{t-K+1+k}     y_t = silu(p_t)     x before the segment: its carry, or zeros

Mirrors `definition.causal_conv` (causal_conv1d_ref of Dao-AILab/causal-conv1d). Backward: dp = dy silu'(p), recomputed;
dw_k = sum_t dp_t x_{t-K+1+k}; dx_t = sum_k w_k dp_{t+K-1-k}. Any split of the tokens into jobs will do, since x is at
hand; sums over tokens are taken per job, then over jobs in order.
Shapes: x (tokens, E), rows may lie `step` > E apart; weight flat (K, E); carry (slots, K-1, E).
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambascope.models.kernels.blocks import empty_flat, flat, rows, slots_of, start_gradient
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import (
    LANES,
    load,
    sigmoid,
    splat,
    store,
)
from mambascope.sites.segments import Segments

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)
_JOBS = 16


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, carry: Tensor | None, segments: Segments
) -> Tensor:
    """SiLU of the convolution, without gradients."""
    use_torch_threads()
    out, flat_out = empty_flat(*x.shape)
    source, step = rows(x)
    _convolve(source, step, *_arguments(weight, bias, carry, segments), flat_out)
    return out


class CausalConv(torch.autograd.Function):
    """Autograd through the convolution and its SiLU."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """(x, weight, bias, carry, segments) to y."""
        *tensors, ctx.segments = inputs
        ctx.save_for_backward(*tensors)
        return causal_conv(*tensors, segments=ctx.segments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_out: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Gradients by x, weight, bias and carry."""
        gradients = _backward(*ctx.saved_tensors, segments=ctx.segments, g_out=g_out)
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(g if wanted else None for g, wanted in needed), None


def _arguments(
    weight: Tensor, bias: Tensor | None, carry: Tensor | None, segments: Segments
) -> tuple[Any, ...]:
    E, K = weight.shape
    filters = (flat(weight.detach().t()), flat(bias), flat(carry))
    return *filters, E, K, segments.offsets, slots_of(segments, carry), segments.segment_of


def _backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    carry: Tensor | None,
    segments: Segments,
    g_out: Tensor,
) -> tuple[Tensor | None, ...]:
    use_torch_threads()
    E, K = weight.shape
    source, step = rows(x)
    arguments = _arguments(weight, bias, carry, segments)
    _inner, flat_inner = empty_flat(len(x), E)
    dw, flat_dw = empty_flat(_JOBS, K + 1, E)
    dx, flat_dx = empty_flat(len(x), E)
    d_start, flat_d_start = empty_flat(segments.count if carry is not None else 0, K - 1, E)
    _by_filter(source, step, *arguments, flat(g_out), flat_inner, flat_dw)
    _by_input(flat_inner, *arguments, flat_dx, flat_d_start)
    summed = dw.sum(0)
    d_carry = None if carry is None else start_gradient(carry, segments, d_start)
    return dx, summed[:K].t(), None if bias is None else summed[K], d_carry


@inlined
def _convolved(x, step, weight, bias, carry, E, K, slot, within, t, e):
    """p_t for sixteen channels from e on; the first taps of a segment's first tokens lie in its carry."""
    before = max(0, K - 1 - within)
    p = splat(_NOTHING)
    if len(bias):
        p = load(bias, e)
    if slot >= 0:
        for k in range(before):
            p = p + load(weight, k * E + e) * load(carry, (slot * (K - 1) + within + k) * E + e)
    for k in range(before, K):
        p = p + load(weight, k * E + e) * load(x, (t - (K - 1) + k) * step + e)
    return p


@kernel
def _convolve(x, step, weight, bias, carry, E, K, offsets, slots, segment_of, out):
    tokens = len(segment_of)
    for job in prange(_JOBS):
        for t in range(job * tokens // _JOBS, (job + 1) * tokens // _JOBS):
            s = segment_of[t]
            within, slot = t - offsets[s], slots[s]
            for e in range(0, E, LANES):
                p = _convolved(x, step, weight, bias, carry, E, K, slot, within, t, e)
                store(out, t * E + e, p * sigmoid(p))


@kernel
def _by_filter(x, step, weight, bias, carry, E, K, offsets, slots, segment_of, g_out, inner, dw):
    """dp of every token, and each job's share of dw (rows 0 to K-1) and of the bias' gradient (row K)."""
    tokens = len(segment_of)
    for job in prange(_JOBS):
        base = job * (K + 1) * E
        dw[base : base + (K + 1) * E] = _NOTHING
        for t in range(job * tokens // _JOBS, (job + 1) * tokens // _JOBS):
            s = segment_of[t]
            within, slot = t - offsets[s], slots[s]
            before = max(0, K - 1 - within)
            for e in range(0, E, LANES):
                p = _convolved(x, step, weight, bias, carry, E, K, slot, within, t, e)
                on = sigmoid(p)
                dp = load(g_out, t * E + e) * on * (p * (splat(_ONE) - on) + _ONE)
                store(inner, t * E + e, dp)
                _add(dw, base + K * E + e, dp)
                if slot >= 0:
                    for k in range(before):
                        seen = load(carry, (slot * (K - 1) + within + k) * E + e)
                        _add(dw, base + k * E + e, dp * seen)
                for k in range(before, K):
                    _add(dw, base + k * E + e, dp * load(x, (t - (K - 1) + k) * step + e))


@inlined
def _add(target, at, value):
    store(target, at, load(target, at) + value)


@kernel
def _by_input(inner, weight, bias, carry, E, K, offsets, slots, segment_of, dx, d_start):
    """dx of every token, and of every input before a segment that starts from a carry."""
    tokens = len(segment_of)
    for job in prange(_JOBS):
        for t in range(job * tokens // _JOBS, (job + 1) * tokens // _JOBS):
            end = offsets[segment_of[t] + 1]
            for e in range(0, E, LANES):
                store(dx, t * E + e, _reached(inner, weight, E, K, t, t, end, e))
    for s in prange(len(slots)):
        if slots[s] >= 0:
            for row in range(K - 1):
                t = offsets[s] - (K - 1) + row
                for e in range(0, E, LANES):
                    by_input = _reached(inner, weight, E, K, t, offsets[s], offsets[s + 1], e)
                    store(d_start, (s * (K - 1) + row) * E + e, by_input)


@inlined
def _reached(inner, weight, E, K, t, begin, end, e):
    """The sum of w_k dp over the tokens of [begin, end) that the input at t reaches."""
    g = splat(_NOTHING)
    for k in range(max(0, t + K - end), min(K, t + K - begin)):
        g = g + load(weight, k * E + e) * load(inner, (t + K - 1 - k) * E + e)
    return g
