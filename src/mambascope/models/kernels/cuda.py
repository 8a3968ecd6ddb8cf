"""mamba_ssm's CUDA kernels for both scans, where they are installed and do what is asked.

Here they start every row from zeros and return no state, so they serve whole prompts of equal length and leave carries, kept
and recorded states to the definition. Tested with stand-ins of the same signatures; no test of this package has run on a GPU.
"""

import importlib.util
from functools import cache

from torch import Tensor

from mambascope.models.kernels.definition import ScanOutput
from mambascope.sites.segments import Segments

SHORTEST_CHUNK, LONGEST_CHUNK = 16, 256  # powers of two, as the kernel's tiles are


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


def ssd_scan(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, segments: Segments
) -> ScanOutput:
    """Mamba-2's scan of equally long segments that start from nothing; differentiable. Chunks no longer than a prompt needs."""
    from mamba_ssm.ops.triton.ssd_combined import (  # pyright: ignore[reportMissingImports]
        mamba_chunk_scan_combined,
    )

    longest = int(segments.lengths[0])
    chunk = min(LONGEST_CHUNK, max(SHORTEST_CHUNK, 1 << (longest - 1).bit_length()))
    u, dt, B, C = (segments.pad(x).contiguous() for x in (u, dt, B, C))
    out = mamba_chunk_scan_combined(
        u, dt, A.float(), B, C, chunk_size=chunk, D=None if D is None else D.float()
    )
    return ScanOutput(segments.unpad(out), A.new_empty(0, *u.shape[2:], B.shape[-1]), None)
