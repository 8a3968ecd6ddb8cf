"""The kernels for one token of each row, against the papers' formulas in float64 (recurrences.py)."""

import pytest
import torch
import torch.nn.functional as F

from mambascope.models.kernels import step_numba
from mambascope.sites.segments import Segments
from tests.models.kernels import recurrences

ROWS = 5
STEP = Segments.of([1] * ROWS, slots=range(ROWS), keep="all")


def close(got, expected):
    return recurrences.distance(got, expected) < 1e-5


def slice_of(*shape):
    """A column slice of a wider matrix, as a mixer has them."""
    return torch.randn(shape[0], 11 + shape[1])[:, 4 : 4 + shape[1]]


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_convolution_and_what_it_remembers(taps, has_bias):
    torch.manual_seed(taps)
    x, weight, memory = slice_of(ROWS, 48), torch.randn(48, taps), torch.randn(ROWS, taps - 1, 48)
    bias = torch.randn(48) if has_bias else None
    out = recurrences.causal_conv(x, weight, bias, memory, STEP)
    after = recurrences.conv_carry(x, memory, STEP, taps)
    assert close(step_numba.conv_step(x, weight, bias, memory), out)
    assert close(memory, after)


@pytest.mark.parametrize("N", [16, 48])
def test_the_selective_scan_with_its_softplus_and_gate(N):
    torch.manual_seed(N)
    u, low, z, B, C = (slice_of(ROWS, width) for width in (48, 48, 48, N, N))
    bias, A_log, D, state = (torch.randn(*s) for s in ((48,), (48, N), (48,), (ROWS, 48, N)))
    dt = F.softplus((low + bias).double())
    true = recurrences.selective_scan(u, dt, -A_log.double().exp(), B, C, D, state, STEP)
    got = step_numba.selective_step(u, low, bias, A_log, B, C, D, z, state)
    assert close(got, true.out * F.silu(z.double()))
    assert close(state, true.kept)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("P", [3, 64])
def test_the_scan_of_heads(groups, P):
    torch.manual_seed(P)
    u, dt, A, D = torch.randn(ROWS, 4, P), torch.rand(ROWS, 4), -torch.rand(4), torch.randn(4)
    B, C = (slice_of(ROWS, groups * 32).unflatten(1, (groups, 32)) for _ in range(2))
    state = torch.randn(ROWS, 4, P, 32)
    true = recurrences.ssd_scan(u, dt, A, B, C, D, state, STEP)
    assert close(step_numba.ssd_step(u, dt, A, B, C, D, state), true.out)
    assert close(state, true.kept)


def test_large_steps_forget_and_nan_stays_in_its_row():
    u, low, z = torch.ones(2, 16), torch.full((2, 16), 60.0), torch.ones(2, 16)
    B = C = torch.ones(2, 16)
    state = torch.full((2, 16, 16), 7.0)
    u[1] = torch.nan
    zeros = torch.zeros(16)
    out = step_numba.selective_step(u, low, zeros, torch.ones(16, 16), B, C, zeros, z, state)
    torch.testing.assert_close(state[0], torch.full((16, 16), 60.0))
    torch.testing.assert_close(out[0], torch.full((16,), 960.0) * F.silu(torch.ones(16)))
    assert out[1].isnan().all()
