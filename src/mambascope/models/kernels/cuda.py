"""mamba_ssm's CUDA kernel for Mamba-1's scan, where it is installed and does what is asked.

It starts every row from zeros and returns only its last state, so it serves whole prompts of equal length and leaves
carries, kept and recorded states to the definition. Untested: no test of this package has run on a GPU.
"""

import importlib.util
from functools import cache

from torch import Tensor

from mambascope.models.kernels.definition import ScanOutput
from mambascope.sites.segments import Segments


@cache
def _installed() -> bool:
    return importlib.util.find_spec("mamba_ssm") is not None


def can_scan(u: Tensor, state: Tensor | None, segments: Segments, all_states: bool) -> bool:
    """True if mamba_ssm can do this scan."""
    plain = state is None and not len(segments.keep) and not all_states
    return u.is_cuda and plain and segments.rectangular and _installed()


def selective_scan(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, segments: Segments
) -> ScanOutput:
    """The scan of equally long segments that start from nothing; differentiable."""
    from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports]
        selective_scan_fn,
    )

    u, dt, B, C = (segments.pad(x).transpose(1, 2).contiguous() for x in (u, dt, B, C))
    out = selective_scan_fn(u, dt, A.float(), B, C, None if D is None else D.float())
    return ScanOutput(segments.unpad(out.transpose(1, 2)), A.new_empty(0, *A.shape), None)
