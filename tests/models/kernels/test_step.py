"""The kernels for one token of each row, against the papers' formulas in float64 (recurrences.py)."""

import pytest
import torch
import torch.nn.functional as F

from mambascope.models.kernels import addresses, layers_step_numba, step_numba
from mambascope.sites.segments import Segments
from tests.models.kernels import recurrences

ROWS = 5
STEP = Segments.of([1] * ROWS, slots=range(ROWS), keep="all")


def close(got, expected):
    return recurrences.distance(got, expected) < 1e-5


def slice_of(*shape):
    """A column slice of a wider matrix, as a mixer has them."""
    return torch.randn(shape[0], 11 + shape[1])[:, 4 : 4 + shape[1]]


def mixer(N):
    """Random weights of 48 channels: filters, bias, x_proj, dt_proj, its bias, A_log, D."""
    convolution = torch.randn(48, 4), torch.randn(48)
    projections = torch.randn(5 + 2 * N, 48) / 7, torch.randn(48, 5), torch.randn(48)
    return *convolution, *projections, torch.randn(48, N), torch.randn(48)


def between_projections(x, z, weights, eps, memory, state):
    """The gated output, and what is remembered of the inputs and in the state, in float64."""
    filters, bias, x_proj, dt_proj, dt_bias, A_log, D = weights
    N, step = A_log.shape[1], Segments.of([1] * len(x), slots=range(len(x)), keep="all")
    u = recurrences.causal_conv(x, filters, bias, memory, step)
    low, B, C = (u @ x_proj.double().T).split([5, N, N], dim=1)
    if eps is not None:
        low, B, C = (v / (v.square().mean(1, keepdim=True) + eps).sqrt() for v in (low, B, C))
    dt = F.softplus(low @ dt_proj.double().T + dt_bias.double())
    true = recurrences.selective_scan(u, dt, -A_log.double().exp(), B, C, D, state, step)
    after = recurrences.conv_carry(x, memory, step, filters.shape[1])
    return true.out * F.silu(z.double()), after, true.kept


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


@pytest.mark.parametrize("rows", [5, 16, 37])
@pytest.mark.parametrize("N", [16, 48])
@pytest.mark.parametrize("eps", [None, 1e-3])
def test_the_mixer_of_mamba_1_between_its_projections(rows, N, eps):
    torch.manual_seed(N)
    x, z = slice_of(rows, 48), slice_of(rows, 48)
    weights, memory, state = mixer(N), torch.randn(rows, 3, 48), torch.randn(rows, 48, N)
    gated, after, states = between_projections(x, z, weights, eps, memory, state)
    filters, bias, x_proj, *dt_proj, A_log, D = weights
    given = (filters, bias), x_proj, tuple(dt_proj), A_log, D
    assert close(step_numba.selective_step(x, z, *given, eps, memory, state), gated)
    assert close(state, states)
    assert close(memory, after)


@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("eps", [None, 1e-3])
def test_all_layers_of_a_mamba_1(rows, has_bias, eps):
    torch.manual_seed(rows)
    resid, layers, wanted = 3 * slice_of(rows, 32), [], []
    memories = [(torch.randn(rows, 3, 48), torch.randn(rows, 48, 16)) for _ in range(3)]
    wide = resid.double()
    for memory, state in memories:
        norm, between = torch.rand(32), mixer(16)
        in_proj, out_proj = torch.randn(96, 32) / 6, torch.randn(32, 48) / 7
        biases = [torch.randn(96), torch.randn(32)] if has_bias else [None, None]
        layers.append((norm, in_proj, biases[0], *between, out_proj, biases[1]))
        normed = wide / (wide.square().mean(1, keepdim=True) + 0.5).sqrt() * norm
        in_bias, out_bias = (None if bias is None else bias.double() for bias in biases)
        x, z = F.linear(normed, in_proj.double(), in_bias).chunk(2, dim=1)
        gated, *after = between_projections(x, z, between, eps, memory, state)
        wide = wide + F.linear(gated, out_proj.double(), out_bias)
        wanted.append(after)

    sizes = layers_step_numba.Sizes(32, 48, 4, 16, 5, 0.5, -1.0 if eps is None else eps)
    places = addresses(memories)
    assert close(layers_step_numba.layers_step(resid, addresses(layers), places, sizes), wide)
    for got, true in zip(memories, wanted, strict=True):
        assert all(map(close, got, true))


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
    """u is 1, B and C are 1, dt is 60: what was remembered is gone, and 60 is remembered instead."""
    x, z, zeros = torch.ones(2, 16), torch.ones(2, 16), torch.zeros(16)
    x[1] = torch.nan
    state = torch.full((2, 16, 16), 7.0)
    one = torch.tensor(1.2784645)  # silu of it is 1
    projections = torch.full((33, 16), 1 / 16), (torch.zeros(16, 1), torch.full((16,), 60.0))
    weights = (one.expand(16, 1).contiguous(), None), *projections, torch.ones(16, 16), zeros
    out = step_numba.selective_step(x, z, *weights, None, torch.empty(2, 0, 16), state)
    torch.testing.assert_close(state[0], torch.full((16, 16), 60.0), rtol=1e-5, atol=0)
    torch.testing.assert_close(out[0], torch.full((16,), 960.0) * F.silu(torch.ones(16)))
    assert out[1].isnan().all()
