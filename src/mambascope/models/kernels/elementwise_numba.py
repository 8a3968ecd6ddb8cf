"""What is left between the products, and behind the last one: gate, softplus, RMS norm, log-sum-exp; CPU, float32, no gradients.

    gate: out z sigmoid(z)      softplus: max(x, 0) + log1p(exp(-|x|)), x already with its bias
    RMS norm: x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019)

Mirrors the PyTorch expressions in dispatch.py, each in one pass over memory. Shapes: (tokens, width), width a multiple of LANES
but for log-sum-exp; z and x may be column slices of wider tensors.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import SHARES, empty_flat, flat, result_flat, rows
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import (
    LANES,
    exp,
    load,
    maximum,
    sigmoid,
    softplus,
    splat,
    store,
    total,
)

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)


def gate(out: Tensor, z: Tensor, overwrite: bool = False) -> Tensor:
    """out * silu(z), written over `out` if that may be."""
    use_torch_threads()
    gated, flat_gated = result_flat(out, overwrite)
    _gate(*rows(out), *rows(z), out.shape[1], flat_gated)
    return gated


def softplus_bias(x: Tensor, bias: Tensor | None, overwrite: bool = False) -> Tensor:
    """softplus(x + bias), written over `x` if that may be."""
    use_torch_threads()
    out, flat_out = result_flat(x, overwrite)
    _softplus(*rows(x), flat(bias), x.shape[1], flat_out)
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float, overwrite: bool = False) -> Tensor:
    """x / rms(x) * weight, written over `x` if that may be."""
    use_torch_threads()
    out, flat_out = result_flat(x, overwrite)
    _rms_norm(*rows(x), flat(weight), np.float32(eps), flat_out)
    return out


def log_sum_exp(x: Tensor) -> Tensor:
    """log sum exp of each row: x (rows, width) to (rows,)."""
    use_torch_threads()
    out, flat_out = empty_flat(len(x))
    _log_sum_exp(*rows(x), x.shape[1], flat_out)
    return out


@kernel
def _gate(out, out_step, z, z_step, width, gated):
    tokens = len(gated) // width
    for share in prange(SHARES):
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            for e in range(0, width, LANES):
                by = load(z, t * z_step + e)
                store(gated, t * width + e, load(out, t * out_step + e) * (by * sigmoid(by)))


@kernel
def _softplus(x, x_step, bias, width, out):
    tokens = len(out) // width
    for share in prange(SHARES):
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            for e in range(0, width, LANES):
                now = load(x, t * x_step + e)
                if len(bias):
                    now = now + load(bias, e)
                store(out, t * width + e, softplus(now))


@kernel
def _rms_norm(x, x_step, weight, eps, out):
    width = len(weight)
    tokens = len(out) // width
    for share in prange(SHARES):
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            normalise(x, t * x_step, weight, eps, out, t * width)


@inlined
def normalise(x, at, weight, eps, out, to):
    """The RMS norm of one row."""
    width, squares = len(weight), splat(_NOTHING)
    for e in range(0, width, LANES):
        now = load(x, at + e)
        squares = squares + now * now
    scale = _ONE / np.sqrt(total(squares) / np.float32(width) + eps)
    for e in range(0, width, LANES):
        store(out, to + e, load(x, at + e) * scale * load(weight, e))


@kernel
def _log_sum_exp(x, step, width, out):
    whole = width // LANES * LANES
    for row in prange(len(out)):
        at, tops = row * step, np.full(LANES, -np.inf, dtype=np.float32)
        top = load(tops, 0)
        for i in range(at, at + whole, LANES):
            top = maximum(load(x, i), top)
        store(tops, 0, top)
        highest = tops.max()
        for i in range(at + whole, at + width):
            highest = max(highest, x[i])
        sums, rest = splat(_NOTHING), np.float32(0.0)
        for i in range(at, at + whole, LANES):
            sums = sums + exp(load(x, i) - highest)
        for i in range(at + whole, at + width):
            rest += np.exp(x[i] - highest)
        if np.isfinite(highest):
            out[row] = highest + np.log(total(sums) + rest)
        else:  # all is lost in the difference from it
            out[row] = highest
            for i in range(at, at + width):
                if np.isnan(x[i]):
                    out[row] = np.nan
