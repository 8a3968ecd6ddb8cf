"""The Numba kernels behind plain functions of float32 tensors on CPU: gradients where they are needed, full vectors always.

Channels (Mamba-1, convolution) and the axes of the state (Mamba-2) are filled up with zeros to a multiple of `LANES` and
cut off again; the sizes of real models need neither.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mambascope.models.kernels import (
    conv_numba,
    elementwise_backward,
    elementwise_numba,
    selective_scan_backward,
    selective_scan_numba,
    ssd_backward,
    ssd_numba,
)
from mambascope.models.kernels.definition import ScanOutput
from mambascope.models.kernels.simd import LANES
from mambascope.sites.segments import Segments


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    all_states: bool,
    overwrite: bool,
) -> ScanOutput:
    """Mamba-1's scan."""
    E = len(A)
    if missing := -E % LANES:
        u, dt = F.pad(u, (0, missing)), F.pad(dt, (0, missing))
        A, D = F.pad(A, (0, 0, 0, missing)), _padded(D, 0, missing)
        state = _padded(state, 0, 0, 0, missing)
        out, kept, states = selective_scan(u, dt, A, B, C, D, state, segments, all_states, True)
        return ScanOutput(out[:, :E], kept[:, :E], None if states is None else states[:, :E])
    if needs_gradients((u, dt, A, B, C, D, state)):
        return selective_scan_backward.with_gradients(
            u, dt, A, B, C, D, state, segments=segments, all_states=all_states
        )
    return selective_scan_numba.selective_scan(
        u, dt, A, B, C, D, state, segments, segments.keep, all_states, overwrite
    )


def ssd_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    all_states: bool,
) -> ScanOutput:
    """Mamba-2's scan."""
    P, N = u.shape[2], B.shape[2]
    if (p := -P % LANES) | (n := -N % LANES):
        u, B, C = F.pad(u, (0, p)), F.pad(B, (0, n)), F.pad(C, (0, n))
        state = _padded(state, 0, n, 0, p)
        out, kept, states = ssd_scan(u, dt, A, B, C, D, state, segments, all_states)
        states = None if states is None else states[:, :, :P, :N]
        return ScanOutput(out[:, :, :P], kept[:, :, :P, :N], states)
    keep = np.arange(len(u)) if all_states else np.unique(segments.keep)
    if needs_gradients((u, dt, A, B, C, D, state)):
        out, every = ssd_backward.with_gradients(
            u, dt, A, B, C, D, state, segments=segments, keep=keep
        )
    else:
        out, every = ssd_numba.ssd_scan(u, dt, A, B, C, D, state, segments, keep)
    if len(keep) == len(segments.keep):
        return ScanOutput(out, every, every if all_states else None)
    kept = every[torch.from_numpy(np.searchsorted(keep, segments.keep))]
    return ScanOutput(out, kept, every if all_states else None)


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, carry: Tensor | None, segments: Segments
) -> Tensor:
    """SiLU of the causal convolution."""
    E = x.shape[1]
    if missing := -E % LANES:
        x, weight = F.pad(x, (0, missing)), F.pad(weight, (0, 0, 0, missing))
        bias, carry = _padded(bias, 0, missing), _padded(carry, 0, missing)
        return causal_conv(x, weight, bias, carry, segments)[:, :E]
    if needs_gradients((x, weight, bias, carry)):
        return conv_numba.CausalConv.apply(x, weight, bias, carry, segments)
    return conv_numba.causal_conv(x, weight, bias, carry, segments)


def gate(out: Tensor, z: Tensor, overwrite: bool) -> Tensor:
    """out * silu(z), rows of a multiple of `LANES`."""
    if needs_gradients((out, z)):
        return elementwise_backward.Gate.apply(out, z)
    return elementwise_numba.gate(out, z, overwrite)


def softplus_bias(x: Tensor, bias: Tensor | None, overwrite: bool) -> Tensor:
    """softplus(x + bias), rows of a multiple of `LANES`."""
    if needs_gradients((x, bias)):
        return elementwise_backward.SoftplusBias.apply(x, bias)
    return elementwise_numba.softplus_bias(x, bias, overwrite)


def rms_norm(x: Tensor, weight: Tensor, eps: float, overwrite: bool) -> Tensor:
    """x / rms(x) * weight, rows of a multiple of `LANES`."""
    if needs_gradients((x, weight)):
        return elementwise_backward.RMSNorm.apply(x, weight, eps)
    return elementwise_numba.rms_norm(x, weight, eps, overwrite)


def needs_gradients(tensors: Sequence[Tensor | None]) -> bool:
    """True if autograd has to go through a function of these tensors."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _padded(x: Tensor | None, *amounts: int) -> Tensor | None:
    return None if x is None else F.pad(x, amounts)
