"""Large results share memory one after the other, never at the same time."""

import gc

import pytest

from mambascope.models.kernels import reuse
from mambascope.models.kernels.reuse import LARGE, MOST, reused_flat


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch):
    monkeypatch.setattr(reuse, "_idle", [])


def place_of(*shape):
    result, row = reused_flat(*shape)
    assert result.shape == shape
    row[:] = 1
    assert bool((result == 1).all())
    return result.data_ptr()


def test_memory_is_used_again_when_the_result_is_gone():
    assert place_of(2, LARGE) == place_of(2, LARGE) == place_of(LARGE + 7)


def test_memory_is_not_used_while_any_part_of_the_result_is_held():
    first, row = reused_flat(2, LARGE)
    part, place = first[1, 5:9], first.data_ptr()
    part[:] = 3
    del first, row
    gc.collect()
    assert place_of(2, LARGE) != place
    assert part.tolist() == [3, 3, 3, 3]


def test_two_results_lie_apart():
    (a, _), (b, _) = reused_flat(LARGE), reused_flat(LARGE)
    a.fill_(1)
    b.fill_(2)
    assert bool((a == 1).all())


def test_a_small_result_does_not_hold_large_memory():
    place = place_of(4, LARGE)
    result, _ = reused_flat(LARGE)
    assert result.data_ptr() != place
    assert [len(memory) for memory in reuse._idle] == [4 * LARGE]


def test_memory_that_is_outgrown_goes():
    place_of(LARGE)
    place_of(3 * LARGE)
    assert [len(memory) for memory in reuse._idle] == [3 * LARGE]


def test_what_is_too_large_is_not_held():
    (a, row_a), (b, row_b) = reused_flat(3 * LARGE), reused_flat(MOST - 3 * LARGE)
    del a, row_a
    del b, row_b
    assert [len(memory) for memory in reuse._idle] == [3 * LARGE, MOST - 3 * LARGE]
    (a, row_a), (b, row_b) = reused_flat(MOST - 3 * LARGE), reused_flat(3 * LARGE + 1)
    assert [len(memory) for memory in reuse._idle] == []
    del a, row_a
    del b, row_b
    assert [len(memory) for memory in reuse._idle] == [3 * LARGE + 1]
    result, row = reused_flat(MOST + 1)
    del result, row
    assert reuse._idle == []


def test_memory_begins_at_a_cache_line():
    held = [reused_flat(size)[0] for size in (LARGE, LARGE + 7, 3 * LARGE)]
    assert all(result.data_ptr() % 64 == 0 for result in held)
