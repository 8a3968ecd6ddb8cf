"""How much a budget lets through at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mambascope.interventions.budget import MOST_TOKENS_AT_ONCE, Budget

SIZES = st.integers(1, 2**22)


@given(memory=st.integers(0, 2**34), inner=SIZES, logits=st.integers(12, 2**22))
def test_logits_and_a_block_take_a_quarter_each_or_one_row(memory, inner, logits):
    budget = Budget(memory=memory, token=1, slot=1, inner=inner, logits=logits)
    assert budget.rows == 1 or budget.rows * logits <= memory / 4
    assert budget.tokens <= MOST_TOKENS_AT_ONCE
    assert budget.tokens * inner <= memory / 4
    assert (
        Budget(memory=2 * memory, token=1, slot=1, inner=inner, logits=logits).rows >= budget.rows
    )


@given(sizes=st.lists(st.integers(1, 50), min_size=1), memory=st.integers(0, 2**12))
def test_chunks_hold_every_segment_once_and_more_than_one_only_if_they_fit(sizes, memory):
    budget = Budget(memory=memory, token=1, slot=1, inner=4, logits=12)
    chunks = list(budget.chunks(np.array(sizes)))
    assert [i for first, last in chunks for i in range(first, last)] == list(range(len(sizes)))
    for first, last in chunks:
        assert last - first == 1 or sum(sizes[first:last]) <= budget.tokens


def test_with_room_the_logits_of_a_usual_vocabulary_fit_what_blocks_leave():
    budget = Budget(memory=2**33, token=1, slot=1, inner=1, logits=3 * 4 * 50_280)
    assert budget.rows >= 112
    assert budget.rows * 4 * 50_280 <= MOST_TOKENS_AT_ONCE * 3072 * 4
