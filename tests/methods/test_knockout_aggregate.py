"""Means over the facts of sweeps of knockouts, with numbers worked out by hand."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from mambascope.errors import ConfigError, OutputError
from mambascope.methods.knockout.aggregate import (
    compared,
    mean_flow,
    model_differences,
    model_flows,
    shared_facts,
    source_contrast,
    with_rank,
)
from mambascope.results import save
from mambascope.results.schema import FLOW, conform
from mambascope.results.statistics import sign_flip_p, statistics_config
from mambascope.runner.opening import open_results
from tests.methods.knockouts import knockouts

NAN = np.nan


@pytest.fixture
def sweep():
    """Four facts, two sources, two windows; the last fact lacks the second source."""
    score = [
        [[0.8, 0.4], [0.8, 0.8]],
        [[0.6, 0.0], [0.6, 0.3]],
        [[0.4, 0.1], [0.4, 0.4]],
        [[0.2, 0.2], [NAN, NAN]],
    ]
    return knockouts(score, [0.8, 0.6, 0.4, 0.4], sources=["subject", "first"], ranks=[1, 1, 2, 4])


def test_means_are_over_the_facts_that_have_the_source(sweep):
    score, change, hit = (mean_flow(sweep, quantity=name) for name in ("score", "change", "hit"))
    np.testing.assert_allclose(score["effect"], [[0.5, 0.175], [0.6, 0.5]])
    np.testing.assert_allclose(
        change["effect"], [[-12.5, (-50 - 100 - 75 - 50) / 4], [0, -50 / 3]], atol=1e-12
    )
    np.testing.assert_allclose(hit["effect"], [[0.5, 0], [2 / 3, 1 / 3]])
    np.testing.assert_array_equal(score["n"], [[4, 4], [3, 3]])
    assert score.attrs["clean"] == pytest.approx(0.55)
    assert (change.attrs["clean"], hit.attrs["clean"]) == (0, 0.5)
    assert score.attrs["facts"] == 4
    conform(score, FLOW)


def test_intervals_are_those_of_scipy_and_tests_are_of_the_change():
    random = np.random.default_rng(0)
    clean = random.uniform(0.5, 0.9, 40)
    score = clean[:, None, None] * random.uniform(0.4, 1.0, (40, 1, 1))
    noise = random.normal(0, 0.01, (40, 1, 1))
    both = np.concatenate([score, clean[:, None, None] + noise - noise.mean()], 2)
    found = mean_flow(knockouts(both, clean), quantity="score", resamples=4000)
    for start in (0, 1):
        wanted = stats.bootstrap(
            (both[:, 0, start],), np.mean, n_resamples=4000, method="BCa", random_state=1
        ).confidence_interval
        assert float(found["low"][0, start]) == pytest.approx(wanted.low, abs=0.006)
        assert float(found["high"][0, start]) == pytest.approx(wanted.high, abs=0.006)
    assert float(found["p"][0, 0]) == pytest.approx(1e-4)
    assert float(found["p"][0, 1]) > 0.9
    np.testing.assert_allclose(found["q"][0], stats.false_discovery_control(found["p"].values[0]))


def test_every_position_is_averaged_within_its_role_first():
    score = np.full((2, 4, 1), 0.8)
    score[0, :, 0] = [0.8, 0.2, 0.4, 0.6]
    score[1, 3] = NAN
    roles = [["before", "subject_first", "subject_last", "last"], ["before", "before", "last", ""]]
    found = mean_flow(knockouts(score, [0.8, 0.8], roles=roles), quantity="score")
    assert found["effect"].dims == ("role", "start")
    assert found["role"].values.tolist() == ["before", "subject_first", "subject_last", "last"]
    np.testing.assert_allclose(found["effect"][:, 0], [0.8, 0.2, 0.4, (0.6 + 0.8) / 2])
    np.testing.assert_array_equal(found["n"][:, 0], [2, 1, 1, 2])


def test_ranks_choose_facts(sweep):
    assert with_rank(sweep, "1")["fact_id"].values.tolist() == ["f0", "f1"]
    assert with_rank(sweep, "2-5")["fact_id"].values.tolist() == ["f2", "f3"]
    found = mean_flow(sweep, quantity="score", rank="<=3")
    np.testing.assert_allclose(found["effect"][0], [0.6, 0.5 / 3])
    assert (found.attrs["facts"], found.attrs["rank"]) == (3, "<=3")
    with pytest.raises(OutputError, match="no fact's answer has rank 3 for m"):
        with_rank(sweep, "3")


def test_a_contrast_pairs_the_facts_that_have_both(sweep):
    found = source_contrast(sweep, "subject", "first", quantity="score")
    np.testing.assert_allclose(found["effect"], [[0, (-0.4 - 0.3 - 0.3) / 3]], atol=1e-12)
    np.testing.assert_allclose(found["source_effect"], [[0.6, 0.5 / 3]])
    np.testing.assert_allclose(found["control_effect"], [[0.6, 0.5]])
    np.testing.assert_array_equal(found["n"], [[3, 3]])
    assert found["source"].values.tolist() == ["subject minus first"]
    conform(found, FLOW)


def test_the_control_of_a_contrast_is_the_random_one(sweep):
    renamed = sweep.assign_coords(source=["subject", "random:subject"])
    found = source_contrast(renamed, "subject", quantity="score")
    np.testing.assert_allclose(found["control_effect"], [[0.6, 0.5]])
    with pytest.raises(ConfigError, match="did not cut 'random:subject'; it cut: subject, first"):
        source_contrast(sweep, "subject")


def test_models_are_compared_on_the_facts_and_sources_that_they_share(sweep):
    other = sweep.isel(fact_id=[3, 2, 0]).assign_attrs(model="deeper")
    other = other.assign_coords(clean_rank=("fact_id", [1, 1, 3]), source=["subject", "context"])
    first, second = shared_facts([sweep, other])
    assert (
        first["fact_id"].values.tolist() == second["fact_id"].values.tolist() == ["f0", "f2", "f3"]
    )
    assert first["source"].values.tolist() == second["source"].values.tolist() == ["subject"]
    (same, theirs) = model_flows([sweep, other], rank="<=2")
    assert same.attrs["facts"] == theirs.attrs["facts"] == 1  # f2: rank 2 and 1
    np.testing.assert_allclose(same["effect"], [[0.4, 0.1]])
    assert [flow.attrs["model"] for flow in (same, theirs)] == ["m", "deeper"]


def test_models_differ_fact_by_fact(sweep):
    other = sweep.isel(fact_id=[2, 0, 1]).assign_attrs(model="b")
    other["score"] = other["score"] + xr.DataArray([0.1, 0.2, 0.6], dims="fact_id")
    (found,) = model_differences([sweep, other])
    assert found.attrs["model"] == "b minus m"
    assert found.attrs["facts"] == 3
    np.testing.assert_allclose(found["effect"], 0.3)
    np.testing.assert_allclose(found["n"], 3)
    assert (found["low"] >= 0.1).all() and (found["high"] <= 0.6).all()
    expected = sign_flip_p(np.array([0.2, 0.6, 0.1])[:, None], statistics_config())
    np.testing.assert_allclose(found["p"], expected.item())
    (nothing,) = model_differences([sweep, sweep], names=["a", "b"])
    np.testing.assert_allclose(nothing["effect"], 0.0)
    np.testing.assert_allclose(nothing["p"], 1.0)


def test_a_window_stands_beside_the_one_of_like_depth(sweep):
    score = np.broadcast_to(np.arange(7) / 10, (4, 2, 7))
    deeper = knockouts(score, [0.5] * 4, sources=["subject", "first"], model="d")
    (found,) = model_differences([sweep, deeper])
    # Windows of two layers: their middles are 1/4 and 3/4 deep in three layers, 1/14, 3/14, ..., 13/14 in eight.
    assert found["other_first_layer"].values.tolist() == [1, 5]
    ours = mean_flow(sweep, quantity="score")["effect"].values
    np.testing.assert_allclose(found["effect"], [0.1, 0.5] - ours, atol=1e-12)
    (back,) = model_differences([deeper, sweep])
    assert back["other_first_layer"].values.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_models_of_unequal_depth_are_kept_in_one_result(sweep, tmp_path):
    deeper = knockouts(np.full((4, 2, 3), 0.3), [0.5] * 4, sources=["subject", "first"], model="d")
    flows, differences = (call([sweep, deeper]) for call in (model_flows, model_differences))
    found = compared(flows, differences)
    assert found["effect"].dims == ("model", "source", "start")
    assert np.isnan(found["effect"].sel(model="m", start=2)).all()
    np.testing.assert_allclose(found["effect"].sel(model="d"), 0.3)
    np.testing.assert_allclose(found["clean"], [0.55, 0.5])
    assert np.isnan(found["difference"].sel(model="m")).all()
    np.testing.assert_allclose(
        found["difference"].sel(model="d", start=[0, 1]), differences[0]["effect"]
    )
    save(found, tmp_path)
    assert open_results(tmp_path).identical(found)


def test_what_cannot_be_compared_is_an_error(sweep):
    by_position = knockouts(np.ones((4, 2, 2)), np.ones(4), roles=[["before", "last"]] * 4)
    unlike = sweep.assign_coords(prompt=("fact_id", ["another"] * 4))
    none = sweep.assign_coords(fact_id=["a", "b", "c", "d"])
    for sweeps, message in [
        ([], "at least two"),
        ([sweep], "at least two"),
        ([sweep, sweep], "two of the sweeps are called 'm'"),
        ([sweep, none], "no fact in common"),
        ([sweep, unlike], "asked as 'prompt f0' in one sweep and 'another' in another"),
        ([sweep, by_position], "cannot be compared"),
        ([sweep, sweep.assign_coords(source=["a", "b"])], "no source in common"),
    ]:
        with pytest.raises(OutputError, match=message):
            model_flows(sweeps)
    with pytest.raises(OutputError, match="need as many names"):
        model_flows([sweep, sweep], names=["a"])
    assert len(model_flows([sweep, sweep], names=["a", "b"])) == 2


def test_what_is_no_sweep_of_knockouts_is_an_error(sweep):
    with pytest.raises(OutputError, match="is needed"):
        mean_flow(sweep.assign_attrs(method="sweep.trace"))
    with pytest.raises(ConfigError, match="unknown quantity 'drop'; it is one of: score, change"):
        mean_flow(sweep, quantity="drop")
    with pytest.raises(OutputError, match="no fact is left"):
        mean_flow(sweep.isel(fact_id=[]))
