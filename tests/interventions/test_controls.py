"""A matched control has as many positions as its source, drawn evenly from the others and the same each time."""

import numpy as np

from mambascope.interventions.controls import random_others


def test_every_other_position_that_a_target_can_read_is_drawn_equally_often():
    drawn = [random_others("random:x", [2, 5], [7, 9], [i] * 12, 0) for i in range(400)]
    assert all(len(places) == 2 and places[0] < places[1] for places in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    allowed = [0, 1, 3, 4, 6, 8]
    assert counts.sum() == counts[allowed].sum() == 800
    expected = 400 * 2 / 6
    assert (np.abs(counts[allowed] - expected) < 4 * np.sqrt(expected * 4 / 6)).all(), counts


def test_it_follows_from_seed_name_and_prompt_alone():
    ids = [*range(40)]
    first = random_others("random:x", [1, 2, 3], [39], ids, 0)
    assert random_others("random:x", [1, 2, 3], [39], ids, 0) == first
    assert random_others("random:x", [1, 2, 3], [39], ids, 1) != first
    assert random_others("random:y", [1, 2, 3], [39], ids, 0) != first
    assert random_others("random:x", [1, 2, 3], [39], [*ids[:-1], 7], 0) != first


def test_where_too_few_are_left_there_is_none():
    assert random_others("random:x", [0, 1], [4], [5] * 6, 0) == [2, 3]
    assert random_others("random:x", [0, 1, 2], [4], [5] * 6, 0) == []
