"""Means of scores and their differences against numbers by hand."""

import numpy as np
import pytest

from mambascope.errors import OutputError
from mambascope.methods.evaluation.aggregate import by_category, paired
from tests.methods.evaluations import evaluation


def test_means_by_category_with_wilsons_intervals():
    found = by_category(
        evaluation({"two_hop": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0], "simple_recall": [0] * 10})
    )
    assert found["category"].values.tolist() == ["simple_recall", "two_hop", "all"]
    exact = found.sel(score="exact")
    np.testing.assert_allclose(exact["mean"], [0, 0.2, 0.1])
    # Wilson: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), z = 1.959964, n = 10
    np.testing.assert_allclose(exact["low"][:2], [0.0, 0.0566822], atol=1e-6)
    np.testing.assert_allclose(exact["high"][:2], [0.2775328, 0.5098375], atol=1e-6)
    assert exact["n"].values.tolist() == [10, 10, 20]
    np.testing.assert_allclose(found["mean"].sel(score="logprob"), [-1, -0.9, -0.95])


def test_a_category_without_a_name_is_called_unclassified():
    found = by_category(evaluation({"": [1, 0], "query": [1, 1]}))
    assert found["category"].values.tolist() == ["query", "unclassified", "all"]


def test_questions_of_data_sets_stand_apart_from_made_prompts():
    given = evaluation({"two_hop": [1, 1, 0, 0], "stress": [1], "": [0]})
    sets = ("fact_id", ["custom", "original", "hotpotqa", "musique", "custom", "nq"])
    found = by_category(given.assign_coords(dataset=sets)).sel(score="exact")
    names = ["two_hop", "stress", "qa two_hop", "qa unclassified", "all"]
    assert found["category"].values.tolist() == names
    np.testing.assert_allclose(found["mean"], [1, 1, 0, 0, 0.5])
    alone = by_category(given.assign_coords(dataset=("fact_id", ["nq"] * 6)))
    assert alone["category"].values.tolist() == ["two_hop", "stress", "unclassified", "all"]


def test_differences_are_paired_by_question():
    first = evaluation({"two_hop": [0] * 12, "stress": [1, 0] * 6})
    second = evaluation({"two_hop": [1] * 12, "stress": [0, 1] * 6}, model="n")
    shuffled = second.isel(fact_id=np.random.default_rng(0).permutation(24))
    found = paired(first, shuffled)
    exact = found.sel(score="exact")
    assert exact["category"].values.tolist() == ["two_hop", "stress", "all"]
    np.testing.assert_allclose(exact["effect"], [1, 0, 0.5])
    assert (
        float(exact["p"].sel(category="two_hop"))
        < 0.01
        < 0.9
        < float(exact["p"].sel(category="stress"))
    )
    assert (found["q"] >= found["p"]).all()
    assert (found.attrs["first"], found.attrs["second"]) == ("m", "n")


def test_only_shared_questions_are_paired_and_none_is_an_error():
    first = evaluation({"two_hop": [0, 0, 1, 1]})
    found = paired(first, first.isel(fact_id=[1, 2]))
    assert found.attrs["questions"] == 2 and found["n"].max() == 2
    other = first.assign_coords(fact_id=["a", "b", "c", "d"])
    with pytest.raises(OutputError, match="no question in common"):
        paired(first, other)
    with pytest.raises(OutputError, match="other things"):
        paired(first, first.assign_coords(prompt=("fact_id", ["w", "x", "y", "z"])))
