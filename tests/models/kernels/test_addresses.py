"""Where tensors lie, whatever becomes of them."""

import copy
import ctypes

import pytest
import torch

from mambascope.models.kernels import Addresses


def test_the_numbers_are_where_they_are_said_to_be():
    weight = torch.arange(6.0).view(2, 3)
    table = Addresses().of([(weight, None), (weight[1], weight)])
    assert table.tolist() == [[weight.data_ptr(), 0], [weight.data_ptr() + 12, weight.data_ptr()]]
    assert (ctypes.c_float * 3).from_address(int(table[1, 0]))[:] == [3, 4, 5]


def test_they_are_looked_up_again_only_where_one_has_moved():
    addresses, weights = Addresses(), [torch.zeros(2), torch.ones(3)]
    first = addresses.of([weights])
    assert addresses.of([weights]) is first
    weights[1] = torch.full((4,), 5.0)
    assert addresses.of([weights]).tolist() == [[weight.data_ptr() for weight in weights]]


def test_nothing_else_comes_to_lie_where_a_weight_was():
    addresses = Addresses()
    addresses.of([(torch.ones(1000),)])
    place = int(addresses.of([(torch.ones(2000),)])[0, 0])
    assert all(torch.ones(2000).data_ptr() != place for _ in range(10))


@pytest.mark.parametrize(
    "odd", [torch.ones(2, 3).T, torch.ones(2).double(), torch.ones(2, device="meta")]
)
def test_what_a_kernel_could_not_read_gives_none(odd):
    addresses, plain = Addresses(), torch.ones(2)
    assert addresses.of([(plain, odd)]) is None
    assert addresses.of([(plain, None)]).tolist() == [[plain.data_ptr(), 0]]


def test_a_copy_knows_nothing_of_the_first_one():
    addresses, weight = Addresses(), torch.ones(2)
    addresses.of([(weight,)])
    assert copy.deepcopy(addresses)._held == []
