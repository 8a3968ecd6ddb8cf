"""Stacked traces hold each trace's numbers at its own fact, and nothing past a prompt's end."""

import json

import numpy as np
import pytest

from mambascope.errors import OutputError
from mambascope.results import load, save
from mambascope.results.stack import stack_traces

SHORT = ("The", " capital", " France", " is")


def made(trace_result, tokens=SHORT, **attrs):
    """A trace with the attributes of a real one."""
    attrs = {
        "weights": "w",
        "seed": 0,
        "versions": "{}",
        "config": '{"samples": 10, "swap": []}',
        "window": 1,
        "top_answer": " Paris",
        "subject_start": len(tokens) - 2,
        "subject_stop": len(tokens) - 1,
        **attrs,
    }
    return trace_result(3, tokens, **attrs)


def test_each_fact_keeps_its_numbers_and_labels(trace_result):
    short = made(trace_result, fact_id="a", relation="capital", subject="France")
    long = made(trace_result, ("So", *SHORT), fact_id="b", clean_score=0.7)
    stacked = stack_traces([long, short], failed=2, skipped=1)
    assert stacked["score"].dims == ("fact_id", "site", "layer", "position")
    for fact, trace in (("a", short), ("b", long)):
        own = stacked["score"].sel(fact_id=fact, site="resid_post")
        length = trace.sizes["position"]
        np.testing.assert_array_equal(own[:, :length], trace["score"])
        assert np.isnan(own[:, length:]).all()
        assert stacked["length"].sel(fact_id=fact) == length
    assert stacked["token"].sel(fact_id="a").values.tolist() == [*SHORT, ""]
    assert stacked["role"].sel(fact_id="a").values[-1] == ""
    assert stacked["relation"].values.tolist() == ["", "capital"]
    assert stacked["subject"].values.tolist() == ["France", "France"]
    assert stacked["clean_score"].values.tolist() == [0.7, 0.95]
    assert (stacked.attrs["method"], stacked.attrs["window"]) == ("sweep.trace", [1])
    assert (stacked.attrs["failed"], stacked.attrs["skipped"]) == (2, 1)


def test_traces_of_several_sites_are_stacked_site_by_site(trace_result):
    one = made(trace_result)
    several = one.expand_dims(site=["u", "state"]).assign_attrs(window=[1, 2])
    several = several.assign(score=several["score"] * np.array([1, 2])[:, None, None])
    stacked = stack_traces([several.transpose("layer", "site", "position")])
    assert stacked["site"].values.tolist() == ["u", "state"]
    assert stacked.attrs["window"] == [1, 2]
    np.testing.assert_array_equal(stacked["score"].sel(site="state")[0], 2 * one["score"])


def test_a_stack_is_saved_and_read_back_equal(trace_result, tmp_path):
    stacked = stack_traces([made(trace_result), made(trace_result, ("So", *SHORT))])
    save(stacked, tmp_path / "out")
    assert load(tmp_path / "out").identical(stacked)


def test_unlike_traces_are_refused_with_the_difference_named(trace_result):
    first = made(trace_result)
    with pytest.raises(OutputError, match="differ in weights: 'w' and 'v'"):
        stack_traces([first, made(trace_result, weights="v")])
    with pytest.raises(OutputError, match="differ in config samples: 10 and 5"):
        stack_traces([first, made(trace_result, config='{"samples": 5, "swap": []}')])
    with pytest.raises(OutputError, match="differ in layer"):
        stack_traces([first, first.isel(layer=slice(2))])
    with pytest.raises(OutputError, match="'a' has more than one trace"):
        stack_traces([made(trace_result, fact_id="a")] * 2)
    with pytest.raises(OutputError, match="only traces"):
        stack_traces([made(trace_result, method="knockout")])
    with pytest.raises(OutputError, match="no traces"):
        stack_traces([])


def test_swapped_subjects_may_differ_by_fact(trace_result):
    rows = [
        made(trace_result, config=json.dumps({"samples": 10, "swap": [name]}))
        for name in ("Italy", "Spain")
    ]
    assert json.loads(stack_traces(rows).attrs["config"]) == {"samples": 10}
    assert json.loads(stack_traces(rows[:1]).attrs["config"])["swap"] == ["Italy"]
