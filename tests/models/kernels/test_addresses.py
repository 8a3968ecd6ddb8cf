"""Where tensors lie."""

import ctypes

import pytest
import torch

from mambascope.models.kernels import addresses


def test_the_numbers_are_where_they_are_said_to_be():
    weight = torch.arange(6.0).view(2, 3)
    table = addresses([(weight, None), (weight[1], weight)])
    assert table.tolist() == [[weight.data_ptr(), 0], [weight.data_ptr() + 12, weight.data_ptr()]]
    assert (ctypes.c_float * 3).from_address(int(table[1, 0]))[:] == [3, 4, 5]


@pytest.mark.parametrize(
    "odd", [torch.ones(2, 3).T, torch.ones(2).double(), torch.ones(2, device="meta")]
)
def test_what_a_kernel_could_not_read_gives_none(odd):
    assert addresses([(torch.ones(2), odd)]) is None
