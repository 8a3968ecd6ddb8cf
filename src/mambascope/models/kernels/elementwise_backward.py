"""Gate, softplus and RMS norm with gradients, each again in one pass over memory.

    gate      d out = g z s, d z = g out s (1 + z (1 - s)), s = sigmoid(z)
    softplus  d x = g sigmoid(x + bias), d bias its sum over tokens
    RMS norm  y = x r w, r = (mean(x^2) + eps)^-1/2:  d x = r (g w - x r^2 mean(g w x)), d w = sum over tokens of g x r

Sums over tokens are taken within fixed shares, then over shares in order. Shapes as in elementwise_numba.py.
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambascope.models.kernels import elementwise_numba as forward_pass
from mambascope.models.kernels.blocks import SHARES, empty_flat, flat, rows
from mambascope.models.kernels.jit import kernel, use_torch_threads
from mambascope.models.kernels.simd import LANES, load, sigmoid, splat, store, total

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)


class Gate(torch.autograd.Function):
    """out * silu(z)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """(out, z) to the gated output."""
        ctx.save_for_backward(*inputs)
        return forward_pass.gate(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Gradients by out and z."""
        use_torch_threads()
        out, z = ctx.saved_tensors
        by_out, flat_by_out = empty_flat(*out.shape)
        by_z, flat_by_z = empty_flat(*out.shape)
        _gate(*rows(out), *rows(z), flat(given), out.shape[1], flat_by_out, flat_by_z)
        return by_out, by_z


class SoftplusBias(torch.autograd.Function):
    """softplus(x + bias)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """(x, bias) to the softplus."""
        ctx.save_for_backward(*inputs)
        return forward_pass.softplus_bias(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor | None]:  # pyright: ignore
        """Gradients by x and bias."""
        use_torch_threads()
        x, bias = ctx.saved_tensors
        by_x, flat_by_x = empty_flat(*x.shape)
        shares, flat_shares = empty_flat(SHARES, x.shape[1])
        _softplus(*rows(x), flat(bias), flat(given), x.shape[1], flat_by_x, flat_shares)
        return by_x, None if bias is None else shares.sum(0)


class RMSNorm(torch.autograd.Function):
    """x / rms(x) * weight."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """(x, weight, eps) to the normed rows."""
        x, weight, ctx.eps = inputs
        ctx.save_for_backward(x, weight)
        return forward_pass.rms_norm(x, weight, ctx.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore
        """Gradients by x and weight."""
        use_torch_threads()
        x, weight = ctx.saved_tensors
        by_x, flat_by_x = empty_flat(*x.shape)
        shares, flat_shares = empty_flat(SHARES, x.shape[1])
        _rms_norm(*rows(x), flat(weight), np.float32(ctx.eps), flat(given), flat_by_x, flat_shares)
        return by_x, shares.sum(0), None


@kernel
def _gate(out, out_step, z, z_step, given, width, by_out, by_z):
    tokens = len(given) // width
    for share in prange(SHARES):
        one = splat(_ONE)
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            for e in range(0, width, LANES):
                by, g = load(z, t * z_step + e), load(given, t * width + e)
                on = sigmoid(by)
                slope = on * (by * (one - on) + one)
                store(by_out, t * width + e, g * (by * on))
                store(by_z, t * width + e, g * load(out, t * out_step + e) * slope)


@kernel
def _softplus(x, x_step, bias, given, width, by_x, by_bias):
    tokens = len(given) // width
    for share in prange(SHARES):
        summed = by_bias[share * width : (share + 1) * width]
        summed[:] = _NOTHING
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            for e in range(0, width, LANES):
                now = load(x, t * x_step + e)
                if len(bias):
                    now = now + load(bias, e)
                by = load(given, t * width + e) * sigmoid(now)
                store(by_x, t * width + e, by)
                store(summed, e, load(summed, e) + by)


@kernel
def _rms_norm(x, x_step, weight, eps, given, by_x, by_weight):
    width = len(weight)
    tokens = len(given) // width
    for share in prange(SHARES):
        summed = by_weight[share * width : (share + 1) * width]
        summed[:] = _NOTHING
        for t in range(share * tokens // SHARES, (share + 1) * tokens // SHARES):
            squares, along = splat(_NOTHING), splat(_NOTHING)
            for e in range(0, width, LANES):
                now = load(x, t * x_step + e)
                squares = squares + now * now
                along = along + load(given, t * width + e) * load(weight, e) * now
            scale = _ONE / np.sqrt(total(squares) / np.float32(width) + eps)
            back = total(along) / np.float32(width) * scale * scale
            for e in range(0, width, LANES):
                now, g = load(x, t * x_step + e), load(given, t * width + e)
                store(by_x, t * width + e, (g * load(weight, e) - now * back) * scale)
                store(summed, e, load(summed, e) + g * now * scale)
