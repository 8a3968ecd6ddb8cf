"""Screening: the slope against differences, the guess where it is exact, and which cells are confirmed by replay."""

import numpy as np
import pytest
import torch
from transformers import Mamba2Config, Mamba2ForCausalLM

import mambascope as ms
from mambascope.errors import OutputError
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.methods.ledger.question import ask
from mambascope.methods.ledger.screen import log_odds, slope_of
from tests.interventions.test_replay import SMALL
from tests.methods.ledgers import ANSWER, IDS
from tests.models.reference import shake
from tests.sites.test_cuts import MAMBAS


def test_the_slope_is_the_gradient_of_the_log_odds_at_the_target():
    model, step = MAMBAS["mamba2"], 1e-6
    question = ask(model, IDS, slice(1, 3), ANSWER, LedgerConfig(target=4))
    found = slope_of(model, [question], [ANSWER])

    def odds(change):
        edit = ms.Edit(site="mixer_out", op="add", layers=1, positions=4, value=change)
        p = model.run([IDS], edits=[edit], logits="last").logits.softmax(-1)[0, ANSWER]
        return (p / (1 - p)).log()

    direction = torch.randn(model.config.d_model, dtype=torch.float64)
    slope = (odds(step * direction) - odds(-step * direction)) / (2 * step)
    assert (found.gradient[1, 0] @ direction).item() == pytest.approx(slope.item(), rel=1e-5)
    assert found.log_odds.item() == pytest.approx(odds(0 * direction).item(), rel=1e-9)


def test_log_odds_stay_finite_where_the_answer_is_certain():
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    expected = [200 - np.log(2), 1 - np.log(1 + np.exp(2))]
    np.testing.assert_allclose(log_odds(logits, [0, 1]), expected, rtol=1e-6)


@pytest.mark.parametrize("measure", ["log_probability", "probability"])
def test_the_screening_is_exact_where_mixers_change_little(measure):
    torch.manual_seed(4)
    reference = shake(
        Mamba2ForCausalLM(Mamba2Config(**SMALL, state_size=6, num_heads=4, head_dim=8, n_groups=1))
    )
    model = ms.load(reference).double()
    for name, weight in model.named_parameters():
        if name.endswith("out_proj.weight"):
            weight.data *= 1e-3
    found = ms.ledger(model, IDS, subject=slice(1, 3), answer=ANSWER, measure=measure)
    np.testing.assert_allclose(found["screened"], found["single"], rtol=0.02, atol=1e-9)
    np.testing.assert_allclose(found["screened_total"], found["total"], rtol=0.02, atol=1e-9)
    assert found["agreement"].values.min() > 0.999
    assert found.attrs["agreement_total"] > 0.999


def test_only_the_largest_cells_and_a_random_few_are_confirmed():
    model = MAMBAS["mamba1"]
    asked = {"subject": slice(1, 3), "answer": ANSWER}
    every = ms.ledger(model, IDS, **asked)
    assert every["confirmed"].values.all()
    some = ms.ledger(model, IDS, **asked, confirm=3, audit=2)
    there = some["confirmed"].values
    assert there.sum() == 5 and there.size > 6
    guess = np.maximum(np.abs(some["screened"]).max("route"), np.abs(some["screened_total"])).values
    assert set(np.argsort(-guess, axis=None)[:3]) <= set(np.flatnonzero(there))
    for name in ("single", "total", "interaction", "shapley"):
        values, truth = some[name].values, every[name].values
        assert np.isnan(values[~there]).all()
        np.testing.assert_allclose(values[there], truth[there], atol=1e-12)
    np.testing.assert_array_equal(some["screened"], every["screened"])
    with pytest.raises(OutputError, match=r"only the largest cells .* confirm at least 12"):
        mean_ledger([some])
