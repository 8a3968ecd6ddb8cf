"""Facts of one study are packed without loss, and what came of each is found at its place."""

import itertools

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import ConfigError, PromptError
from mambascope.interventions.facts import asked_or_failed, in_order, packed

FACTS = [FactPrompt(fact_id=name, prompt=f"{name} is", subject=name) for name in "abc"]
SIZES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=20)


@given(items=SIZES, limits=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_packing_keeps_the_order_the_limits_and_wastes_nothing(items, limits):
    batches = list(packed(items, lambda item: item, limits))
    assert [item for batch in batches for item in batch] == items

    def fits(batch) -> bool:
        return all(
            sum(column) <= limit
            for column, limit in zip(zip(*batch, strict=True), limits, strict=True)
        )

    assert all(fits(batch) or len(batch) == 1 for batch in batches)
    for batch, after in itertools.pairwise(batches):
        assert not fits([*batch, after[0]])


def test_what_is_wrong_with_one_fact_is_its_failure_alone():
    def ask(fact: FactPrompt) -> str | FactFailure:
        if fact.fact_id == "b":
            raise PromptError("too long")
        return fact.prompt

    assert asked_or_failed(FACTS, ask) == ["a is", FactFailure("b", "too long"), "c is"]

    def wrong(fact: FactPrompt) -> str:
        raise ConfigError("wrong for all")

    with pytest.raises(ConfigError, match="wrong for all"):
        asked_or_failed(FACTS, wrong)


def test_results_and_failures_come_back_at_their_places():
    failure = FactFailure("b", "too long")
    done = [xr.Dataset(attrs={"n": n}) for n in range(2)]
    first, second, third = in_order(FACTS, ["a is", failure, "c is"], done)
    assert second is failure
    assert first.attrs == {"n": 0, "fact_id": "a", "relation": "", "subject": "a"}
    assert third.attrs == {"n": 1, "fact_id": "c", "relation": "", "subject": "c"}
