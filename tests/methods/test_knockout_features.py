"""Slow and fast features of layers whose decays are set by hand."""

import math

import pytest
import torch
from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

import mambascope as ms
from mambascope.errors import ConfigError, ModelError
from mambascope.methods.knockout.features import (
    check_features,
    fixed_features,
    measured_features,
    width,
)
from tests.models.reference import shake

SIZES = {"hidden_size": 4, "num_hidden_layers": 2, "vocab_size": 11}


@pytest.fixture
def mamba1():
    """E 8, N 2."""
    torch.manual_seed(0)
    return ms.load(shake(MambaForCausalLM(MambaConfig(**SIZES, state_size=2))), dtype="float64")


@pytest.fixture
def mamba2():
    """H 7, no N in A."""
    torch.manual_seed(0)
    config = Mamba2Config(**SIZES, expand=7, state_size=3, num_heads=7, head_dim=4, n_groups=1)
    return ms.load(shake(Mamba2ForCausalLM(config)), dtype="float64")


def set_rates(model, layer, rates):
    """A = -rates in one layer."""
    stored = model.blocks[layer].mixer.A_log
    with torch.no_grad():
        stored.copy_(torch.log(torch.tensor(rates, dtype=stored.dtype)).reshape(stored.shape))


def test_the_published_split_goes_by_the_summed_decay_over_the_state(mamba1):
    # exp(-rate) summed over N: 1.10, 0.74, 0.27, 1.90, 0.02, 0.50, 0.39, 0.91; a third of 8 is 2
    rates = [[0.6, 0.6], [1, 1], [2, 2], [0.05, 0.05], [5, 5], [0.7, 9], [0.95, 9], [0.1, 6]]
    set_rates(mamba1, 0, rates)
    set_rates(mamba1, 1, rates[::-1])
    assert fixed_features(mamba1, "slow") == {0: [0, 3], 1: [4, 7]}
    assert fixed_features(mamba1, "fast") == {0: [2, 4], 1: [3, 5]}
    assert fixed_features(mamba1, "not slow")[0] == [1, 2, 4, 5, 6, 7]
    assert fixed_features(mamba1, "not fast")[0] == [0, 1, 3, 5, 6, 7]


def test_the_split_of_heads_goes_by_their_one_decay(mamba2):
    set_rates(mamba2, 0, [3.0, 1.0, 7.0, 0.5, 2.0, 5.0, 4.0])
    set_rates(mamba2, 1, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert fixed_features(mamba2, "slow") == {0: [1, 3], 1: [0, 1]}
    assert fixed_features(mamba2, "fast") == {0: [2, 5], 1: [5, 6]}


def slowest(model, ids, layer, tokens):
    """The two channels with the longest half-life, by the definition, at some of the prompt's tokens."""
    dt = model.run([ids], record=["dt"])["dt", layer][0]
    rates = model.blocks[layer].mixer.A_log.exp()
    lives = [
        sum(math.log(2) / float(dt[t, e] * rate) for t in tokens for rate in rates[e])
        for e in range(8)
    ]
    return sorted(sorted(range(8), key=lambda e: -lives[e])[:2])


def test_measured_half_lives_are_those_of_the_prompts_own_steps(mamba1):
    with torch.no_grad():  # steps that differ from token to token
        for block in mamba1.blocks:
            block.mixer.x_proj.weight *= 300
    prompts = [[1, 2, 3], [9, 8, 7, 6, 5, 4], [0, 10, 3, 3], [6, 1, 1, 8, 2], [5, 0, 7, 2]]
    found = measured_features(mamba1, "slow_measured", prompts)
    for own, ids in zip(found, prompts, strict=True):
        for layer in (0, 1):
            assert own[layer] == slowest(mamba1, ids, layer, range(len(ids)))
    for one in (0, -1):  # no single token would do
        alone = [[slowest(mamba1, ids, layer, [one]) for layer in (0, 1)] for ids in prompts]
        assert alone != [[*own.values()] for own in found]
    fast = measured_features(mamba1, "not fast_measured", prompts)
    assert all(len(own[layer]) == 6 for own in fast for layer in own)
    assert all(set(slow[0]) <= set(kept[0]) for slow, kept in zip(found, fast, strict=True))


def test_measured_heads_depend_on_the_step_where_all_rates_are_alike(mamba2):
    for layer in (0, 1):
        set_rates(mamba2, layer, [1.0] * 7)
    assert fixed_features(mamba2, "slow")[0] == [0, 1]  # ties go to the lower numbers
    (found,) = measured_features(mamba2, "fast_measured", [[1, 2, 3, 4]])
    dt = mamba2.run([[1, 2, 3, 4]], record=["dt"])["dt", 1][0]
    lives = (math.log(2) / dt).mean(0)
    assert found[1] == sorted(lives.argsort()[:2].tolist())


def test_explicit_features_and_all(mamba1):
    assert fixed_features(mamba1, "all") is None
    assert fixed_features(mamba1, "5, 3,5") == [3, 5]
    assert fixed_features(mamba1, "not 5,3") == [0, 1, 2, 4, 6, 7]
    assert width(mamba1) == 8


def test_features_that_cannot_be_are_errors(mamba1, mamba2):
    with pytest.raises(ConfigError, match="feature 8 is out of range: the model has features 0"):
        check_features(mamba1, "3,8")
    with pytest.raises(ConfigError, match="unknown features 'not'"):
        check_features(mamba1, "not")
    with pytest.raises(ConfigError, match="are none"):
        check_features(mamba2, "not 0,1,2,3,4,5,6")
    with pytest.raises(ModelError, match="no decaying state"):
        check_features(ms.load("atlas-transformer"), "not slow_measured")
