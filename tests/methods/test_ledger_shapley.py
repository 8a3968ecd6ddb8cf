"""Shapley values against a game worked out by hand, and by the properties that define them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.methods.ledger.shapley import shapley_values, single_effects, total


def test_a_share_in_a_glove_game_is_worked_out_by_hand():
    # Players 0 and 1 hold a left glove each, player 2 a right one: a pair is worth 1.
    worths = np.array([0, 0, 0, 0, 0, 1, 1, 1], dtype=float)[:, None]
    np.testing.assert_allclose(shapley_values(worths)[:, 0], [1 / 6, 1 / 6, 4 / 6])
    np.testing.assert_array_equal(single_effects(worths)[:, 0], [0, 0, 0])
    assert total(worths).tolist() == [1]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_shapley_values_are_efficient_symmetric_and_nothing_for_a_dummy(players, seed):
    random = np.random.default_rng(seed)
    worths = random.normal(size=(1 << players, 3))
    np.testing.assert_allclose(shapley_values(worths).sum(0), total(worths), atol=1e-12)
    # A dummy joins: it adds nothing to any coalition, and the others keep their values.
    joined = np.concatenate([worths, worths])
    np.testing.assert_allclose(shapley_values(joined)[-1], 0, atol=1e-12)
    np.testing.assert_allclose(shapley_values(joined)[:-1], shapley_values(worths), atol=1e-12)
    # A game in which only the number of players counts gives all the same.
    by_size = random.normal(size=players + 1)
    equal = np.array([by_size[c.bit_count()] for c in range(1 << players)])[:, None]
    shares = np.broadcast_to(total(equal) / players, (players, 1))
    np.testing.assert_allclose(shapley_values(equal), shares, atol=1e-12)
