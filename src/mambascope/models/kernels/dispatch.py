"""Which backend computes what: the one place that looks at device and dtype.

    CPU, float32 or half    Numba (fused.py), half precision cast to float32 and back; hand-written gradients
    CUDA                    mamba_ssm's kernel where it is installed and does what is asked, otherwise the definition
    everything else         the definition in PyTorch; float64 throughout, half precision computed in float32

Numba is imported at the first such call on CPU. MAMBASCOPE_KERNELS=definition turns every fused kernel off.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.models.kernels import cuda, definition
from mambascope.models.kernels.definition import ScanOutput
from mambascope.models.kernels.linear import FEW, reads_in_place
from mambascope.sites.segments import Segments

_SMALL = 16_384  # numbers below which PyTorch's operators cost less than starting a kernel
_WHOLE_VECTORS = 16


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
    overwrite: bool = False,
) -> ScanOutput:
    """Mamba-1's scan: h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t, y_t = C_t h_t + D u_t.

    `state` holds the carry that `segments.slots` point to. `out` has u's dtype; kept and recorded states are float32,
    or float64 where u is. `overwrite`: u is not needed any more, so the output may take its place (here and below).
    """
    if cuda.can_scan(u, state, segments, all_states):
        return cuda.selective_scan(u, dt, A, B, C, D, segments)
    inputs = _wide((u, dt, A, B, C, D, state))
    backend = _backend(inputs)
    over = {} if backend is definition else {"overwrite": overwrite and inputs[0] is u}
    result = backend.selective_scan(*inputs, segments=segments, all_states=all_states, **over)
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
    if cuda.can_scan(u, state, segments, all_states):
        return cuda.ssd_scan(u, dt, A, B, C, D, segments)
    inputs = _wide((u, dt, A, B, C, D, state))
    result = _backend(inputs).ssd_scan(*inputs, segments=segments, all_states=all_states)
    return result._replace(out=result.out.to(u.dtype))


def causal_conv(
    x: Float[Tensor, "tokens E"],
    weight: Float[Tensor, "E K"],
    bias: Float[Tensor, " E"] | None,
    carry: Float[Tensor, "slots taps E"] | None,
    segments: Segments,
) -> Float[Tensor, "tokens E"]:
    """SiLU of the causal depthwise convolution of each segment, reaching back into its carry (oldest input first)."""
    inputs = _wide((x, weight, bias, carry))
    return _backend(inputs).causal_conv(*inputs, segments=segments).to(x.dtype)


def gate(
    out: Float[Tensor, "tokens ..."], z: Float[Tensor, "tokens ..."], *, overwrite: bool = False
) -> Float[Tensor, "tokens ..."]:
    """out * silu(z); `overwrite` as above, of `out`."""
    if not _worth_fusing((out, z)):
        return out * F.silu(z)
    return _backend((out, z)).gate(out.flatten(1), z.flatten(1), overwrite).view(out.shape)


def softplus_bias(
    x: Float[Tensor, "tokens E"], bias: Float[Tensor, " E"] | None, *, overwrite: bool = False
) -> Float[Tensor, "tokens E"]:
    """softplus(x + bias); `overwrite` as above, of `x`."""
    if not _worth_fusing((x, bias)):
        return F.softplus(x if bias is None else x + bias)
    return _backend((x, bias)).softplus_bias(x, bias, overwrite)


def rms_norm(
    x: Float[Tensor, "tokens D"],
    weight: Float[Tensor, " D"],
    eps: float,
    *,
    overwrite: bool = False,
) -> Float[Tensor, "tokens D"]:
    """x / sqrt(mean(x^2) + eps) * weight, computed in float32 for half precision, in the weight's dtype; `overwrite` as
    above, of `x`.
    """
    if _worth_fusing((x, weight)):
        return _backend((x, weight)).rms_norm(x, weight, eps, overwrite)
    wide = x.to(_wide_dtype(x))
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (weight * normed).to(weight.dtype)


def log_sum_exp(x: Float[Tensor, "rows V"]) -> Float[Tensor, " rows"]:
    """log sum exp of each row."""
    fused = x.numel() >= _SMALL and _can_fuse((x,))
    if not fused or (torch.is_grad_enabled() and x.requires_grad):
        return x.logsumexp(-1)
    from mambascope.models.kernels import elementwise_numba

    return elementwise_numba.log_sum_exp(x)


def can_step(x: Float[Tensor, "tokens D"], conv: Tensor, state: Tensor) -> bool:
    """True if the kernels for one token of each row (step_numba.py) can go on from this memory."""
    whole = all(memory.shape[-1] % _WHOLE_VECTORS == 0 for memory in (conv, state))
    return whole and not torch.is_grad_enabled() and _can_fuse((x, conv, state))


def can_step_through(resid: Float[Tensor, "tokens D"]) -> bool:
    """True if one call for all layers (layers_step_numba.py) is the fastest way, where `can_step` holds."""
    rows, width = resid.shape
    return width % _WHOLE_VECTORS == 0 and rows <= FEW and reads_in_place(rows)


def _backend(tensors: Sequence[Tensor | None]) -> Any:
    """The module whose functions compute on these tensors."""
    if not _can_fuse(tensors):
        return definition
    from mambascope.models.kernels import fused

    return fused


def _can_fuse(tensors: Sequence[Tensor | None]) -> bool:
    given = [x for x in tensors if x is not None]
    on_cpu = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in given)
    return on_cpu and os.environ.get("MAMBASCOPE_KERNELS") != "definition"


def _worth_fusing(tensors: Sequence[Tensor | None]) -> bool:
    """True if one pass in Numba computes this faster than PyTorch's operators one by one."""
    x = tensors[0]
    assert x is not None
    large = x.ndim > 1 and x.numel() >= _SMALL and x[0].numel() % _WHOLE_VECTORS == 0
    return large and _can_fuse(tensors)


def _wide_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _wide(tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The tensors in the dtype that a recurrence on the first of them is computed in."""
    assert tensors[0] is not None
    dtype = _wide_dtype(tensors[0])
    return tuple(None if x is None else x.to(dtype) for x in tensors)
