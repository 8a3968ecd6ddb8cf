"""Which backend computes what: the one place that looks at device, dtype and gradients.

    CPU float32          Numba, with hand-written gradients where any input requires them
    CUDA                 mamba_ssm's kernels where they are installed and apply, otherwise the definition
    everything else      the definition in PyTorch: float64 throughout, half precision computed in float32

Numba is imported at the first float32 call on CPU. MAMBASCOPE_KERNELS=definition turns every fused kernel off.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.models.kernels import cuda, definition
from mambascope.models.kernels.definition import ScanOutput
from mambascope.sites.segments import Segments

LANES = 16  # channels that a fused kernel takes at a time
_SMALL = (
    16_384  # elements below which one pass of a PyTorch operator costs less than starting a kernel
)


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
    """Mamba-1's scan: h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t, y_t = C_t h_t + D u_t.

    `state` holds the carry that `segments.slots` point to. `out` has u's dtype; kept and recorded states are float32,
    or float64 where u is.
    """
    inputs = (u, dt, A, B, C, D, state)
    if _fused(inputs):
        if missing := -len(A) % LANES:
            return _scan_padded(*inputs, segments, all_states, missing)
        if needs_gradients(inputs):
            from mambascope.models.kernels.selective_scan_backward import with_gradients

            return with_gradients(*inputs, segments=segments, all_states=all_states)
        from mambascope.models.kernels.selective_scan_numba import selective_scan as scan

        return scan(*inputs, segments, segments.keep, all_states)
    if cuda.can_scan(u, state, segments, all_states):
        return cuda.selective_scan(u, dt, A, B, C, D, segments)
    result = definition.selective_scan(*_wide(inputs), segments=segments, all_states=all_states)
    return result._replace(out=result.out.to(u.dtype))


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
    """Mamba-2's scan: as Mamba-1's, with one A and dt per head; head h reads B and C of group h // (H / G)."""
    inputs = (u, dt, A, B, C, D, state)
    if not _fused(inputs):
        result = definition.ssd_scan(*_wide(inputs), segments=segments, all_states=all_states)
        return result._replace(out=result.out.to(u.dtype))
    missing = -u.shape[2] % LANES, -B.shape[2] % LANES
    if any(missing):
        return _ssd_padded(*inputs, segments, all_states, *missing)
    keep = np.arange(len(u)) if all_states else np.unique(segments.keep)
    out, every = _ssd_fused(inputs, segments, keep)
    kept = every[torch.from_numpy(np.searchsorted(keep, segments.keep))]
    return ScanOutput(out, kept, every if all_states else None)


def causal_conv(
    x: Float[Tensor, "tokens E"],
    weight: Float[Tensor, "E K"],
    bias: Float[Tensor, " E"] | None,
    carry: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
) -> Float[Tensor, "tokens E"]:
    """SiLU of the causal depthwise convolution of each segment, reaching back into its carry (oldest input first)."""
    inputs = (x, weight, bias, carry)
    if not _fused(inputs):
        return definition.causal_conv(*_wide(inputs), segments=segments).to(x.dtype)
    E = x.shape[1]
    if missing := -E % LANES:
        x, weight = F.pad(x, (0, missing)), F.pad(weight, (0, 0, 0, missing))
        bias, carry = (v if v is None else F.pad(v, (0, missing)) for v in (bias, carry))
        return causal_conv(x, weight, bias, carry, segments)[:, :E]
    from mambascope.models.kernels import conv_numba

    if needs_gradients(inputs):
        return conv_numba.CausalConv.apply(*inputs, segments)  # pyright: ignore
    return conv_numba.causal_conv(*inputs, segments)


def gate(
    out: Float[Tensor, "tokens ..."], z: Float[Tensor, "tokens ..."]
) -> Float[Tensor, "tokens ..."]:
    """out * silu(z)."""
    if not _worth_fusing((out, z)):
        return out * F.silu(z)
    flat = out.flatten(1), z.flatten(1)
    if needs_gradients(flat):
        from mambascope.models.kernels.elementwise_backward import Gate

        return Gate.apply(*flat).view(out.shape)  # pyright: ignore
    from mambascope.models.kernels.elementwise_numba import gate as fused

    return fused(*flat).view(out.shape)


def softplus_bias(
    x: Float[Tensor, "tokens E"], bias: Float[Tensor, " E"] | None
) -> Float[Tensor, "tokens E"]:
    """softplus(x + bias)."""
    if not _worth_fusing((x, bias)):
        return F.softplus(x if bias is None else x + bias)
    if needs_gradients((x, bias)):
        from mambascope.models.kernels.elementwise_backward import SoftplusBias

        return SoftplusBias.apply(x, bias)  # pyright: ignore
    from mambascope.models.kernels.elementwise_numba import softplus_bias as fused

    return fused(x, bias)


def rms_norm(
    x: Float[Tensor, "tokens D"], weight: Float[Tensor, " D"], eps: float
) -> Float[Tensor, "tokens D"]:
    """x / sqrt(mean(x^2) + eps) * weight, computed in float32 for half precision, in the weight's dtype."""
    if not _worth_fusing((x, weight)):
        wide = x.to(_wide_dtype(x))
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return (weight * normed).to(weight.dtype)
    if needs_gradients((x, weight)):
        from mambascope.models.kernels.elementwise_backward import RMSNorm

        return RMSNorm.apply(x, weight, eps)  # pyright: ignore
    from mambascope.models.kernels.elementwise_numba import rms_norm as fused

    return fused(x, weight, eps)


def _scan_padded(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    all_states: bool,
    missing: int,
) -> ScanOutput:
    """Mamba-1's scan with channels of zeros added until vectors are full."""
    E = len(A)
    u, dt = (F.pad(x, (0, missing)) for x in (u, dt))
    A = F.pad(A, (0, 0, 0, missing))
    state = state if state is None else F.pad(state, (0, 0, 0, missing))
    D = D if D is None else F.pad(D, (0, missing))
    out, kept, states = selective_scan(u, dt, A, B, C, D, state, segments, all_states=all_states)
    return ScanOutput(out[:, :E], kept[:, :E], None if states is None else states[:, :E])


def _ssd_fused(
    inputs: tuple[Tensor | None, ...], segments: Segments, keep: np.ndarray
) -> tuple[Tensor, Tensor]:
    if needs_gradients(inputs):
        from mambascope.models.kernels.ssd_backward import with_gradients

        return with_gradients(*inputs, segments=segments, keep=keep)
    from mambascope.models.kernels.ssd_numba import ssd_scan as scan

    return scan(*inputs, segments, keep)  # pyright: ignore


def _ssd_padded(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    all_states: bool,
    missing_P: int,
    missing_N: int,
) -> ScanOutput:
    """Mamba-2's scan with zeros added to the axes of the state until vectors are full."""
    P, N = u.shape[2], B.shape[2]
    u = F.pad(u, (0, missing_P))
    B, C = (F.pad(x, (0, missing_N)) for x in (B, C))
    state = state if state is None else F.pad(state, (0, missing_N, 0, missing_P))
    out, kept, states = ssd_scan(u, dt, A, B, C, D, state, segments, all_states=all_states)
    states = states if states is None else states[:, :, :P, :N]
    return ScanOutput(out[:, :, :P], kept[:, :, :P, :N], states)


def needs_gradients(tensors: Sequence[Tensor | None]) -> bool:
    """True if autograd has to go through a function of these tensors."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _fused(tensors: Sequence[Tensor | None]) -> bool:
    given = [x for x in tensors if x is not None]
    on_cpu = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in given)
    return on_cpu and os.environ.get("MAMBASCOPE_KERNELS") != "definition"


def _worth_fusing(tensors: Sequence[Tensor | None]) -> bool:
    """True if one pass in Numba computes this faster than PyTorch's operators one by one."""
    x = tensors[0]
    assert x is not None
    large = x.ndim > 1 and x.numel() >= _SMALL and x[0].numel() % LANES == 0
    return large and _fused(tensors)


def _wide_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _wide(tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The tensors in the dtype that a recurrence on the first of them is computed in."""
    assert tensors[0] is not None
    dtype = _wide_dtype(tensors[0])
    return tuple(None if x is None else x.to(dtype) for x in tensors)
