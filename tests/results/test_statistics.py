"""The statistics over facts: equal to scipy's cell by cell, right by hand, and calibrated in simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from mambascope.errors import ConfigError
from mambascope.results import statistics
from mambascope.results.statistics import (
    bootstrap_interval,
    corrected,
    sign_flip_p,
    statistics_config,
    summarise,
)

NAN = np.nan


def skewed(facts, *cells, seed=1):
    return np.random.default_rng(seed).exponential(size=(facts, *cells)) - 0.7


def test_the_interval_is_scipys_bca_interval_of_each_cell():
    values = skewed(30, 2, 3)
    config = statistics_config(confidence=0.9, resamples=500, seed=4)
    found = summarise(values, config)
    for cell in product(range(2), range(3)):
        expected = stats.bootstrap(
            (values[:, *cell],),
            np.mean,
            confidence_level=0.9,
            n_resamples=500,
            method="BCa",
            rng=np.random.default_rng(4),
        ).confidence_interval
        assert found.low[cell] == pytest.approx(expected.low, abs=1e-12)
        assert found.high[cell] == pytest.approx(expected.high, abs=1e-12)


def test_a_ratios_interval_is_scipys_of_the_pairs():
    above, below = skewed(25, 1), skewed(25, 1, seed=2) + 2
    low, high = bootstrap_interval(above, below, statistics_config(resamples=400, seed=3))
    expected = stats.bootstrap(
        (above[:, 0], below[:, 0]),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        n_resamples=400,
        paired=True,
        vectorized=True,
        method="BCa",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_facts_that_lack_a_cell_count_neither_in_its_mean_nor_in_its_n():
    values = np.array([[1.0, NAN, NAN], [2.0, 4.0, NAN], [6.0, 8.0, NAN], [NAN, NAN, NAN]])
    found = summarise(values, statistics_config())
    np.testing.assert_array_equal(found.n, [3, 2, 0])
    np.testing.assert_allclose(found.effect, [3.0, 6.0, NAN])
    for part in (found.low, found.high, found.p, found.q):
        np.testing.assert_array_equal(np.isnan(part), [False, False, True])
    assert 1.0 <= found.low[0] < 3.0 < found.high[0] <= 6.0
    assert (found.low[1], found.high[1]) == (4.0, 8.0)


def test_facts_without_the_cell_do_not_narrow_its_interval():
    values = skewed(40, 1)
    sparse = np.concatenate([values, np.full((400, 1), NAN)])
    config = statistics_config(resamples=20_000)
    alone, among = summarise(values, config), summarise(sparse, config)
    assert among.effect == pytest.approx(alone.effect)
    wider = (among.high - among.low) / (alone.high - alone.low)
    assert 0.97 < wider[0] < 1.1  # how many of them are drawn varies too


def test_all_cells_see_the_same_resamples():
    """The difference of two cells that differ by a constant has no spread at all."""
    one = skewed(20, 1)
    found = summarise(np.concatenate([one, one + 5.0], axis=1), statistics_config())
    np.testing.assert_allclose(found.low[1] - found.low[0], 5.0)
    np.testing.assert_allclose(found.high[1] - found.high[0], 5.0)


def test_one_fact_has_a_mean_but_no_interval():
    found = summarise(np.array([[0.25]]), statistics_config())
    assert found.effect[0] == 0.25
    assert np.isnan(found.low[0])
    assert found.p[0] == 1.0


def test_equal_values_give_an_interval_of_no_width():
    found = summarise(np.full((12, 1), 0.5), statistics_config())
    assert (found.low[0], found.high[0]) == pytest.approx((0.5, 0.5))


def test_the_p_value_is_that_of_all_sign_flips():
    values = np.array([0.9, -0.1, 0.4, 0.7, 0.3, -0.2, 0.6])
    signs = np.array(list(product((1, -1), repeat=7)))
    exact = (np.abs(signs @ values) >= values.sum() - 1e-12).mean()
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert exact == pytest.approx(expected)
    p = sign_flip_p(values[:, None], statistics_config(flips=20_000))
    assert p[0] == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))


def test_the_smallest_p_counts_the_observed_sample():
    assert sign_flip_p(np.full((40, 1), 1.0), statistics_config(flips=99))[0] == 0.01
    assert sign_flip_p(np.zeros((40, 1)), statistics_config())[0] == 1.0


def test_few_facts_cannot_be_significant():
    """Of five facts' 32 sign flips two are as extreme as all of one sign: p = 1/16."""
    p = sign_flip_p(np.ones((5, 1)), statistics_config())[0]
    assert p == pytest.approx(1 / 16, abs=0.01)


def test_benjamini_hochberg_by_hand():
    """Of p = .005, .02, .03, .5 the q are p * 4 / rank, made monotone from the top."""
    q = corrected(np.array([[0.03, NAN], [0.005, 0.5], [0.02, NAN]]))
    np.testing.assert_allclose(q, [[0.04, NAN], [0.02, 0.5], [0.04, NAN]])
    assert np.isnan(corrected(np.array([NAN]))).all()


def test_the_result_does_not_depend_on_how_the_draws_are_split(monkeypatch):
    values, config = skewed(17, 4), statistics_config(resamples=101, flips=97)
    whole = summarise(values, config)
    monkeypatch.setattr(statistics, "CHUNK", 17 * 5)
    parts = summarise(values, config)
    for name in ("effect", "low", "high", "p", "q"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_an_impossible_option_is_named():
    with pytest.raises(ConfigError, match=r"confidence: .* but 1.5 was given"):
        statistics_config(confidence=1.5)
    with pytest.raises(ConfigError, match="resample: Extra inputs"):
        statistics_config(resample=10)


def within(count, trials, probability):
    """Whether a count lies in the central 99.9 % of the binomial."""
    low, high = stats.binom.interval(0.999, trials, probability)
    return low <= count <= high


def test_95_of_100_intervals_hold_the_true_mean():
    """A thousand skewed and a thousand normal populations, each a cell seen in a sample of its own of 400 facts."""
    random = np.random.default_rng(0)
    for draws in (random.exponential(size=(400, 1000)) - 1, random.normal(size=(400, 1000))):
        low, high = bootstrap_interval(
            draws, np.ones_like(draws), statistics_config(resamples=1000)
        )
        assert within(((low <= 0) & (high >= 0)).sum(), 1000, 0.95)


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_under_the_null_a_share_alpha_of_p_values_is_below_alpha(level):
    values = np.random.default_rng(50).standard_t(3, size=(50, 2000))
    p = sign_flip_p(values, statistics_config(flips=999))
    assert within((p <= level).sum(), 2000, level)


def test_few_facts_make_no_more_false_alarms():
    """Six facts have 32 p values that can occur: .05 holds the first of them, 1/32, and no other."""
    values = np.random.default_rng(8).normal(size=(6, 2000))
    p = sign_flip_p(values, statistics_config(flips=9999))
    assert within((p <= 0.05).sum(), 2000, 1 / 32)


def test_the_share_of_false_discoveries_stays_below_the_level():
    """20 of 100 cells have an effect; over 200 sets of facts the mean share of false ones among q < 0.1 stays below it."""
    random, shares, found = np.random.default_rng(5), [], 0
    for _ in range(200):
        values = random.normal(size=(30, 100))
        values[:, :20] += 0.8
        hits = summarise(values, statistics_config(resamples=1, flips=1999)).q < 0.1
        shares.append(hits[20:].sum() / max(1, hits.sum()))
        found += hits[:20].sum()
    assert np.mean(shares) < 0.1
    assert found > 0.8 * 200 * 20
