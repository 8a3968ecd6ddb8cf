"""What the kernels have to compute, written once more: token by token, in NumPy and float64, from the papers' formulas."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from mambascope.sites.segments import Segments


@dataclass
class Expected:
    out: Tensor
    states: Tensor  # after every token
    kept: Tensor


def selective_scan(u, dt, A, B, C, D, state, segments) -> Expected:
    """h = exp(dt A) h + dt u B;  y = C h + D u."""
    u, dt, A, B, C, D, state = map(_double, (u, dt, A, B, C, D, state))

    def step(t, h):
        h = np.exp(dt[t][:, None] * A) * h + (dt[t] * u[t])[:, None] * B[t]
        return h, h @ C[t] + (0 if D is None else D * u[t])

    return _walk(step, segments, state, A.shape)


def ssd_scan(u, dt, A, B, C, D, state, segments) -> Expected:
    """The same for heads: one A and dt per head, the state an outer product."""
    u, dt, A, B, C, D, state = map(_double, (u, dt, A, B, C, D, state))
    heads, group = u.shape[1], u.shape[1] // B.shape[1]

    def step(t, h):
        new, y = np.empty_like(h), np.empty_like(u[t])
        for head in range(heads):
            b, c = B[t, head // group], C[t, head // group]
            x = dt[t, head] * u[t, head]
            new[head] = np.exp(dt[t, head] * A[head]) * h[head] + np.outer(x, b)
            y[head] = new[head] @ c + (0 if D is None else D[head] * u[t, head])
        return new, y

    return _walk(step, segments, state, (*u.shape[1:], B.shape[2]))


def causal_conv(x, weight, bias, carry, segments) -> Tensor:
    """silu(bias + sum_k w_k x), K inputs back in time, through the carry."""
    x, weight, bias, carry = map(_double, (x, weight, bias, carry))
    taps = weight.shape[1]
    out = np.empty_like(x)
    for s in range(segments.count):
        window = _before(carry, segments.slots[s], taps, x.shape[1])
        for t in range(segments.offsets[s], segments.offsets[s + 1]):
            window = [*window, x[t]][-taps:]
            p = sum(weight[:, k] * window[k] for k in range(taps)) + (0 if bias is None else bias)
            out[t] = p / (1 + np.exp(-p))
    return torch.from_numpy(out)


def conv_carry(x, carry, segments, taps) -> Tensor:
    """The last taps - 1 inputs at each kept token."""
    x, carry = _double(x), _double(carry)
    after = {}
    for s in range(segments.count):
        window = _before(carry, segments.slots[s], taps, x.shape[1])
        for t in range(segments.offsets[s], segments.offsets[s + 1]):
            window = [*window, x[t]][-taps:]
            after[t] = np.stack(window[1:]) if taps > 1 else np.empty((0, x.shape[1]))
    shape = (len(segments.keep), taps - 1, x.shape[1])
    return torch.from_numpy(np.array([after[t] for t in segments.keep]).reshape(shape))


def distance(got: Tensor, expected: Tensor, among: Tensor | None = None) -> float:
    """The largest error, relative to the largest expected number (or that of the tensor `among` which it is one)."""
    assert got.shape == expected.shape
    if not expected.numel():
        return 0.0
    scale = float((expected if among is None else among).detach().double().abs().max()) or 1.0
    return float((got.detach().double() - expected.detach().double()).abs().max()) / scale


@st.composite
def segments_(draw, slots: int = 2, longest: int = 80, keep: bool = True) -> Segments:
    """Random segments, now and then a long one; slots shared and -1; any tokens kept."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=5))
    if draw(st.integers(0, 4)) == 0:
        lengths[0] = 300
    tokens = sum(lengths)
    chosen = draw(st.lists(st.integers(0, tokens - 1), max_size=6, unique=True)) if keep else []
    return Segments.of(
        lengths,
        slots=draw(
            st.lists(st.integers(-1, slots - 1), min_size=len(lengths), max_size=len(lengths))
        ),
        keep=sorted(chosen),
    )


def halves(segments: Segments, at: np.ndarray) -> tuple[Segments, Segments, np.ndarray]:
    """Segments cut after their first `at` tokens: the first parts, the second parts, the packed tokens of the first."""
    within = np.arange(segments.tokens) - segments.offsets[segments.segment_of]
    first = within < at[segments.segment_of]
    head = Segments.of(at, slots=segments.slots, keep="last")
    tail = Segments.of(segments.lengths - at, slots=np.arange(segments.count), keep="last")
    return head, tail, first


def leaves(tensors, dtype) -> list[Tensor | None]:
    """Copies in this dtype that gradients are taken by."""
    return [None if x is None else x.detach().to(dtype).requires_grad_() for x in tensors]


def weighed(result):
    """A number that depends on every output, with a weight of its own for each entry."""
    total = 0.0
    for number, x in enumerate(x for x in result if x is not None):
        random = torch.Generator().manual_seed(number)
        total = total + (x * torch.randn(x.shape, generator=random).to(x.dtype)).sum()
    return total


def _double(x):
    return None if x is None else x.detach().double().numpy()


def _before(carry, slot, taps, width):
    fresh = carry is None or slot < 0
    return [np.zeros(width)] * (taps - 1) if fresh else list(carry[slot])


def _walk(step, segments, state, shape) -> Expected:
    outs, states = [], []
    for s in range(segments.count):
        fresh = state is None or segments.slots[s] < 0
        h = np.zeros(shape) if fresh else state[segments.slots[s]]
        for t in range(segments.offsets[s], segments.offsets[s + 1]):
            h, y = step(t, h)
            outs.append(y)
            states.append(h)
    every = torch.from_numpy(np.stack(states))
    return Expected(torch.from_numpy(np.stack(outs)), every, every[torch.from_numpy(segments.keep)])
