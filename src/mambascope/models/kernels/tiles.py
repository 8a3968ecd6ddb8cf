"""Small matrix products inside kernels: tiles of eight rows by one vector, held in registers over the whole depth.

A chain of multiply-adds into one register waits for each to end; eight chains side by side keep the units busy.
"""

from mambascope.models.kernels.jit import inlined
from mambascope.models.kernels.simd import broadcast, load, store

ROWS = 8


@inlined
def multiply(
    left, at, row, column, count, right, right_at, right_step, depth, out, out_at, out_step
):
    """Add left (count, depth) times right (depth, LANES) to out (count, LANES).

    left[i, k] lies at `at + i * row + k * column`; rows of right and out lie `right_step` and `out_step` apart.
    """
    i = 0
    while i + ROWS <= count:
        _eight_rows(
            *(left, at + i * row, row, column, right, right_at, right_step),
            *(depth, out, out_at + i * out_step, out_step),
        )
        i += ROWS
    while i < count:
        to = out_at + i * out_step
        sum_0 = load(out, to)
        for k in range(depth):
            value = broadcast(left, at + i * row + k * column)
            sum_0 = sum_0 + load(right, right_at + k * right_step) * value
        store(out, to, sum_0)
        i += 1


@inlined
def _eight_rows(left, at, row, column, right, right_at, right_step, depth, out, out_at, out_step):
    sum_0, sum_1 = load(out, out_at), load(out, out_at + out_step)
    sum_2, sum_3 = load(out, out_at + 2 * out_step), load(out, out_at + 3 * out_step)
    sum_4, sum_5 = load(out, out_at + 4 * out_step), load(out, out_at + 5 * out_step)
    sum_6, sum_7 = load(out, out_at + 6 * out_step), load(out, out_at + 7 * out_step)
    for k in range(depth):
        vector, here = load(right, right_at + k * right_step), at + k * column
        sum_0 = sum_0 + vector * broadcast(left, here)
        sum_1 = sum_1 + vector * broadcast(left, here + row)
        sum_2 = sum_2 + vector * broadcast(left, here + 2 * row)
        sum_3 = sum_3 + vector * broadcast(left, here + 3 * row)
        sum_4 = sum_4 + vector * broadcast(left, here + 4 * row)
        sum_5 = sum_5 + vector * broadcast(left, here + 5 * row)
        sum_6 = sum_6 + vector * broadcast(left, here + 6 * row)
        sum_7 = sum_7 + vector * broadcast(left, here + 7 * row)
    store(out, out_at, sum_0)
    store(out, out_at + out_step, sum_1)
    store(out, out_at + 2 * out_step, sum_2)
    store(out, out_at + 3 * out_step, sum_3)
    store(out, out_at + 4 * out_step, sum_4)
    store(out, out_at + 5 * out_step, sum_5)
    store(out, out_at + 6 * out_step, sum_6)
    store(out, out_at + 7 * out_step, sum_7)


@inlined
def transpose(source, at, step, rows, columns, target, target_step):
    """target[j, i] = source[i, j]."""
    for i in range(rows):
        for j in range(columns):
            target[j * target_step + i] = source[at + i * step + j]
