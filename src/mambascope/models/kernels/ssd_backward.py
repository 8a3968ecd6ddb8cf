"""Mamba-2's scan with gradients: the forward pass in pieces, and its adjoint piece by piece from the end.

Notation as in ssd_numba.py, with c_t = a_0 ... a_t, e_s = L_end,s, and G the gradient by the state after the piece:

    M_ts   = gy_t . x_s                              d score_ts = L_ts M_ts       (score_ts = C_t . B_s)
    dx_s   = sum_t L_ts score_ts gy_t + e_s G B_s    dB_s = sum_t d score_ts C_t + e_s G^T x_s
    dC_t   = sum_s d score_ts B_s + c_t S^T gy_t     dS   = c_end G + sum_t c_t gy_t C_t^T

Every decay is a product of neighbouring a_r, so d log a_r is the sum of all terms (term times its gradient) whose decay
contains a_r: each adds itself to `by_log` where its product ends and takes itself off where it begins, and a running sum
from the end does the rest. States at the ends of pieces are kept by the forward pass; what heads of a group share is
summed over heads in order.
"""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import (
    empty_flat,
    flat,
    rows,
    shares,
    slots_of,
    start_gradient,
)
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.simd import LANES, load, splat, store, total
from mambascope.models.kernels.ssd_numba import (
    Pieces,
    decays_of,
    flushed_product,
    marks,
    next_row,
    products,
    row_length,
    ssd_scan,
    weigh,
)
from mambascope.models.kernels.tiles import ROWS, multiply, transpose
from mambascope.sites.segments import Segments

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)


class SSDScan(torch.autograd.Function):
    """Autograd through the scan in pieces."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """(u, dt, A, B, C, D, state, segments, keep) to (out, the state after each token of `keep`)."""
        *tensors, segments, keep = inputs
        cuts = np.union1d(keep, marks(segments))
        out, every = ssd_scan(*tensors, segments, cuts)
        ctx.save_for_backward(*tensors, every)
        ctx.segments, ctx.cuts, ctx.kept = segments, cuts, np.searchsorted(cuts, keep)
        ctx.set_materialize_grads(False)
        return out, every[torch.from_numpy(ctx.kept)]

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Gradients by u, dt, A, B, C, D and state."""
        *tensors, every = ctx.saved_tensors
        g_out, g_kept = given
        g_out = torch.zeros_like(tensors[0]) if g_out is None else g_out
        if g_kept is not None:
            kept = torch.from_numpy(ctx.kept)
            g_kept = torch.zeros_like(every).index_copy(0, kept, g_kept)
        gradients = _backward(*tensors, ctx.segments, ctx.cuts, every, g_out, g_kept)
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(g if wanted else None for g, wanted in needed), None, None


def with_gradients(
    *tensors: Tensor | None, segments: Segments, keep: np.ndarray
) -> tuple[Tensor, Tensor]:
    """The scan on (u, dt, A, B, C, D, state), differentiable by each; `keep` ascending, each token once."""
    return SSDScan.apply(*tensors, segments, keep)  # pyright: ignore


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
    _adjoint(
        *rows(u.reshape(tokens, -1)),
        *(flat(dt), flat(A), *B_rows, *C_rows, flat(D), flat(state), flat(every)),
        *(flat(g_out), flat(g_every), H, P, G, N),
        *(slots_of(segments, state), shares(segments, H)),
        *(pieces.begin, pieces.of, pieces.kept, pieces.scores, scores),
        *(flat_du, flat_d_dt, flat_by_segment, by_scores, flat_heads_B, flat_heads_C, flat_d_start),
    )
    dB, flat_dB = empty_flat(tokens, G, N)
    dC, flat_dC = empty_flat(tokens, G, N)
    _gather(
        *(*B_rows, *C_rows, H, G, N, pieces.begin, pieces.scores, by_scores),
        *(flat(heads_B), flat(heads_C), flat_dB, flat_dC),
    )
    dA, dD = by_segment.sum(1)
    d_state = None if state is None else start_gradient(state, segments, d_start)
    return du, d_dt, dA, dB, dC, None if D is None else dD, d_state


@kernel
def _adjoint(
    u,
    u_step,
    dt,
    A,
    B,
    B_step,
    C,
    C_step,
    D,
    state,
    every,
    g_out,
    g_every,
    H,
    P,
    G,
    N,
    slots,
    bounds,
    begin,
    pieces_of,
    piece_kept,
    scores_at,
    scores,
    du,
    d_dt,
    by_segment,
    by_scores,
    heads_B,
    heads_C,
    d_start,
):
    size, tokens, count = P * N, begin[-1], len(slots)
    longest = 0
    for piece in range(len(begin) - 1):
        longest = max(longest, begin[piece + 1] - begin[piece])
    wide = row_length(longest)
    for share in prange(len(bounds) - 1):
        ahead, behind = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        turned = np.empty(max(size, P * wide), dtype=np.float32)
        x, gy = np.empty(longest * P, dtype=np.float32), np.empty(longest * P, dtype=np.float32)
        dx, more = np.empty(longest * P, dtype=np.float32), np.empty(longest * P, dtype=np.float32)
        w, M = (
            np.empty(longest * wide, dtype=np.float32),
            np.empty(longest * wide, dtype=np.float32),
        )
        decay, fades = np.empty(longest, dtype=np.float32), np.empty(wide, dtype=np.float32)
        columns, by_log = np.empty(wide, dtype=np.float32), np.empty(longest, dtype=np.float64)
        for pair in range(bounds[share], bounds[share + 1]):
            s, head = pair // H, pair % H
            g = head * G // H
            pulled = False  # whether anything after the piece depends on the state after it
            by_segment[s * H + head] = _NOTHING
            by_segment[(count + s) * H + head] = _NOTHING
            for piece in range(pieces_of[s + 1] - 1, pieces_of[s] - 1, -1):
                first, q = begin[piece], begin[piece + 1] - begin[piece]
                C_at, B_at = first * C_step + g * N, first * B_step + g * N
                heads_at = (head * tokens + first) * N
                scores_from = scores_at[piece] * G + g * q * row_length(q)
                by_scores_from = scores_at[piece] * H + head * q * row_length(q)
                source, at, live = state, (slots[s] * H + head) * size, slots[s] >= 0
                if piece > pieces_of[s]:
                    source, at, live = every, (piece_kept[piece - 1] * H + head) * size, True
                if len(g_every) and piece_kept[piece] >= 0:
                    _add_gradient(ahead, pulled, g_every, (piece_kept[piece] * H + head) * size)
                    pulled = True
                decays_of(dt, A, H, head, first, q, decay)
                _load_piece(u, u_step, dt, g_out, H, P, head, first, q, x, gy)
                weigh(scores, scores_from, decay, q, fades, w)
                _by_products(x, gy, q, P, turned, M)
                _by_inputs(w, gy, q, P, dx)
                _by_decays(w, M, decay, q, fades, columns, by_log, by_scores, by_scores_from)
                if len(heads_B):
                    heads_B[heads_at : heads_at + q * N] = _NOTHING
                    heads_C[heads_at : heads_at + q * N] = _NOTHING
                whole = _ONE
                if pulled:
                    _by_end(ahead, B, B_at, B_step, q, P, N, turned, more)
                    whole = _faded_end(decay, x, more, dx, by_log, q, P)
                    for n in range(0, N, LANES):
                        multiply(x, 0, P, 1, q, ahead, n, N, P, heads_B, heads_at + n, N)
                if live:
                    for n in range(0, N, LANES):
                        multiply(gy, 0, P, 1, q, source, at + n, N, P, heads_C, heads_at + n, N)
                    _by_start(heads_C, heads_at, C, C_at, C_step, decay, gy, by_log, q, P, N)
                    if pulled:
                        by_log[q - 1] += whole * _dot(ahead, source, at, size)
                    for i in range(0, size, LANES):
                        store(behind, i, load(ahead, i) * whole if pulled else splat(_NOTHING))
                    for n in range(0, N, LANES):
                        multiply(gy, 0, 1, P, P, C, C_at + n, C_step, q, behind, n, N)
                    ahead, behind = behind, ahead
                    pulled = True
                _finish(
                    *(u, u_step, dt, A, D, g_out, H, P, head, first, q, dx, by_log),
                    *(du, d_dt, by_segment, s * H + head, (count + s) * H + head),
                )
            if slots[s] >= 0:
                d_start[(s * H + head) * size : (s * H + head + 1) * size] = ahead


@inlined
def _add_gradient(ahead, pulled, g_every, at):
    """Add the gradient that a kept state was given."""
    for i in range(0, len(ahead), LANES):
        given = load(g_every, at + i)
        store(ahead, i, load(ahead, i) + given if pulled else given)


@inlined
def _load_piece(u, u_step, dt, g_out, H, P, head, first, q, x, gy):
    """x = dt u and gy of one head, in rows of P."""
    for t in range(q):
        d = dt[(first + t) * H + head]
        for p in range(0, P, LANES):
            store(x, t * P + p, load(u, (first + t) * u_step + head * P + p) * d)
            store(gy, t * P + p, load(g_out, ((first + t) * H + head) * P + p))


@inlined
def _by_products(x, gy, q, P, turned, M):
    """M_ts = gy_t . x_s, for whole vectors of s that reach t's."""
    wide = row_length(q)
    turned[: P * wide] = _NOTHING
    transpose(x, 0, P, q, P, turned, wide)
    M[: q * wide] = _NOTHING
    for s in range(0, q, LANES):
        multiply(gy, s * P, P, 1, q - s, turned, s, wide, P, M, s * wide + s, wide)


@inlined
def _by_decays(w, M, decay, q, fades, columns, by_log, by_scores, at):
    """d score = L M; and what the terms within the piece add to the gradients by the logarithms of the decays."""
    wide = row_length(q)
    fades[:] = _NOTHING
    columns[:] = _NOTHING
    for t in range(q):
        next_row(fades, decay[t], t)
        w[t * wide + t] = _NOTHING  # no decay lies between a token and itself
        row = splat(_NOTHING)
        for s in range(0, wide, LANES):
            by_score = splat(_NOTHING)
            if s <= t:
                by_weight = load(M, t * wide + s)
                by_score = load(fades, s) * by_weight
                term = load(w, t * wide + s) * by_weight
                row = row + term
                store(columns, s, load(columns, s) + term)
            store(by_scores, at + t * wide + s, by_score)
        by_log[t] = total(row)
    for s in range(q):
        by_log[s] -= columns[s]


@inlined
def _by_inputs(w, gy, q, P, dx):
    """dx_s = sum_t w_ts gy_t."""
    wide = row_length(q)
    dx[: q * P] = _NOTHING
    for s in range(0, q, ROWS):
        for p in range(0, P, LANES):
            at = s * wide + s
            multiply(w, at, 1, wide, min(ROWS, q - s), gy, s * P + p, P, q - s, dx, s * P + p, P)


@inlined
def _by_end(ahead, B, B_at, B_step, q, P, N, turned, more):
    """more_s = G B_s."""
    transpose(ahead, 0, N, P, N, turned, P)
    more[: q * P] = _NOTHING
    for p in range(0, P, LANES):
        multiply(B, B_at, B_step, 1, q, turned, p, P, N, more, p, P)


@inlined
def _faded_end(decay, x, more, dx, by_log, q, P):
    """Scale x_s by e_s, add e_s G B_s to dx_s, and return the decay over the whole piece."""
    left = _ONE
    for s in range(q - 1, -1, -1):
        term = splat(_NOTHING)
        for i in range(s * P, (s + 1) * P, LANES):
            store(x, i, load(x, i) * left)
            term = term + load(x, i) * load(more, i)
            store(dx, i, load(dx, i) + load(more, i) * left)
        by_log[q - 1] += total(term)
        by_log[s] -= total(term)
        left = flushed_product(left, decay[s])
    return left


@inlined
def _by_start(heads_C, at, C, C_at, C_step, decay, gy, by_log, q, P, N):
    """Scale S^T gy_t and gy_t by c_t, and add what the readout of S says about the decays."""
    faded = _ONE
    for t in range(q):
        faded = flushed_product(faded, decay[t])
        term = splat(_NOTHING)
        for n in range(0, N, LANES):
            scaled = load(heads_C, at + t * N + n) * faded
            store(heads_C, at + t * N + n, scaled)
            term = term + scaled * load(C, C_at + t * C_step + n)
        by_log[t] += total(term)
        for i in range(t * P, (t + 1) * P, LANES):
            store(gy, i, load(gy, i) * faded)


@inlined
def _dot(a, b, at, size):
    out = splat(_NOTHING)
    for i in range(0, size, LANES):
        out = out + load(a, i) * load(b, at + i)
    return total(out)


@inlined
def _finish(
    u, u_step, dt, A, D, g_out, H, P, head, first, q, dx, by_log, du, d_dt, by_segment, A_at, D_at
):
    """From the gradients by x and by the decays to those by u, dt, A and D."""
    by_later = 0.0
    by_A, by_D = 0.0, 0.0
    for t in range(q - 1, -1, -1):
        by_later += by_log[t]
        d = dt[(first + t) * H + head]
        by_dt, by_skip = splat(_NOTHING), splat(_NOTHING)
        for p in range(0, P, LANES):
            at = ((first + t) * H + head) * P + p
            now, gradient = load(u, (first + t) * u_step + head * P + p), load(g_out, at)
            by_u = load(dx, t * P + p) * d
            if len(D):
                by_u = by_u + gradient * D[head]
            store(du, at, by_u)
            by_dt = by_dt + load(dx, t * P + p) * now
            by_skip = by_skip + gradient * now
        d_dt[(first + t) * H + head] = total(by_dt) + np.float32(by_later) * A[head]
        by_A += by_later * d
        by_D += total(by_skip)
    by_segment[A_at] += np.float32(by_A)
    by_segment[D_at] += np.float32(by_D)


@kernel
def _gather(B, B_step, C, C_step, H, G, N, begin, scores_at, by_scores, heads_B, heads_C, dB, dC):
    """dB and dC from the gradients by the scores, summed over a group's heads, and from what passed through states."""
    tokens, each = begin[-1], H // G
    for job in prange((len(begin) - 1) * G):
        piece, g = job // G, job % G
        first, q = begin[piece], begin[piece + 1] - begin[piece]
        wide = row_length(q)
        summed = np.zeros(q * wide, dtype=np.float32)
        for t in range(first, first + q):
            for n in range(0, N, LANES):
                by_B, by_C = splat(_NOTHING), splat(_NOTHING)
                if len(heads_B):
                    for head in range(g * each, (g + 1) * each):
                        by_B = by_B + load(heads_B, (head * tokens + t) * N + n)
                        by_C = by_C + load(heads_C, (head * tokens + t) * N + n)
                store(dB, (t * G + g) * N + n, by_B)
                store(dC, (t * G + g) * N + n, by_C)
        for head in range(g * each, (g + 1) * each):
            at = scores_at[piece] * H + head * q * wide
            for i in range(0, q * wide, LANES):
                store(summed, i, load(summed, i) + load(by_scores, at + i))
        for n in range(0, N, LANES):
            for s in range(0, q, ROWS):
                count, to = min(ROWS, q - s), ((first + s) * G + g) * N + n
                depth, B_at = min(q, s + ROWS), first * B_step + g * N + n
                multiply(summed, s * wide, wide, 1, count, B, B_at, B_step, depth, dC, to, G * N)
                C_at, at = (first + s) * C_step + g * N + n, s * wide + s
                multiply(summed, at, 1, wide, count, C, C_at, C_step, q - s, dB, to, G * N)
