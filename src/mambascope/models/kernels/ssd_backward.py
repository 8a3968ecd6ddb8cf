"""Mamba-2's scan with gradients: autograd through the forward pass in pieces and the adjoint of ssd_adjoint.py.

The forward pass keeps the state at the end of each piece that another follows; the backward pass goes through the pieces
from the end. What the heads of a group share, B and C, is summed over heads in order: the same bits every run.
Shapes as in ssd_numba.py; the partial gradients by B and C that pass through states are (H, tokens, N).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambascope.models.kernels.blocks import (
    empty_flat,
    flat,
    rows,
    shares,
    slots_of,
    start_gradient,
)
from mambascope.models.kernels.jit import use_torch_threads
from mambascope.models.kernels.pieces import Pieces, marks
from mambascope.models.kernels.ssd_adjoint import adjoint, gather
from mambascope.models.kernels.ssd_numba import products, ssd_scan
from mambascope.sites.segments import Segments


class SSDScan(torch.autograd.Function):
    """Autograd through the scan in pieces."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        """(u, dt, A, B, C, D, state, segments, keep) to (out, the state after each token of `keep`)."""
        *tensors, segments, keep = inputs
        cuts = np.union1d(keep, marks(segments))
        out, every = ssd_scan(*tensors, segments=segments, keep=cuts)
        ctx.save_for_backward(*tensors, every)
        ctx.segments, ctx.cuts, ctx.kept = segments, cuts, np.searchsorted(cuts, keep)
        ctx.set_materialize_grads(False)
        return out, every[torch.from_numpy(ctx.kept)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Gradients by u, dt, A, B, C, D and state."""
        *tensors, every = ctx.saved_tensors
        g_out, g_kept = given
        g_out = torch.zeros_like(tensors[0]) if g_out is None else g_out
        if g_kept is not None:
            kept = torch.from_numpy(ctx.kept)
            g_kept = torch.zeros_like(every).index_copy(0, kept, g_kept)
        gradients = _backward(
            *tensors, segments=ctx.segments, cuts=ctx.cuts, every=every, g_out=g_out, g_every=g_kept
        )
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(g if wanted else None for g, wanted in needed), None, None


def with_gradients(
    *tensors: Tensor | None, segments: Segments, keep: np.ndarray
) -> tuple[Tensor, Tensor]:
    """The scan on (u, dt, A, B, C, D, state), differentiable by each; `keep` ascending, each token once."""
    return SSDScan.apply(*tensors, segments, keep)


def _backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    cuts: np.ndarray,
    every: Tensor,
    g_out: Tensor,
    g_every: Tensor | None,
) -> tuple[Tensor | None, ...]:
    use_torch_threads()
    (tokens, H, P), (G, N) = u.shape, B.shape[1:]
    pieces = Pieces.of_segments(segments, cuts)
    B_rows, C_rows = rows(B.reshape(tokens, -1)), rows(C.reshape(tokens, -1))
    scores = products(C_rows, B_rows, G, N, pieces)
    stateful = state is not None or len(cuts) > 0
    du, flat_du = empty_flat(tokens, H, P)
    d_dt, flat_d_dt = empty_flat(tokens, H)
    by_segment, flat_by_segment = empty_flat(2, segments.count, H)
    _, by_scores = empty_flat(H * int(pieces.scores[-1]))
    heads_B, flat_heads_B = empty_flat(H if stateful else 0, tokens, N)
    heads_C, flat_heads_C = empty_flat(H if stateful else 0, tokens, N)
    d_start, flat_d_start = empty_flat(segments.count if state is not None else 0, H, P, N)
    adjoint(
        *rows(u.reshape(tokens, -1)),
        *(flat(dt), flat(A), *B_rows, *C_rows, flat(D), flat(state), flat(every)),
        *(flat(g_out), flat(g_every), H, P, G, N),
        *(slots_of(segments, state), shares(segments, H)),
        *(pieces.begin, pieces.of, pieces.kept, pieces.scores, scores),
        *(flat_du, flat_d_dt, flat_by_segment, by_scores, flat_heads_B, flat_heads_C, flat_d_start),
    )
    dB, flat_dB = empty_flat(tokens, G, N)
    dC, flat_dC = empty_flat(tokens, G, N)
    gather(
        *(*B_rows, *C_rows, H, G, N, pieces.begin, pieces.scores, by_scores),
        *(flat(heads_B), flat(heads_C), flat_dB, flat_dC),
    )
    dA, dD = by_segment.sum(1)
    d_state = None if state is None else start_gradient(state, segments, d_start)
    return du, d_dt, dA, dB, dC, None if D is None else dD, d_state
