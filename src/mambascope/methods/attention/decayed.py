"""C_t exp(A (c_t - c_s)) B_s for a block of targets and sources, where c is the running sum of dt (the clock of a channel).

Every exponent is of a decay, never of a growth: between sources and targets that lie apart the decay is split at a pivot
between them, exp(A (c_t - c_p)) exp(A (c_p - c_s)), which makes the block a product of two thin matrices; where they overlap,
halves of the block lie apart, and what is left is small enough to be written out. So nothing overflows, and what has
decayed too far to be a number is 0. Clocks are float64: of a long prompt a difference of two float32 sums would be noise.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LOG2_E = math.log2(math.e)
LEAF = 8  # tokens on each side of a block that is written out


def remaining(rates: Float[Tensor, "..."], elapsed: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """exp(A elapsed), in the rates' dtype.

    0 below the square root of the smallest normal number (1e-19 in float32): a product of two decays is then never so small
    that processors compute with it a hundred times slower; exp2 has no such slow numbers at all.
    """
    exponent = rates * LOG2_E * elapsed.to(rates.dtype)
    lowest = math.log2(torch.finfo(rates.dtype).tiny) / 2
    return torch.nn.functional.threshold(exponent, lowest, -math.inf, inplace=True).exp2_()


def apart(
    rates: Float[Tensor, "units N"],
    late: Float[Tensor, "units targets"],
    pivot: Float[Tensor, "units 1"],
    early: Float[Tensor, "units sources"],
    reads: Float[Tensor, "units targets N"],
    writes: Float[Tensor, "units sources N"],
    out: Float[Tensor, "units targets sources"] | None = None,
) -> Float[Tensor, "units targets sources"]:
    """All sources before all targets; `late`, `pivot`, `early` are clocks, in this order of time."""
    left = remaining(rates[:, None], (late - pivot)[..., None]).mul_(reads)
    right = remaining(rates[:, None], (pivot - early)[..., None]).mul_(writes)
    return torch.bmm(left, right.mT, out=out)


def overlapping(
    rates: Float[Tensor, "units N"],
    clock: Float[Tensor, "units tokens"],
    reads: Float[Tensor, "units tokens N"],
    writes: Float[Tensor, "units tokens N"],
) -> Float[Tensor, "units tokens tokens"]:
    """The same tokens as targets and as sources; 0 where the source comes after the target."""
    units, tokens = clock.shape
    size = LEAF
    while size < tokens:
        size *= 2
    clock = torch.cat([clock, clock[:, -1:].expand(-1, size - tokens)], dim=1)
    reads, writes = (torch.nn.functional.pad(x, (0, 0, 0, size - tokens)) for x in (reads, writes))
    found = rates.new_zeros(units, size, size)
    _write_out_leaves(found, rates, clock, reads, writes)
    half = LEAF
    while half < size:
        _join_halves(found, half, rates, clock, reads, writes)
        half *= 2
    return found[:, :tokens, :tokens]


def _write_out_leaves(
    found: Tensor, rates: Tensor, clock: Tensor, reads: Tensor, writes: Tensor
) -> None:
    """The blocks along the diagonal, (units, blocks, targets, sources, N) at a time."""
    times, reads, writes = (x.unflatten(1, (-1, LEAF)) for x in (clock, reads, writes))
    elapsed = (times[..., :, None] - times[..., None, :]).clamp_(min=0)
    kept = remaining(rates[:, None, None, None, :], elapsed[..., None]).mul_(writes[:, :, None])
    leaves = torch.matmul(kept, reads[..., None])[..., 0].tril_()
    blocks = found.view(len(found), times.shape[1], LEAF, times.shape[1], LEAF)
    torch.diagonal(blocks, dim1=1, dim2=3).copy_(leaves.permute(0, 2, 3, 1))


def _join_halves(
    found: Tensor, half: int, rates: Tensor, clock: Tensor, reads: Tensor, writes: Tensor
) -> None:
    """Every block of two halves: the later half as targets, the earlier as sources."""
    units, pairs = len(found), clock.shape[1] // (2 * half)
    times, reads, writes = (x.unflatten(1, (pairs, 2, half)) for x in (clock, reads, writes))
    joined = apart(
        rates.repeat_interleave(pairs, 0),
        times[:, :, 1].flatten(0, 1),
        times[:, :, 0, -1:].flatten(0, 1),
        times[:, :, 0].flatten(0, 1),
        reads[:, :, 1].flatten(0, 1),
        writes[:, :, 0].flatten(0, 1),
    )
    blocks = found.view(units, pairs, 2, half, pairs, 2, half)[:, :, 1, :, :, 0, :]
    torch.diagonal(blocks, dim1=1, dim2=3).copy_(
        joined.unflatten(0, (units, pairs)).permute(0, 2, 3, 1)
    )
