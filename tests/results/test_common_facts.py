"""Sweeps are brought to the facts that all of them have, and only if those were asked alike."""

import pytest
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results.common_facts import common_facts


def asked(**prompts: str) -> xr.Dataset:
    """A sweep of which only the prompts matter; each fact's value is its place."""
    names = list(prompts)
    coords = {"fact_id": names, "prompt": ("fact_id", list(prompts.values()))}
    return xr.Dataset({"score": ("fact_id", list(range(len(names))))}, coords)


def test_facts_that_all_have_are_kept_in_the_first_ones_order():
    sweeps = [asked(a="A", b="B", c="C"), asked(c="C", d="D", a="A"), asked(a="A", c="C")]
    found = common_facts(sweeps)
    assert [each["fact_id"].values.tolist() for each in found] == [["a", "c"]] * 3
    assert [each["score"].values.tolist() for each in found] == [[0, 2], [2, 0], [0, 1]]


def test_sweeps_over_other_facts_or_prompts_are_refused():
    with pytest.raises(OutputError, match="no fact in common"):
        common_facts([asked(a="A"), asked(b="B")])
    with pytest.raises(
        OutputError, match="fact 'b' is asked as 'B' in one sweep and 'else' in another"
    ):
        common_facts([asked(a="A", b="B"), asked(a="A", b="B"), asked(b="else", a="A")])
