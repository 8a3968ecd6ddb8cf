"""Mamba-2's scan on CPU in float32, in pieces (Dao & Gu 2024, section 6), quadratic within a piece, a state between them.

With x = dt u, a = exp(dt A), L_ts = a_{s+1} ... a_t, and S the state before the piece:

    y_t  = D u_t + L_t,-1 S C_t + sum_{s <= t} L_ts (C_t . B_s) x_s
    S'   = L_end,-1 S + sum_s L_end,s x_s B_s^T

Mirrors `definition.ssd_scan` and ssd_minimal.py of state-spaces/mamba. Differs: pieces are fitted to the sequence (a
prompt of at most `PIECE` tokens that starts from nothing is one piece and needs no state at all), they end at kept tokens,
and L is a running product, which loses nothing where sums of logarithms would cancel. A piece of one token is the recurrence.
Shapes: u (tokens, H, P); dt (tokens, H); B, C (tokens, G, N); state (slots, H, P, N); P and N multiples of LANES.
"""

import numpy as np
from numba import prange
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat, flat, rows, shares, slots_of
from mambascope.models.kernels.jit import inlined, kernel, use_torch_threads
from mambascope.models.kernels.pieces import Pieces
from mambascope.models.kernels.reuse import reused_flat
from mambascope.models.kernels.simd import (
    LANES,
    TINY,
    flushed,
    fold_1,
    fold_2,
    fold_4,
    fold_8,
    load,
    prefetch,
    splat,
    store,
    total,
)
from mambascope.models.kernels.tiles import ROWS, multiply, transpose
from mambascope.sites.segments import Segments

_NOTHING = np.float32(0.0)
_ONE = np.float32(1.0)


def ssd_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor | None,
    segments: Segments,
    keep: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """The output, and the state after the tokens of `keep` (each once), without gradients."""
    use_torch_threads()
    (tokens, H, P), (G, N) = u.shape, B.shape[1:]
    pieces = Pieces.of_segments(segments, keep)
    out, flat_out = empty_flat(tokens, H, P)
    kept, flat_kept = reused_flat(len(keep), H, P, N)
    B_rows, C_rows = rows(B.reshape(tokens, -1)), rows(C.reshape(tokens, -1))
    scores = products(C_rows, B_rows, G, N, pieces)
    _scan(
        *rows(u.reshape(tokens, -1)),
        flat(dt),
        flat(A),
        *B_rows,
        *C_rows,
        flat(D),
        flat(state),
        H,
        P,
        G,
        N,
        slots_of(segments, state),
        shares(segments, H),
        *(pieces.begin, pieces.of, pieces.kept, pieces.scores),
        scores,
        flat_out,
        flat_kept,
    )
    return out, kept


def products(
    C: tuple[np.ndarray, int], B: tuple[np.ndarray, int], G: int, N: int, pieces: Pieces
) -> np.ndarray:
    """C_t . B_s for s <= t (0 for the rest) within each piece, for each group: rows of whole vectors."""
    out = np.empty(int(pieces.scores[-1]) * G, dtype=np.float32)
    _products(*C, *B, G, N, pieces.begin, pieces.scores, out)
    return out


@inlined
def row_length(q):
    """The length of a row of products: q filled up to whole vectors."""
    return (q + LANES - 1) // LANES * LANES


@kernel
def _products(C, C_step, B, B_step, G, N, begin, scores_at, out):
    for job in prange((len(begin) - 1) * G):
        piece, g = job // G, job % G
        first, q = begin[piece], begin[piece + 1] - begin[piece]
        wide = row_length(q)
        turned = np.zeros(N * wide, dtype=np.float32)
        transpose(B, first * B_step + g * N, B_step, q, N, turned, wide)
        base = scores_at[piece] * G + g * q * wide
        out[base : base + q * wide] = _NOTHING
        for s in range(0, wide, LANES):
            C_at = (first + s) * C_step + g * N
            multiply(C, C_at, C_step, 1, q - s, turned, s, wide, N, out, base + s * wide + s, wide)
        for t in range(q):
            for s in range(t + 1, min(wide, (t // LANES + 1) * LANES)):
                out[base + t * wide + s] = _NOTHING


@kernel
def _scan(
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
    out,
    kept,
):
    size = P * N
    longest = 0
    for piece in range(len(begin) - 1):
        longest = max(longest, begin[piece + 1] - begin[piece])
    for share in prange(len(bounds) - 1):
        S = np.empty(size, dtype=np.float32)
        x = np.empty(longest * P, dtype=np.float32)
        w = np.empty(longest * row_length(longest), dtype=np.float32)
        decay, fades = (
            np.empty(longest, dtype=np.float32),
            np.empty(longest + LANES, dtype=np.float32),
        )
        for pair in range(bounds[share], bounds[share + 1]):
            s, head = pair // H, pair % H
            g = head * G // H
            source, at = S, 0  # where the state lies: in the carry, or where the last piece left it
            live = slots[s] >= 0
            if live:
                source, at = state, (slots[s] * H + head) * size
            for piece in range(pieces_of[s], pieces_of[s + 1]):
                first, q = begin[piece], begin[piece + 1] - begin[piece]
                out_at = (first * H + head) * P
                C_at, B_at = first * C_step + g * N, first * B_step + g * N
                target, to = S, 0
                if piece_kept[piece] >= 0:
                    target, to = kept, (piece_kept[piece] * H + head) * size
                goes_on = piece_kept[piece] >= 0 or piece + 1 < pieces_of[s + 1]
                decays_of(dt, A, H, head, first, q, decay)
                _load_inputs(u, u_step, dt, D, H, P, head, first, q, x, out)
                if q == 1 and goes_on:
                    a = decay[0]
                    _one_token(
                        *(source, at, live, a, x, B, B_at, C, C_at, P, N, target, to, out, out_at)
                    )
                else:
                    if live:
                        _read_state(source, at, decay, C, C_at, C_step, H, P, N, q, out, out_at)
                    scores_from = scores_at[piece] * G + g * q * row_length(q)
                    weigh(scores, scores_from, decay, q, fades, w)
                    _mix_within(w, x, q, P, out, out_at, H * P)
                    if goes_on:
                        whole = fade(decay, x, q, P)
                        _next_state(
                            *(source, at, live, whole, x, B, B_at, B_step, P, N, q, target, to)
                        )
                source, at, live = target, to, True


@inlined
def decays_of(dt, A, H, head, first, q, decay):
    """a_t of a piece."""
    for t in range(q):
        decay[t] = flushed_product(np.exp(dt[(first + t) * H + head] * A[head]), _ONE)


@inlined
def _load_inputs(u, u_step, dt, D, H, P, head, first, q, x, out):
    """x = dt u of a piece; out = D u to begin with."""
    for t in range(q):
        d = dt[(first + t) * H + head]
        for p in range(0, P, LANES):
            now = load(u, (first + t) * u_step + head * P + p)
            prefetch(u, (first + t) * u_step + (head + 1) * P + p)  # the next head's turn is next
            prefetch(out, ((first + t) * H + head + 1) * P + p)
            store(x, t * P + p, now * d)
            skip = splat(_NOTHING)
            if len(D):
                skip = now * D[head]
            store(out, ((first + t) * H + head) * P + p, skip)


@inlined
def _one_token(source, at, live, a, x, B, B_at, C, C_at, P, N, target, to, out, out_at):
    """The recurrence for one token: S' = a S + x B^T and S' C in one pass over the state."""
    for p in range(P):
        y = splat(_NOTHING)
        for n in range(0, N, LANES):
            new = load(B, B_at + n) * x[p]
            if live:
                new = new + load(source, at + p * N + n) * a
            store(target, to + p * N + n, new)
            y = y + new * load(C, C_at + n)
        out[out_at + p] += total(y)


@inlined
def _read_state(source, at, decay, C, C_at, C_step, H, P, N, q, out, out_at):
    """out_t += a_0 ... a_t S C_t."""
    for p in range(0, P, LANES):
        faded = _ONE
        for t in range(q):
            faded = flushed_product(faded, decay[t])
            to, C_t = out_at + t * H * P + p, C_at + t * C_step
            y = _sixteen_rows(source, at + p * N, C, C_t, N)
            store(out, to, load(out, to) + y * faded)


@inlined
def _sixteen_rows(source, at, C, C_at, N):
    """Sixteen rows of S times C_t: sixteen sums in one vector cost a third of sums taken one by one."""
    a = _four_rows(source, at, C, C_at, N)
    b = _four_rows(source, at + 4 * N, C, C_at, N)
    c = _four_rows(source, at + 8 * N, C, C_at, N)
    d = _four_rows(source, at + 12 * N, C, C_at, N)
    return fold_1(fold_2(a, b), fold_2(c, d))


@inlined
def _four_rows(source, at, C, C_at, N):
    y_0, y_1, y_2, y_3 = splat(_NOTHING), splat(_NOTHING), splat(_NOTHING), splat(_NOTHING)
    for n in range(0, N, LANES):
        by = load(C, C_at + n)
        y_0 = y_0 + load(source, at + n) * by
        y_1 = y_1 + load(source, at + N + n) * by
        y_2 = y_2 + load(source, at + 2 * N + n) * by
        y_3 = y_3 + load(source, at + 3 * N + n) * by
    return fold_4(fold_8(y_0, y_1), fold_8(y_2, y_3))


@inlined
def weigh(scores, base, decay, q, fades, w):
    """w_ts = L_ts (C_t . B_s), zeros above the diagonal as far as `triangle` reads."""
    wide = row_length(q)
    fades[:] = _NOTHING
    for t in range(q):
        next_row(fades, decay[t], t)
        for s in range(0, (t // ROWS + 1) * ROWS, LANES):
            store(w, t * wide + s, load(fades, s) * load(scores, base + t * wide + s))


@inlined
def flushed_product(a, b):
    """The product of two decays, 0 where it is too small to matter."""
    product = a * b
    return _NOTHING if product < TINY else product


@inlined
def next_row(fades, a, t):
    """Row t of L from row t - 1: every entry fades by a_t, and that of t itself is 1."""
    for s in range(0, t + 1, LANES):
        store(fades, s, flushed(load(fades, s) * a))
    fades[t] = _ONE


@inlined
def _mix_within(w, x, q, P, out, out_at, out_step):
    """out_t += sum_s w_ts x_s."""
    wide = row_length(q)
    for t in range(0, q, ROWS):
        for p in range(0, P, LANES):
            count, depth = min(ROWS, q - t), min(q, t + ROWS)
            to = out_at + t * out_step + p
            multiply(w, t * wide, wide, 1, count, x, p, P, depth, out, to, out_step)


@inlined
def fade(decay, x, q, P):
    """x_s times what is left of it at the end of the piece; what is left then of the state before the piece."""
    left = _ONE
    for t in range(q - 1, -1, -1):
        for p in range(0, P, LANES):
            store(x, t * P + p, load(x, t * P + p) * left)
        left = flushed_product(left, decay[t])
    return left


@inlined
def _next_state(source, at, live, whole, x, B, B_at, B_step, P, N, q, target, to):
    """S' = a_0 ... a_end S + sum_s x_s B_s^T, where x is faded already."""
    for i in range(0, P * N, LANES):
        store(target, to + i, load(source, at + i) * whole if live else splat(_NOTHING))
    for n in range(0, N, LANES):
        multiply(x, 0, 1, P, P, B, B_at + n, B_step, q, target, to + n, N)
