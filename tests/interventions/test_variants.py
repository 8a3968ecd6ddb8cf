"""Running many variants together equals running each of them alone."""

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

import mambascope as ms
from mambascope.errors import ModelError
from mambascope.interventions import BaseRun, Variant, answer_probability, run_variants, variants
from tests.models.reference import shake

IDS = [3, 1, 4, 1, 5, 9]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=16, num_hidden_layers=3, vocab_size=31, state_size=4)
    return ms.load(shake(MambaForCausalLM(config)))


@pytest.fixture(scope="module")
def base():
    noise = torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(1))
    return BaseRun(IDS, 3, (ms.Edit(site="embed", op="add", positions=[1, 2], value=noise),))


def some_variants(count):
    random = torch.Generator().manual_seed(2)
    return [
        Variant(
            (
                ms.Edit(site="state", layers=n % 3, positions=n % 6, op="scale", value=0.5),
                ms.Edit(
                    site="resid_pre", layers=1, positions=2, value=torch.randn(16, generator=random)
                ),
            )[: 1 + n % 2]
        )
        for n in range(count)
    ]


def alone(model, base, variant, metric):
    run = model.run([base.ids], edits=[*base.edits, *variant.edits], logits="last")
    return metric(run.logits).numpy()


def test_together_equals_alone(model, base, monkeypatch):
    monkeypatch.setattr(variants, "TOKENS_AT_ONCE", 3 * len(IDS) * 4)
    metric, many, told = answer_probability(7), some_variants(10), []
    scores = run_variants(model, base, many, metric, lambda *progress: told.append(progress))
    for variant, score in zip(many, scores, strict=True):
        assert np.allclose(score, alone(model, base, variant, metric), atol=1e-6)
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_out_of_cuda_memory_halves_the_batch_with_a_notice(model, base, monkeypatch):
    batches, whole = [], variants._run_batch

    def small_card(model, base, batch, metric):
        batches.append(len(batch))
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(model, base, batch, metric)

    monkeypatch.setattr(variants, "_run_batch", small_card)
    metric, many = answer_probability(7), some_variants(9)
    with pytest.warns(UserWarning, match="out of CUDA memory: going on with 2 variants at once"):
        scores = run_variants(model, base, many, metric)
    assert batches[-5:] == [2, 2, 2, 2, 1]
    assert np.allclose(scores[8], alone(model, base, many[8], metric), atol=1e-6)


def test_a_card_too_small_for_one_variant_is_a_clear_error(model, base, monkeypatch):
    def no_card(*_):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(variants, "_run_batch", no_card)
    with pytest.warns(UserWarning), pytest.raises(ModelError, match="one variant of 3 rows"):
        run_variants(model, base, some_variants(3), answer_probability(7))
