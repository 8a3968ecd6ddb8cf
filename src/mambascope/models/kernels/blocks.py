"""How scans are shared out among threads, and the blocks that a Mamba-1 scan keeps its state in.

The unit of work is a pair of a segment and an item, an item being a head or a block of 64 channels. Pairs are walked
segment by segment, because a segment's rows fit the second cache and all channels together do not. Shares depend on the
shapes alone, never on the number of threads, so neither do the results.

A block holds (VECTORS, N, LANES) numbers of 64 channels: neighbouring channels lie in the lanes of a vector, so no sum
over N crosses lanes, and any N will do.
"""

import numpy as np
import torch
from numba import prange
from torch import Tensor

from mambascope.models.kernels.jit import inlined, kernel
from mambascope.models.kernels.simd import LANES, LOG2_E
from mambascope.sites.segments import Segments

VECTORS = 4
WIDTH = VECTORS * LANES
SHARES = 16  # enough for the cores of a desktop, each large enough to pay for its start


def shares(segments: Segments, items: int) -> np.ndarray:
    """Bounds of `SHARES` runs of the pairs (segment, item), numbered segment by segment, of about equally many tokens."""
    tokens = np.arange(SHARES + 1) * (segments.tokens / SHARES)
    pairs = np.arange(segments.count + 1) * items
    return np.floor(np.interp(tokens, segments.offsets, pairs)).astype(np.int64)


def slots_of(segments: Segments, carry: Tensor | None) -> np.ndarray:
    """Each segment's slot, -1 everywhere if there is no carry."""
    return segments.slots if carry is not None else np.full_like(segments.slots, -1)


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


def result_flat(x: Tensor, overwrite: bool) -> tuple[Tensor, np.ndarray]:
    """Where a result of x's shape goes, and its elements as one row: over x if that may be and x is one row, else new.

    Fresh memory costs more than the arithmetic on it: the system clears every page at its first use.
    """
    if not (overwrite and x.is_contiguous()):
        return empty_flat(*x.shape)
    return x, x.detach().view(-1).numpy()


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
def add_block(block, channels, N, target, start):
    """Add a block to (channels, N) elements of a flat array."""
    for c in range(channels):
        at = (c // LANES) * N * LANES + c % LANES
        for n in range(N):
            target[start + c * N + n] += block[at + n * LANES]


@kernel
def decay_rates(A, N, out):
    """A log2(e) of all channels, block by block."""
    E = len(A) // N
    for block in prange(-(-E // WIDTH)):
        here = out[block * WIDTH * N : (block + 1) * WIDTH * N]
        here[:] = np.float32(0.0)
        read_block(A, block * WIDTH * N, min(WIDTH, E - block * WIDTH), N, here)
        for i in range(len(here)):
            here[i] *= LOG2_E


def blocked_rates(A: Tensor) -> np.ndarray:
    """A log2(e), for 2^(dt A log2(e)), in blocks one after the other, the last one filled up with zeros."""
    _, out = empty_flat(-(-len(A) // WIDTH) * WIDTH * A.shape[1])
    decay_rates(flat(A), A.shape[1], out)
    return out
