"""Gate, softplus and RMS norm, fused or not, against float64; and the functions of simd.py against NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mambascope.models.kernels import gate, log_sum_exp, rms_norm, softplus_bias
from tests.models.kernels.recurrences import distance, leaves

LARGE, SMALL = (40, 512), (3, 5)  # fused, and left to PyTorch


def plain_gate(out, z):
    return out * F.silu(z)


def plain_softplus(x, bias):
    return F.softplus(x + bias)


def plain_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight


CASES = {
    "gate": (gate, plain_gate, False),
    "softplus": (softplus_bias, plain_softplus, True),
    "rms_norm": (lambda x, weight: rms_norm(x, weight, 1e-5), plain_norm, True),
}


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_float64(name, shape):
    fused, plain, one_row = CASES[name]
    tensors = [torch.randn(shape) * 5, torch.randn(shape[1:] if one_row else shape)]
    mine, true = leaves(tensors, torch.float32), leaves(tensors, torch.float64)
    weights = torch.randn(shape)
    got, want = fused(*mine), plain(*true)
    assert distance(got, want) < 1e-6
    got = torch.autograd.grad((got * weights).sum(), mine)
    want = torch.autograd.grad((want * weights).sum(), true)
    assert all(distance(a, b) < 2e-6 for a, b in zip(got, want, strict=True))
    with torch.no_grad():
        assert distance(fused(*mine), plain(*true)) < 1e-6


@pytest.mark.parametrize("name", CASES)
def test_column_slices_are_read_in_place(name):
    fused, _, one_row = CASES[name]
    wide = torch.randn(40, 1200)
    other = torch.randn(512) if one_row else wide[:, 600:1112]
    assert torch.equal(
        fused(wide[:, :512], other), fused(wide[:, :512].contiguous(), other.contiguous())
    )


@pytest.mark.parametrize("shape", [(3, 16_384), (40, 2051), (5000, 7), (2, 3)])
def test_log_sum_exp_agrees_with_float64(shape):
    wide = torch.randn(shape[0], shape[1] + 5) * 30 + 50
    x, true = wide[:, 2 : 2 + shape[1]], wide[:, 2 : 2 + shape[1]].double().logsumexp(1)
    torch.testing.assert_close(log_sum_exp(x), true.float(), rtol=3e-7, atol=0)
    needed = wide.clone().requires_grad_()
    log_sum_exp(needed).sum().backward()
    torch.testing.assert_close(needed.grad, wide.softmax(1))


def test_log_sum_exp_of_what_is_not_finite():
    x = torch.zeros(8, 16_389)
    x[0, 3], x[1, 16_388], x[2, 7] = torch.nan, torch.nan, torch.inf
    x[3], x[4, 1:], x[5:7] = -torch.inf, -torch.inf, -torch.inf
    x[5, 0], x[6, 16_388], x[7, 2], x[7, 40] = torch.nan, torch.nan, torch.nan, torch.inf
    got = log_sum_exp(x)
    assert torch.equal(got.isnan(), x.logsumexp(1).isnan())
    assert got[[0, 1, 5, 6, 7]].isnan().all()
    assert got[2:5].tolist() == [torch.inf, -torch.inf, 0.0]


def test_heads_are_gated_alike():
    out, z = torch.randn(2, 40, 8, 64)
    assert torch.equal(gate(out, z), gate(out.flatten(1), z.flatten(1)).view(out.shape))


@pytest.mark.parametrize("name", CASES)
def test_nan_and_infinity_come_out_as_in_pytorch(name):
    fused, plain, one_row = CASES[name]
    x, other = torch.randn(LARGE), torch.randn(LARGE[1:] if one_row else LARGE)
    x.view(-1)[[3, 700, 2000]] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    got, want = fused(x, other), plain(x, other)
    assert torch.equal(got.isnan(), want.isnan())
    assert torch.equal(got.isinf(), want.isinf())


def test_softplus_keeps_relative_precision_far_below_zero():
    x = torch.linspace(-80, 100, 40 * 512).view(40, 512)
    true = torch.where(x > 30, x.double(), torch.log1p(torch.exp(x.double())))
    assert float((softplus_bias(x, None).double() / true - 1).abs().max()) < 5e-7


@pytest.mark.parametrize(
    ("name", "low", "high"), [("exp2", -126, 127.4), ("exp", -87, 88), ("log1p", 0, 1)]
)
def test_functions_of_vectors_are_accurate_to_a_few_units_in_the_last_place(name, low, high):
    x = np.linspace(low, high, 1 << 16, dtype=np.float32)
    x = np.concatenate([x, np.geomspace(1e-30, 1.0, 1 << 10, dtype=np.float32)])
    true = getattr(np, name)(x.astype(np.float64))
    error = np.abs(applied(name, x) - true) / np.spacing(true.astype(np.float32))
    assert error.max() < 3
    assert not applied(name, np.zeros(16, dtype=np.float32))[0] - getattr(np, name)(0.0)


def test_exponentials_saturate_and_keep_nan():
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 200, -200, 0] * 2, dtype=np.float32)
    for name in ("exp", "exp2"):
        got = applied(name, x)[:8]
        assert np.isnan(got[0])
        assert got[1:].tolist() == [np.inf, 0, np.inf, 0, np.inf, 0, 1]


def applied(name, x):
    """A function of simd.py on all elements."""
    from mambascope.models.kernels import jit, simd

    function, load, store = getattr(simd, name), simd.load, simd.store

    def run(x, out):
        for i in range(0, len(x), 16):
            store(out, i, function(load(x, i)))

    out = np.empty_like(x)
    jit.numba.njit(run)(x, out)
    return out
