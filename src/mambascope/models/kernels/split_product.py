"""The matrix product in float32 accuracy on a processor's bfloat16 matrix unit (amx.py).

    y[m, o] = sum_i x[m, i] W[o, i] + bias[o],   x = x1 + x2 + x3,  W = W1 + W2 + W3   each part bfloat16, exact
    x W = x1 W1 + (x1 W2 + x2 W1) + (x1 W3 + x2 W2 + x3 W1) + at most 2^-24 |x| |W|

Six products at eight to sixteen times the speed of float32. The error is that of any float32 sum; infinite inputs come out
as NaN. The order of the sum depends on the depth alone, so a row's result does not depend on the rows beside it.
Henry, Tang & Heinecke 2019 (arXiv 1904.06376) describe such products.
Shapes: x (rows, I), may be a column slice; W (O, I), packed once: (O / 16, I / 32, part, 16, 16, 2), filled up with zeros.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numba import prange
from torch import Tensor

from mambascope.models.kernels.amx import (
    CONFIGURATION,
    DEPTH,
    PARTS,
    TILE,
    TILE_NUMBERS,
    add_products,
    configure,
    load_sums,
    release,
    store_parts,
    store_sums,
)
from mambascope.models.kernels.blocks import flat, rows
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.matrix_unit import has_matrix_unit
from mambascope.models.kernels.packed import Packing
from mambascope.models.kernels.reuse import reused_flat
from mambascope.models.kernels.simd import LANES, load

_BLOCK = 2 * TILE  # rows and outputs that are summed at once
_STEP = PARTS * TILE_NUMBERS  # numbers of one tile with all its parts
# Rows and tiles of their depth that are split at once: a megabyte, which stays in the second cache.
_ROWS, _DEEP = 224, 24
_PACKED_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class SplitWeight:
    """A weight in three parts, in the order in which the unit reads it: six bytes a number, and what fills up the tiles."""

    numbers: Tensor
    outputs: int
    depth: int

    @classmethod
    def of(cls, weight: Tensor) -> "SplitWeight":
        """Split and packed, some outputs at a time, so that little memory is needed beside the result."""
        outputs, depth = weight.shape
        deep, wide = -(-depth // DEPTH), -(-outputs // _BLOCK) * 2
        numbers = torch.zeros(
            (wide, deep, PARTS, DEPTH // 2, TILE, 2), dtype=torch.bfloat16, device=weight.device
        )
        for first in range(0, outputs, _PACKED_AT_ONCE):
            some = weight[first : first + _PACKED_AT_ONCE]
            rest = F.pad(some, (0, -depth % DEPTH, 0, -len(some) % TILE))
            rest = rest.reshape(-1, TILE, deep, DEPTH // 2, 2).permute(0, 2, 3, 1, 4)
            here = numbers[first // TILE : first // TILE + len(rest)]
            for part in range(PARTS):
                here[:, :, part] = rest
                rest = rest - here[:, :, part].float()
        return cls(numbers, outputs, depth)


def linear(x: Tensor, weight: SplitWeight, bias: Tensor | None) -> Tensor:
    """x weight^T + bias, without gradients."""
    use_torch_threads()
    count, outputs = len(x), weight.outputs
    # Whole tiles are written; what is beyond the end is cut off.
    out, flat_out = reused_flat(count + -count % _BLOCK, outputs + -outputs % _BLOCK)
    start = torch.zeros(out.shape[1])
    if bias is not None:
        start[:outputs] = bias.detach()
    source, step = rows(x)
    numbers = weight.numbers.view(torch.int16).view(-1).numpy()
    shape = count, weight.depth, out.shape[1]
    jobs = torch.get_num_threads()
    split = torch.empty(jobs, _ROWS // TILE * _DEEP * _STEP, dtype=torch.int16).numpy()
    by_rows = count > _ROWS
    _multiply(source, step, *shape, numbers, flat(start), by_rows, split, CONFIGURATION, flat_out)
    return out[:count, :outputs]


@kernel
def _multiply(x, step, count, depth, outputs, weight, bias, by_rows, split, configuration, out):
    """Each job has its share of the rows if they are many, else its share of the outputs."""
    jobs, deep = len(split), -(-depth // DEPTH)
    row_blocks, output_blocks = -(-count // _BLOCK), outputs // _BLOCK
    for job in prange(jobs):
        top, bottom, begin, end = 0, row_blocks, 0, output_blocks
        if by_rows:
            top, bottom = job * row_blocks // jobs, (job + 1) * row_blocks // jobs
        else:
            begin, end = job * output_blocks // jobs, (job + 1) * output_blocks // jobs
        left, tail = split[job], np.empty(DEPTH, dtype=np.float32)
        configure(configuration)
        for first in range(top, bottom, _ROWS // _BLOCK):
            last = min(first + _ROWS // _BLOCK, bottom)
            for chunk in range(0, deep, _DEEP):
                size = min(_DEEP, deep - chunk)
                here = first * _BLOCK, last * _BLOCK, chunk, size
                _split(x, step, count, depth, *here, tail, left)
                for o in range(begin, end):
                    for r in range(first, last):
                        at = r * _BLOCK * outputs + o * _BLOCK
                        if chunk == 0:
                            load_sums(bias, o * _BLOCK, o * _BLOCK, 0)
                        else:
                            load_sums(out, at, at + TILE * outputs, outputs)
                        a, b = (r - first) * 2 * size * _STEP, (o * 2 * deep + chunk) * _STEP
                        for k in range(0, size * _STEP, _STEP):
                            below = a + size * _STEP, b + deep * _STEP
                            add_products(left, a + k, below[0] + k, weight, b + k, below[1] + k)
                        store_sums(out, at, at + TILE * outputs, outputs)
        release()


def _packed(weight: Tensor) -> tuple[SplitWeight, int]:
    made = SplitWeight.of(weight)
    return made, made.numbers.numel() * made.numbers.element_size()


SPLIT = Packing("amx", _packed, linear, has_matrix_unit)


@inlined
def _split(x, step, count, depth, first, last, chunk, size, tail, left):
    """Rows from `first` to `last` in three parts, `size` tiles from `chunk` on; what is beyond the end is zero.

    tail: room for the last columns of a row, filled up
    """
    for m in range(first, last):
        at = (m - first) // TILE * size * _STEP + (m - first) % TILE * DEPTH
        for k in range(size):
            column, here = (chunk + k) * DEPTH, at + k * _STEP
            if m < count and column + DEPTH <= depth:
                for half in range(0, DEPTH, LANES):
                    store_parts(left, here + half, load(x, m * step + column + half))
                continue
            tail[:] = np.float32(0.0)
            if m < count:
                for i in range(depth - column):
                    tail[i] = x[m * step + column + i]
            for half in range(0, DEPTH, LANES):
                store_parts(left, here + half, load(tail, half))
