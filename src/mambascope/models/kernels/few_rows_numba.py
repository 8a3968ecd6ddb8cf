"""The matrix product of up to sixteen rows on CPU in float32: every weight is read once, in the order in which it lies.

    y[m, o] = sum_i x[m, i] W[o, i] + bias[o]

A general product packs its operands, which pays for itself with many rows only. Here the rows of x lie in the lanes of a
vector and sixteen outputs are summed side by side, so that each number of W is used for all rows at once where it is met;
W itself is neither packed nor copied. What a row gives depends on that row alone.
Shapes: x (rows, I), rows at most LANES, may be a column slice of a wider tensor; weight (O, I), contiguous, O at least LANES.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat, flat, rows
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import LANES, broadcast, load, prefetch, splat, store, transpose

_NOTHING = np.float32(0.0)
_JOBS = 16
_AHEAD = 32  # outputs: what is asked of memory before its turn, some 100 kB for common widths, fits the second cache


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weight^T + bias, without gradients."""
    use_torch_threads()
    count, (width, depth) = len(x), weight.shape
    out, flat_out = empty_flat(count, width)
    multiply(*rows(x), count, flat(weight), flat(bias), width, depth, flat_out)
    return out


@kernel
def multiply(x, step, count, weight, bias, width, depth, out):
    """out (count, width), dense, of x's rows, which are `step` apart."""
    lanes = np.empty(depth * LANES, dtype=np.float32)
    rows_to_lanes(x, 0, step, count, depth, lanes, 0)
    blocks = -(-width // LANES)
    for job in prange(_JOBS):
        sums = np.empty(LANES * LANES, dtype=np.float32)
        for block in range(job * blocks // _JOBS, (job + 1) * blocks // _JOBS):
            first = min(block * LANES, width - LANES)  # the last block begins within the one before
            sixteen_outputs(weight, first * depth, depth, lanes, 0, sums, 0)
            added = load(bias, first) if len(bias) else splat(_NOTHING)
            for m in range(count):
                store(out, m * width + first, load(sums, m * LANES) + added)


@inlined
def rows_to_lanes(x, at, step, count, depth, lanes, to):
    """Up to sixteen rows from `at` on, into the lanes of `depth` vectors."""
    whole = depth // LANES * LANES
    for i in range(0, whole, LANES):
        transpose(x, at + i, step, count - 1, lanes, to + i * LANES)
    for i in range(whole, depth):
        for m in range(LANES):
            lanes[to + i * LANES + m] = x[at + min(m, count - 1) * step + i]


@inlined
def sixteen_outputs(weight, at, depth, lanes, begin, sums, to):
    """Products of sixteen rows of a weight, from `at` on, with x, whose rows lie in lanes from `begin` on: sums (row, output)."""
    zero = splat(_NOTHING)
    a = b = c = d = (zero, zero, zero, zero)
    for i in range(depth):
        if i % LANES == 0:
            for o in range(LANES):
                prefetch(weight, at + (_AHEAD + o) * depth + i)
        x, here = load(lanes, begin + i * LANES), at + i
        a = _four_more(a, x, weight, here, depth)
        b = _four_more(b, x, weight, here + 4 * depth, depth)
        c = _four_more(c, x, weight, here + 8 * depth, depth)
        d = _four_more(d, x, weight, here + 12 * depth, depth)
    for number, four in enumerate((a, b, c, d)):
        for o in range(4):
            store(sums, to + (4 * number + o) * LANES, four[o])
    transpose(sums, to, LANES, LANES - 1, sums, to)


@inlined
def _four_more(four, x, weight, at, depth):
    """The sums of four outputs after one more column of their weights."""
    return (
        four[0] + x * broadcast(weight, at),
        four[1] + x * broadcast(weight, at + depth),
        four[2] + x * broadcast(weight, at + 2 * depth),
        four[3] + x * broadcast(weight, at + 3 * depth),
    )
