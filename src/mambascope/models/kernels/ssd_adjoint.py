"""The adjoint of Mamba-2's scan, piece by piece from the end, one pair of segment and head at a time.

Notation as in ssd_numba.py, with c_t = a_0 ... a_t, e_s = L_end,s, and G the gradient by the state after the piece:

    M_ts   = gy_t . x_s                              d score_ts = L_ts M_ts       (score_ts = C_t . B_s)
    dx_s   = sum_t L_ts score_ts gy_t + e_s G B_s    dB_s = sum_t d score_ts C_t + e_s G^T x_s
    dC_t   = sum_s d score_ts B_s + c_t S^T gy_t     dS   = c_end G + sum_t c_t gy_t C_t^T

Every decay is a product of neighbouring a_r, so d log a_r is the sum over all terms whose decay contains a_r, each times
its gradient: a term adds itself to `by_log` where its product ends and takes itself off where it begins, and a running
sum from the end does the rest.
"""

import numpy as np
from numba import prange

from mambascope.models.kernels.jit import inlined, kernel
from mambascope.models.kernels.simd import LANES, load, splat, store, total
from mambascope.models.kernels.ssd_numba import (
    decays_of,
    flushed_product,
    next_row,
    row_length,
    weigh,
)
from mambascope.models.kernels.tiles import ROWS, multiply, transpose

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def adjoint(
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
    """Gradients by u, dt, A, D and the start, and per head what `gather` sums up for B and C."""
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
def gather(B, B_step, C, C_step, H, G, N, begin, scores_at, by_scores, heads_B, heads_C, dB, dC):
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
