"""The product of few rows against float64, at every edge of its blocks."""

import pytest
import torch
import torch.nn.functional as F

from mambascope.models.kernels import few_rows_numba, linear, release_packed_weights
from mambascope.models.kernels.packed import packed_bytes


@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("depth", [1, 15, 48, 100])
@pytest.mark.parametrize("width", [16, 17, 31, 272])
@pytest.mark.parametrize("has_bias", [False, True])
def test_it_is_the_product(rows, depth, width, has_bias):
    torch.manual_seed(0)
    x = torch.randn(rows, depth + 7)[:, 3 : 3 + depth]
    weight, bias = torch.randn(width, depth), torch.randn(width) if has_bias else None
    got = few_rows_numba.linear(x, weight, bias)
    true = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    scale = F.linear(x.abs().double(), weight.abs().double()) + 1
    assert ((got.double() - true).abs() / scale).max() < depth * torch.finfo(torch.float32).eps


def test_a_row_does_not_depend_on_those_beside_it():
    x, weight = torch.randn(16, 64), torch.randn(80, 64)
    together = few_rows_numba.linear(x, weight, None)
    apart = [few_rows_numba.linear(row[None], weight, None) for row in x]
    assert torch.equal(together, torch.cat(apart))


def test_nan_and_infinity_stay_in_their_row():
    x, weight = torch.randn(4, 32), torch.randn(48, 32)
    x[1, 5], x[2, 9] = torch.nan, torch.inf
    got = few_rows_numba.linear(x, weight, None)
    assert got[1].isnan().all()
    assert got[2].isinf().all()
    assert got[[0, 3]].isfinite().all()


def test_it_makes_no_copy_and_takes_up_to_sixteen_rows(monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "numba")
    release_packed_weights()
    calls = []
    monkeypatch.setattr(
        few_rows_numba,
        "linear",
        lambda x, weight, bias: calls.append(len(x)) or F.linear(x, weight, bias),
    )
    weight = torch.randn(32, 48)
    for rows in (1, 16, 17):
        torch.testing.assert_close(
            linear(torch.ones(rows, 48), weight), weight.sum(1).expand(rows, 32)
        )
    linear(torch.ones(2, 48), torch.randn(15, 48))  # fewer outputs than a vector has lanes
    linear(torch.ones(2, 48), torch.randn(48, 32).t())  # not in the order of memory
    assert calls == [1, 16]
    assert packed_bytes() == 0
