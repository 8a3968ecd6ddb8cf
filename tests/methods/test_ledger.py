"""A ledger's terms are those of mixers written out token by token in float64, and sum to the total."""

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

import mambascope as ms
from mambascope.errors import ConfigError, ModelError, PromptError
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.models.planted import plant
from mambascope.results import load, save
from mambascope.results.ledger import LEDGER, ROUTES, terms
from mambascope.results.schema import conform
from tests.interventions.test_replay import MODELS, SMALL
from tests.methods.ledgers import ANSWER, EVERYTHING, IDS, brute_force, shapley_by_orders, subsets
from tests.sites.test_cuts import MAMBAS, build

NAMED = {"1,2": [1, 2], "4": [4]}


@pytest.mark.parametrize("target", [-1, 5])
@pytest.mark.parametrize("name", MAMBAS)
def test_every_term_is_that_of_the_mixer_written_out(name, target):
    model = MAMBAS[name]
    found = ms.ledger(
        model, IDS, subject=slice(1, 3), answer=ANSWER, source=list(NAMED), target=target
    )
    for source, positions in NAMED.items():
        worths, whole = brute_force(model, positions, target % len(IDS))
        own = found.sel(source=source)
        assert own["whole"].item() == pytest.approx(whole, abs=1e-9)
        for layer in range(model.config.n_layers):
            worth = {c: worths[layer, c] for c in subsets()}
            assert worth[frozenset()] == pytest.approx(0, abs=1e-9)
            assert own["total"].values[layer] == pytest.approx(worth[EVERYTHING], abs=1e-9)
            for route in ROUTES:
                cell = own.sel(layer=layer, route=route)
                assert cell["single"].item() == pytest.approx(worth[frozenset([route])], abs=1e-9)
                expected = shapley_by_orders(worth, route)
                assert cell["shapley"].item() == pytest.approx(expected, abs=1e-9)


def test_both_forms_sum_to_the_total():
    found = ms.ledger(MAMBAS["mamba1"], IDS, subject=slice(1, 3), answer=ANSWER)
    for form in ("single", "shapley"):
        parts = terms(found, form)
        total = parts.sel(term="total")
        np.testing.assert_allclose(parts.drop_sel(term="total").sum("term"), total, atol=1e-12)
    assert np.abs(found["interaction"]).max() > 1e-6


def test_what_lies_in_no_layer_below_has_no_gate_no_skip_and_no_query():
    torch.manual_seed(2)
    one = build(lambda: MambaForCausalLM(MambaConfig(**{**SMALL, "num_hidden_layers": 1})))
    found = ms.ledger(one, IDS, subject=slice(1, 3), answer=ANSWER, source="subject")
    cell = found.isel(layer=0, source=0)
    for route in ("gate", "skip", "query"):
        assert cell["single"].sel(route=route).item() == 0
        assert cell["shapley"].sel(route=route).item() == pytest.approx(0, abs=1e-12)
    assert cell["total"].item() == pytest.approx(cell["whole"].item(), abs=1e-12)
    assert abs(cell["single"].sel(route="state").item()) > 1e-6


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "route"), [("latch", "state"), ("shift", "conv")])
def test_a_planted_mechanism_goes_by_its_own_route_alone(name, route, seed):
    planted = plant(name, seed)
    found = ms.ledger(planted.model, planted.prompt, subject=planted.subject, answer=planted.answer)
    (edge,) = planted.edges
    own = found.sel(source="subject_last")
    there = own.sel(layer=edge.layer)
    assert there["total"].item() == pytest.approx(own["whole"].item(), rel=0.05)
    assert there["single"].sel(route=route).item() == pytest.approx(there["total"].item(), rel=0.01)
    rest = np.abs(there["shapley"].drop_sel(route=route)).sum().item()
    assert rest < 0.01 * there["total"].item()
    others = np.abs(own["total"].drop_sel(layer=edge.layer)).max().item()
    assert others < 0.1 * there["total"].item()


def test_probabilities_fall_by_what_their_logarithms_say():
    model, asked = MAMBAS["mamba2"], {"subject": slice(1, 3), "answer": ANSWER}
    logs = ms.ledger(model, IDS, **asked)
    plain = ms.ledger(model, IDS, **asked, measure="probability")
    clean = np.exp(logs.attrs["clean_score"])
    assert plain.attrs["clean_score"] == pytest.approx(clean)
    np.testing.assert_allclose(
        plain["total"], clean * (1 - np.exp(-logs["total"])), rtol=1e-9, atol=1e-15
    )


def test_a_result_is_saved_and_read_back_and_says_what_it_is(tmp_path):
    found = ms.ledger(MAMBAS["mamba1"].float(), IDS, subject=slice(1, 3), answer=ANSWER)
    MAMBAS["mamba1"].double()
    conform(found, LEDGER)
    save(found, tmp_path)
    assert load(tmp_path).identical(found)
    assert found.attrs["method"] == "ledger" and found.attrs["answer_id"] == ANSWER
    assert LedgerConfig.model_validate_json(found.attrs["config"]) == LedgerConfig()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": "last"}, ConfigError, "unknown source 'last'; it is one of: before,"),
        ({"source": "random:last"}, ConfigError, "unknown source 'random:last'"),
        ({"source": ["4", "4"]}, ConfigError, "a source is named twice"),
        ({"source": "subject_middle"}, PromptError, "no token before the target, position 6, is"),
        ({"source": "6"}, PromptError, "source '6' is not before the target, which is position 6"),
        ({"source": "9"}, PromptError, "source position 9 is out of range"),
        ({"target": 7}, PromptError, "target position 7 is out of range"),
        ({"target": 0}, PromptError, "no token before the target, position 0, is 'before'"),
        ({"measure": "rank"}, ConfigError, "measure: Input should be"),
        ({"confirm": 0}, ConfigError, "confirm: Input should be greater"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(options, error, message):
    with pytest.raises(error, match=message):
        ms.ledger(MAMBAS["mamba1"], IDS, subject=slice(1, 3), **options)


def test_a_transformer_has_no_routes():
    with pytest.raises(ModelError, match="transformer, whose tokens reach each other by attention"):
        ms.ledger(MODELS["llama"], IDS, subject=slice(1, 3))
