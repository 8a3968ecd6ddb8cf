"""Decay rates and half-lives, against numbers worked out by hand and against the state itself."""

import math

import pytest
import torch

import mambascope as ms
from mambascope.models.config import Mamba1Config, Mamba2Config, TransformerConfig
from mambascope.models.decay import decay_rates, half_lives
from mambascope.models.language_model import LanguageModel
from tests.models.reference import shake

SIZES = {"n_layers": 2, "d_model": 8, "vocab_size": 19}
MAMBA1 = Mamba1Config(**SIZES, d_inner=12, d_state=3, dt_rank=2)
MAMBA2 = Mamba2Config(**SIZES, d_inner=12, n_heads=3, head_dim=4, d_state=5)
TRANSFORMER = TransformerConfig(
    **SIZES, n_heads=2, n_kv_heads=2, head_dim=4, d_mlp=16, max_positions=32
)
IDS = [3, 1, 4, 1, 5]


def built(config, dtype=torch.float32):
    torch.manual_seed(0)
    model = LanguageModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return shake(model).to(dtype).requires_grad_(False)


def test_rates_are_minus_the_exponential_of_A_log_and_at_least_float32():
    model = built(MAMBA1)
    with torch.no_grad():
        model.blocks[1].mixer.A_log.copy_(torch.log(torch.arange(1.0, 37.0)).view(12, 3))
    torch.testing.assert_close(decay_rates(model, 1), -torch.arange(1.0, 37.0).view(12, 3))
    assert torch.equal(decay_rates(model, -1), decay_rates(model, 1))
    assert decay_rates(model.to(torch.bfloat16), 0).dtype == torch.float32
    assert decay_rates(model.to(torch.float64), 0).dtype == torch.float64


def test_a_half_life_is_the_number_of_tokens_after_which_half_is_left():
    rates, dt = torch.tensor([[-1.0, -2.0], [-0.5, -4.0]]), torch.tensor([[0.1, 1.0]])
    found = half_lives(rates, dt)[0]
    by_hand = torch.tensor([[6.931472, 3.465736], [1.386294, 0.173287]])
    torch.testing.assert_close(found, by_hand)
    torch.testing.assert_close(torch.exp(dt[0][:, None] * rates * found), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("config", [MAMBA1, MAMBA2], ids=["mamba1", "mamba2"])
def test_the_state_of_a_token_that_writes_nothing_shrinks_as_its_half_life_says(config):
    model = built(config, torch.float64)
    silent = ms.Edit(site="write", layers=1, positions=[3], op="zero")
    run = model.run([IDS], edits=[silent], record=[("state", 1), ("dt", 1)], logits="none")
    lives = half_lives(decay_rates(model, 1), run["dt", 1][0])[3]
    before, after = run["state", 1][0, 2], run["state", 1][0, 3]
    lives = lives.reshape(*lives.shape, *[1] * (before.ndim - lives.ndim))
    torch.testing.assert_close(after, before * 0.5 ** (1 / lives))


def test_a_head_of_mamba2_has_one_half_life_per_token():
    model = built(MAMBA2)
    dt = model.run([IDS], record=[("dt", 0)], logits="none")["dt", 0][0]
    found = half_lives(decay_rates(model, 0), dt)
    assert found.shape == (5, 3)
    by_hand = math.log(2) / (dt[2, 1] * torch.exp(model.blocks[0].mixer.A_log[1]))
    torch.testing.assert_close(found[2, 1], by_hand)


def test_a_state_that_a_token_leaves_alone_lives_forever():
    assert half_lives(torch.tensor([-1.0]), torch.tensor([[0.0]])).isinf().all()


def test_a_transformer_has_no_decay():
    with pytest.raises(ms.ModelError, match="is a transformer, whose layers have no decaying"):
        decay_rates(built(TRANSFORMER), 0)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ms.SiteError, match="layer 2 is out of range: the model has layers 0 to 1"):
        decay_rates(built(MAMBA1), 2)
