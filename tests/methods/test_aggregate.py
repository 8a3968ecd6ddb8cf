"""Aggregates over facts equal loops over the traces, and tell apart what was built to differ."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from mambascope.errors import ConfigError, OutputError
from mambascope.methods.tracing.aggregate import (
    fact_effects,
    mean_effect,
    paired_difference,
    random_control,
    route_share,
)
from mambascope.results import load, save
from mambascope.results.schema import EFFECT, ROLES, conform
from tests.methods.sweeps import PROMPTS, many, sweep, trace

QUICK = {"resamples": 200, "flips": 199}


def effects_by_hand(traces, site, layer, role, direction="restore", normalise=False):
    """For each fact that has the role, its mean over the role's positions."""
    found = []
    for one in traces:
        clean, corrupted = one.attrs["clean_score"], one.attrs["corrupted_score"]
        own = []
        for position, name in enumerate(one["role"].values):
            if name == role:
                score = one["score"].sel(site=site, layer=layer).values[position]
                own.append(score - corrupted if direction == "restore" else clean - score)
        if own:
            found.append(np.mean(own) / (clean - corrupted if normalise else 1))
    return found


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("direction", ["restore", "corrupt"])
def test_the_mean_effect_is_a_loop_over_facts(direction, normalise):
    options = dict(sites=("u", "state"), direction=direction)
    traces = [trace(fact, roles, **options) for fact, roles in PROMPTS.items()]
    found = mean_effect(sweep(**options), normalise=normalise, **QUICK)
    assert found["effect"].dims == ("site", "layer", "role")
    assert found["role"].values.tolist() == list(ROLES)
    for site in ("u", "state"):
        for layer in range(3):
            for role in ROLES:
                by_hand = effects_by_hand(traces, site, layer, role, direction, normalise)
                cell = found.sel(site=site, layer=layer, role=role)
                assert cell["effect"].item() == pytest.approx(np.mean(by_hand))
                assert cell["n"].item() == len(by_hand)


def test_a_cells_interval_is_scipys_over_the_facts_that_have_it():
    made = many(25)
    found = mean_effect(made, resamples=500, seed=3, flips=99)
    effects = fact_effects(made).sel(site="resid_post", layer=1, role="after").values
    expected = stats.bootstrap(
        (effects,), np.mean, n_resamples=500, rng=np.random.default_rng(3)
    ).confidence_interval
    cell = found.sel(site="resid_post", layer=1, role="after")
    assert (cell["low"], cell["high"]) == pytest.approx((expected.low, expected.high))


def test_nothing_happens_before_the_subject_and_that_is_no_discovery():
    found = mean_effect(many(25), **QUICK).sel(role="before")
    assert (found["effect"] == 0).all()
    assert (found["p"] == 1).all()
    assert (mean_effect(many(25), **QUICK).sel(role="subject_last")["q"] < 0.05).all()


def test_subject_and_all_are_averaged_over_their_tokens():
    """Fact "a": of its subject's four tokens each counts once, not each of its three roles."""
    made = sweep({"a": PROMPTS["a"]})
    found = fact_effects(made, roles=("subject", "all", "last"))[0, 0]
    change = (made["score"] - made["corrupted_score"])[0, 0].values
    np.testing.assert_allclose(found.sel(role="subject"), change[:, 1:5].mean(1))
    np.testing.assert_allclose(found.sel(role="all"), change.mean(1))
    np.testing.assert_allclose(found.sel(role="last"), change[:, 5])
    with pytest.raises(ConfigError, match="there is no role 'middle'; there are before"):
        fact_effects(made, roles=("middle",))


def test_normalising_leaves_out_facts_that_the_corruption_hardly_touches():
    made = many(6)
    made["corrupted_score"][2] = made["clean_score"][2] - 0.01
    found = mean_effect(made, normalise=True, **QUICK)
    assert (found.attrs["left_out"], found.attrs["facts"]) == (1, 5)
    assert (found["n"].sel(role="last") == 5).all()
    kept = made.isel(fact_id=[0, 1, 3, 4, 5])
    np.testing.assert_allclose(found["effect"], mean_effect(kept, normalise=True)["effect"])
    made["corrupted_score"][:] = made["clean_score"]
    with pytest.raises(OutputError, match="none can be normalised"):
        mean_effect(made, normalise=True)


def test_a_position_without_a_score_is_left_out_of_its_role():
    made = sweep({"a": PROMPTS["a"]})
    made["score"][0, 0, :, 2] = np.nan
    change = (made["score"] - made["corrupted_score"])[0, 0, :, 3]
    found = fact_effects(made).sel(role="subject_middle")[0, 0]
    np.testing.assert_allclose(found, change)


def test_the_window_is_kept_by_site_also_after_a_selection():
    made = sweep(sites=("u", "state"))
    made.attrs["window"] = [1, 5]
    assert mean_effect(made, **QUICK)["window"].values.tolist() == [1, 5]
    assert random_control(made.sel(site=["state"]), **QUICK)["window"].values.tolist() == [5]


def test_aggregates_do_without_torch():
    code = "import sys, mambascope.methods.tracing.aggregate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_aggregate_conforms_and_comes_back_from_disk(tmp_path):
    found = mean_effect(sweep(sites=("u", "state")), **QUICK)
    for site in ("u", "state"):
        conform(found.sel(site=site), EFFECT)
    save(found, tmp_path / "out")
    assert load(tmp_path / "out").identical(found)
    with pytest.raises(OutputError, match=r"one of 'sweep.trace' is needed"):
        mean_effect(found)


def test_a_difference_pairs_facts_by_their_id_in_any_order():
    a, b = many(12, seed=1), many(14, seed=2, model="other")
    found = paired_difference(a, b.isel(fact_id=slice(None, None, -1)), **QUICK)
    by_hand = fact_effects(a).values - fact_effects(b).values[:12]
    np.testing.assert_allclose(found["effect"], by_hand.mean(0))
    assert found.attrs["title"] == "m minus other"
    assert found.attrs["facts"] == 12
    np.testing.assert_allclose(
        paired_difference(b, a, **QUICK)["effect"], -found["effect"], atol=1e-12
    )


def test_pairing_finds_a_small_difference_under_large_spread():
    """All effects of one sweep are 0.02 higher; facts spread ten times as wide, but each is compared with itself."""
    found = paired_difference(many(20, shift=0.02), many(20), **QUICK).sel(role="last")
    np.testing.assert_allclose(found["low"], 0.02)
    np.testing.assert_allclose(found["high"], 0.02)
    assert (found["q"] < 0.05).all()


def test_facts_that_one_sweep_cannot_normalise_leave_both():
    a, b = many(6), many(6, seed=1)
    b["corrupted_score"][0] = b["clean_score"][0]
    found = paired_difference(a, b, normalise=True, **QUICK)
    assert (found.attrs["facts"], found.attrs["left_out"]) == (5, 1)


def test_models_of_other_depth_are_compared_at_their_peaks():
    a, b = many(15, layers=3), many(15, layers=5, seed=1, model="deep")
    with pytest.raises(OutputError, match="3 and 5 layers; compare them by 'peak'"):
        paired_difference(a, b)
    a["score"][:, :, 1, 1:] += 1.0
    b["score"][:, :, 4, 1:] += 3.0
    found = paired_difference(a, b, by="peak", **QUICK)
    assert found["effect"].dims == ("site", "role")
    last = found.sel(role="last", site="resid_post")
    by_hand = fact_effects(a).sel(role="last")[:, 0, 1] - fact_effects(b).sel(role="last")[:, 0, 4]
    assert last["effect"].item() == pytest.approx(by_hand.mean().item())
    assert (last["layer_a"], last["layer_b"]) == (1, 4)
    with pytest.raises(ConfigError, match="'layer' or by 'peak', not by 'depth'"):
        paired_difference(a, b, by="depth")


def test_a_peak_is_not_read_on_the_facts_that_picked_it():
    """Pure noise in 24 layers has no peak. The largest of the mean effects lies two standard errors above zero on average;
    what is read at the other half's peak does not.
    """
    largest, read = [], []
    for seed in range(40):
        noise = many(20, layers=24)
        zero = noise.assign(score=noise["corrupted_score"] + xr.zeros_like(noise["score"]))
        random = np.random.default_rng(seed).normal(size=noise["score"].shape)
        found = paired_difference(
            zero.assign(score=zero["score"] + random), zero, by="peak", resamples=1, flips=1
        )
        read.append(found["effect"].sel(role="last").item())
        largest.append(random[..., 4].mean(0).max())
    assert np.mean(largest) * np.sqrt(20) > 1.8
    assert abs(np.mean(read)) < 4 / np.sqrt(20 * 40)


def test_sites_of_other_names_are_compared_where_each_sweep_has_one():
    a, b = many(8, sites=("u",)), many(8, sites=("state",), seed=1)
    found = paired_difference(a, b, **QUICK)
    assert found["site"].values.tolist() == ["u / state"]
    assert found.attrs["title"] == "site u minus site state"
    with pytest.raises(OutputError, match=r"no site in common .* select one of each"):
        paired_difference(many(8, sites=("u", "dt")), b)
    both = many(8, sites=("state", "u"))
    assert paired_difference(both, b, **QUICK)["site"].values.tolist() == ["state"]


def test_sweeps_over_other_facts_are_refused():
    with pytest.raises(OutputError, match="no fact in common"):
        paired_difference(many(3), sweep())
    other = many(3)
    other["prompt"] = ("fact_id", ["prompt f0", "something else", "prompt f2"])
    with pytest.raises(OutputError, match="fact 'f1' is asked as 'prompt f1' in one sweep"):
        paired_difference(many(3), other)


def test_the_control_is_another_position_after_the_subjects_start():
    """Scores that name their position: role 'last' (4) is compared with 1, 2 or 3, drawn about equally often."""
    made = many(300)
    made["score"][:] = made["corrupted_score"] + made["position"]
    found = random_control(made, **QUICK).sel(role="last", site="resid_post")
    np.testing.assert_allclose(found["role_effect"], 4.0)
    np.testing.assert_allclose(found["control_effect"], 2.0, atol=4 * np.sqrt(2 / 3 / 300))
    np.testing.assert_allclose(found["effect"], found["role_effect"] - found["control_effect"])
    assert (found["control_low"] < found["control_effect"]).all()
    assert (found["control_effect"] < found["control_high"]).all()
    # the same position in all layers
    assert len(np.unique(found["control_effect"])) == 1


def test_a_facts_control_depends_on_no_other_fact():
    made = many(40)
    made["score"][:] = made["corrupted_score"] + made["position"]
    whole = random_control(made, seed=5, **QUICK)
    halves = [
        random_control(made.isel(fact_id=part), seed=5, **QUICK)
        for part in (slice(None, 20), slice(39, 19, -1))
    ]
    mean = (halves[0]["control_effect"] + halves[1]["control_effect"]) / 2
    np.testing.assert_allclose(mean, whole["control_effect"])
    other = random_control(made, seed=6, **QUICK)
    assert (other["control_effect"] != whole["control_effect"]).any()


def test_a_fact_without_another_position_has_no_control():
    made = sweep({**PROMPTS, "f": ("before", "subject_last")})
    found = random_control(made, **QUICK)
    assert (found["n"].sel(role="subject_last") == 5).all()
    assert (found["n"].sel(role="subject_middle") == 1).all()


def test_no_role_stands_out_where_roles_do_not_matter():
    p = np.stack([random_control(many(60, seed=s), **QUICK)["p"].values for s in range(20)])
    p = p[np.isfinite(p)]
    assert len(p) == 20 * 3 * 4
    assert stats.binom.cdf((p <= 0.1).sum(), len(p), 0.1) < 0.999


def severed(share, route, count=30):
    """A sweep that lacks a share of the effect of `many(count)`."""
    made = many(count, config={"sever": [route]})
    made["score"] -= share * (made["score"] - made["corrupted_score"])
    return made


def test_a_routes_share_is_what_is_lost_without_it():
    found = route_share(
        many(30), {"scan": severed(0.25, "scan"), "conv": severed(1.0, "conv")}, **QUICK
    )
    assert found["share"].dims == ("route", "site", "layer", "role")
    for route, share in (("scan", 0.25), ("conv", 1.0)):
        last = found.sel(route=route, role="last")
        for name in ("share", "share_low", "share_high"):
            np.testing.assert_allclose(last[name], share)
        np.testing.assert_allclose(
            last["effect"], share * mean_effect(many(30), **QUICK)["effect"].sel(role="last")
        )
    assert found["share"].sel(role="before").isnull().all()


def test_a_shares_interval_is_scipys_of_the_pairs():
    whole, cut = many(30), many(30, seed=1, config={"sever": ["scan"]})
    cut["clean_score"], cut["corrupted_score"] = whole["clean_score"], whole["corrupted_score"]
    found = route_share(whole, {"scan": cut}, resamples=300, flips=199, seed=2)
    full, kept = (fact_effects(each).sel(role="last")[:, 0, 1].values for each in (whole, cut))
    expected = stats.bootstrap(
        (full - kept, full),
        lambda lost, all, axis: lost.sum(axis) / all.sum(axis),
        n_resamples=300,
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(2),
    ).confidence_interval
    cell = found.sel(route="scan", site="resid_post", layer=1, role="last")
    assert cell["share"].item() == pytest.approx((full - kept).sum() / full.sum())
    assert (cell["share_low"], cell["share_high"]) == pytest.approx((expected.low, expected.high))


def test_only_what_is_severed_may_differ_between_routes():
    whole = many(5)
    with pytest.raises(OutputError, match="route 'scan' needs a sweep with something severed"):
        route_share(whole, {"scan": many(5)})
    with pytest.raises(OutputError, match="differs from the whole one in model, samples"):
        route_share(whole, {"scan": many(5, model="n", config={"sever": ["scan"], "samples": 3})})
    with pytest.raises(OutputError, match="route 'scan' has no site in common"):
        route_share(whole, {"scan": many(5, sites=("u",), config={"sever": ["scan"]})})
    with pytest.raises(OutputError, match="at least one is needed"):
        route_share(whole, {})
