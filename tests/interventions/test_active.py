"""Pairs that join keep what they have and take the base run's residual for what they lack, as a loop over tokens does."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambascope.interventions.active import Active
from mambascope.interventions.variants import Touch
from mambascope.sites import Segments

LENGTHS = np.array([3, 1, 4])
VARIANTS = 3


@st.composite
def waves(draw):
    """Layers of touches: at most one per variant, in some rows, each from some position on."""

    def touch(variant: int) -> tuple[int, Touch]:
        rows = np.array(sorted(draw(st.sets(st.integers(0, len(LENGTHS) - 1)))), dtype=np.int64)
        starts = [draw(st.integers(0, int(LENGTHS[row]) - 1)) for row in rows]
        return variant, Touch(0, (), (), rows, np.array(starts, dtype=np.int64))

    layer = st.sets(st.integers(0, VARIANTS - 1)).map(sorted)
    return [[touch(variant) for variant in draw(layer)] for _ in range(draw(st.integers(1, 4)))]


@given(wave=waves())
def test_joining_equals_a_loop_over_pairs_and_tokens(wave):
    base = Segments.of(LENGTHS)
    active = Active(VARIANTS, LENGTHS, torch.empty(VARIANTS * LENGTHS.sum(), 1))
    expected: dict[tuple[int, int], dict[int, float]] = {}
    for layer, joining in enumerate(wave):
        resid = torch.arange(8.0)[:, None] + 10 * layer
        for variant, touch in joining:
            for row, start in zip(touch.rows.tolist(), touch.starts.tolist(), strict=True):
                own = expected.setdefault((variant, row), {})
                for position in range(start, LENGTHS[row]):
                    own.setdefault(position, float(resid[base.offsets[row] + position]))
        active.join(joining, resid, base)
        packed = [own[position] for own in expected.values() for position in sorted(own)]
        assert active.resid[:, 0].tolist() == packed
        assert [*zip(active.variants.tolist(), active.rows.tolist(), strict=True)] == [*expected]
        assert active.starts.tolist() == [min(own) for own in expected.values()]
        # A block that changes every token: what a pair has must not be taken from the base run again.
        active.resid.add_(1000)
        for own in expected.values():
            own.update({position: value + 1000 for position, value in own.items()})


def test_segments_and_places_are_those_of_the_suffixes():
    base = Segments.of(LENGTHS)
    active = Active(VARIANTS, LENGTHS, torch.empty(VARIANTS * LENGTHS.sum(), 1))
    rows, starts = np.array([0, 2]), np.array([1, 3])
    active.join([(1, Touch(0, (), (), rows, starts))], torch.zeros(8, 1), base)
    segments = active.segments()
    assert segments.rows.tolist() == [0, 2]
    assert segments.starts.tolist() == [1, 3]
    assert segments.lengths.tolist() == [2, 1]
    assert active.tokens_of(base).tolist() == [1, 2, 7]
    assert active.begun(1, np.arange(3)).tolist() == [True, False, True]
    assert not active.begun(0, np.arange(3)).any()
    chosen = active.segments(np.array([1]), np.array([5, 6]))
    assert (chosen.rows.tolist(), chosen.slots.tolist()) == ([2], [6])
