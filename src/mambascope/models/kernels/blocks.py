"""How the scans of Mamba-1 are shared out: jobs of 64 channels and some segments, the state of a job in one small block.

A block holds (vectors, N, LANES): neighbouring channels lie in the lanes of a vector, so no sum over N crosses lanes and
any N will do. Jobs depend on the shapes alone, never on the number of threads, so neither do the results.
"""

import numpy as np
import torch
from torch import Tensor

from mambascope.models.kernels.jit import inlined
from mambascope.models.kernels.simd import LANES
from mambascope.sites.segments import Segments

VECTORS = 4
WIDTH = VECTORS * LANES
_JOBS = 32  # enough for the threads of a large machine, each job large enough to pay for its start


def segment_groups(segments: Segments, channels: int) -> np.ndarray:
    """Bounds of groups of neighbouring segments of about equally many tokens, few where the channels make jobs enough."""
    blocks = -(-channels // WIDTH)
    count = min(segments.count, -(-_JOBS // blocks))
    wanted = np.arange(1, count) * (segments.tokens / count)
    inner = np.searchsorted(segments.offsets, wanted)
    return np.unique(np.concatenate([[0], inner, [segments.count]])).astype(np.int64)


def flat(x: Tensor | None) -> np.ndarray:
    """All elements of a contiguous copy of a float32 tensor as one row; an empty row for None."""
    if x is None:
        return np.empty(0, dtype=np.float32)
    return x.detach().contiguous().view(-1).numpy()


def rows(x: Tensor) -> tuple[np.ndarray, int]:
    """A float32 matrix as one row of memory and the step from one of its rows to the next: column slices stay in place."""
    if x.stride(1) != 1 or x.stride(0) < x.shape[1]:
        x = x.contiguous()
    step = x.stride(0) if len(x) > 1 else x.shape[1]
    return x.detach().as_strided(((len(x) - 1) * step + x.shape[1],), (1,)).numpy(), step


def empty_flat(*shape: int) -> tuple[Tensor, np.ndarray]:
    """A new float32 tensor, and its elements as one row."""
    out = torch.empty(shape)
    return out, out.view(-1).numpy()


def start_gradient(state: Tensor, segments: Segments, by_segment: Tensor) -> Tensor:
    """The gradient by the carried states from that by each segment's start; a slot may serve several segments."""
    carried = np.flatnonzero(segments.slots >= 0)
    slots = torch.from_numpy(segments.slots[carried])
    return torch.zeros_like(state).index_add(0, slots, by_segment[torch.from_numpy(carried)])


@inlined
def read_block(source, start, channels, N, block):
    """Fill a block from (channels, N) elements of a flat array."""
    for c in range(channels):
        at = (c // LANES) * N * LANES + c % LANES
        for n in range(N):
            block[at + n * LANES] = source[start + c * N + n]


@inlined
def write_block(block, channels, N, target, start):
    """Write a block out as (channels, N) elements of a flat array."""
    for c in range(channels):
        at = (c // LANES) * N * LANES + c % LANES
        for n in range(N):
            target[start + c * N + n] = block[at + n * LANES]


@inlined
def read_scaled_block(source, start, channels, N, block, scale):
    """Fill a block from (channels, N) elements of a flat array, times a number."""
    read_block(source, start, channels, N, block)
    for i in range(len(block)):
        block[i] *= scale
