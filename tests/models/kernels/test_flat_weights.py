"""Weights as rows of numbers: where the weights lie, whatever becomes of them."""

import copy

import numpy as np
import pytest
import torch

from mambascope.models.kernels import FlatWeights


def test_a_row_is_the_weight_itself():
    weight = torch.arange(6.0).view(2, 3)
    row, nothing = FlatWeights().of(weight, None)
    weight[1, 2] = 7
    assert row.tolist() == [0, 1, 2, 3, 4, 7]
    assert len(nothing) == 0


def test_rows_are_looked_up_again_only_where_a_weight_has_moved():
    flat, weights = FlatWeights(), [torch.zeros(2), torch.ones(3)]
    first = flat.of(*weights)
    assert flat.of(*weights) is first
    weights[1] = torch.full((4,), 5.0)
    assert [row.tolist() for row in flat.of(*weights)] == [[0, 0], [5, 5, 5, 5]]


@pytest.mark.parametrize(
    "odd", [torch.ones(2, 3).T, torch.ones(2).double(), torch.ones(2, device="meta")]
)
def test_what_has_no_row_in_its_place_gives_none(odd):
    flat, plain = FlatWeights(), torch.ones(2)
    assert flat.of(plain, odd) == ()
    assert np.array_equal(flat.of(plain)[0], [1, 1])


def test_a_copy_knows_nothing_of_the_first_one():
    flat = FlatWeights()
    flat.of(torch.ones(2))
    assert copy.deepcopy(flat).of() == ()
