"""A ledger's terms are those of mixers written out token by token in float64, and sum to the total."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

import mambascope as ms
from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import ConfigError, ModelError, OutputError, PromptError
from mambascope.interventions.prompt import read_prompt
from mambascope.methods.knockout.roles import sources_of
from mambascope.methods.ledger.config import ROLES, LedgerConfig
from mambascope.methods.ledger.many import ledger_many
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.methods.ledger.question import ask
from mambascope.methods.ledger.screen import log_odds, slope_of
from mambascope.methods.ledger.shapley import shapley_values, single_effects, total
from mambascope.models.planted import plant
from mambascope.results import load, save
from mambascope.results.ledger import LEDGER, MEAN_LEDGER, ROUTES, terms
from mambascope.results.schema import conform
from tests.interventions.test_replay import MODELS, SMALL
from tests.models.reference import shake
from tests.sites.test_cuts import MAMBAS, build

IDS = [3, 1, 4, 1, 5, 9, 2]
ANSWER = 6
NAMED = {"1,2": [1, 2], "4": [4]}
EVERYTHING = frozenset(ROUTES)


def subsets():
    return [frozenset(s) for k in range(len(ROUTES) + 1) for s in combinations(ROUTES, k)]


def mixer_output(model, layer, norm, free, sources, target, coalition):
    """What a mixer gives out at the target: norm (T, D) enters it, free (D,) enters a source-free target's."""
    mixer, config = model.blocks[layer].mixer, model.blocks[layer].mixer.config
    taps, inner, state = mixer.conv_weight.shape[1], config.d_inner, config.d_state
    is_first = config.architecture == "mamba1"

    def projected(x):
        sizes = [inner, inner] if is_first else [inner, config.conv_width, config.n_heads]
        parts = (mixer.in_proj.weight @ x).split(sizes)
        return (parts[0], parts[1], None) if is_first else (parts[1], parts[0], parts[2])

    def convolved(now, own):
        out = mixer.conv_bias + mixer.conv_weight[:, -1] * own
        for back in range(1, min(now, taps - 1) + 1):
            if not ("conv" in coalition and now - back in sources):
                out = out + mixer.conv_weight[:, taps - 1 - back] * projected(norm[now - back])[0]
        return F.silu(out)

    read = h = torch.zeros(model.sites["state"].shape, dtype=torch.float64)
    for now in range(target + 1):
        x, _, step = projected(free if now == target and "query" in coalition else norm[now])
        if is_first:
            u = convolved(now, x)
            low, B, C = (mixer.x_proj.weight @ u).split([config.dt_rank, state, state])
            if config.bcdt_norm_eps is not None:
                low, B, C = (
                    v / (v.square().mean() + config.bcdt_norm_eps).sqrt() for v in (low, B, C)
                )
            dt = F.softplus(mixer.dt_proj.weight @ low + mixer.dt_proj.bias)
            write, decay = (dt * u)[:, None] * B, (dt[:, None] * -mixer.A_log.exp()).exp()
        else:
            groups, heads = config.n_groups, config.n_heads
            u, B, C = convolved(now, x).split([inner, groups * state, groups * state])
            B, C = (v.view(groups, state).repeat_interleave(heads // groups, 0) for v in (B, C))
            dt = F.softplus(step + mixer.dt_bias)
            write = (dt[:, None] * u.view(heads, -1))[:, :, None] * B[:, None]
            decay = (dt * -mixer.A_log.exp()).exp()[:, None, None]
        if "state" in coalition and now in sources:
            write = torch.zeros_like(write)
        h = decay * h + write
        read = h @ C if is_first else (h * C[:, None]).sum(-1)
    u = convolved(target, projected(free if "skip" in coalition else norm[target])[0])[:inner]
    y = read.flatten() + mixer.D.repeat_interleave(inner // len(mixer.D)) * u
    y = y * F.silu(projected(free if "gate" in coalition else norm[target])[1])
    if not is_first:
        y = y.view(config.n_groups, -1)
        y = y * (y.square().mean(1, keepdim=True) + config.norm_eps).rsqrt()
        y = y.flatten() * mixer.norm.weight
    return mixer.out_proj.weight @ y


def score(model, edits=()):
    logits = model.run([IDS], edits=list(edits), logits="last").logits
    return logits.log_softmax(-1)[0, ANSWER].item()


def brute_force(model, sources, target):
    """By coalition the fall in each layer, and the fall with every layer source-free."""
    depth, at = model.config.n_layers, {"site": "mixer_out", "positions": target}
    plain = model.run([IDS], record=["norm"])
    replaced, worths, before = [], {}, score(model)
    for layer in range(depth):
        free = model.run([IDS], edits=replaced, record=["norm"])["norm", layer][0, target]
        norm = plain["norm", layer][0]
        outs = {c: mixer_output(model, layer, norm, free, sources, target, c) for c in subsets()}
        for coalition, out in outs.items():
            edit = ms.Edit(**at, layers=layer, value=out)
            worths[layer, coalition] = before - score(model, [edit])
        replaced.append(ms.Edit(**at, layers=layer, value=outs[EVERYTHING]))
    return worths, before - score(model, replaced)


def shapley_by_orders(worth, route):
    """What a route adds to those that came before it, over all orders in which routes can come."""
    added = []
    for order in permutations(ROUTES):
        before = frozenset(order[: order.index(route)])
        added.append(worth[before | {route}] - worth[before])
    return np.mean(added)


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


def test_a_share_in_a_glove_game_is_worked_out_by_hand():
    # Players 0 and 1 hold a left glove each, player 2 a right one: a pair is worth 1.
    worths = np.array([0, 0, 0, 0, 0, 1, 1, 1], dtype=float)[:, None]
    np.testing.assert_allclose(shapley_values(worths)[:, 0], [1 / 6, 1 / 6, 4 / 6])
    np.testing.assert_array_equal(single_effects(worths)[:, 0], [0, 0, 0])
    assert total(worths).tolist() == [1]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_shapley_values_are_efficient_symmetric_and_nothing_for_a_dummy(players, seed):
    random = np.random.default_rng(seed)
    worths = random.normal(size=(1 << players, 3))
    np.testing.assert_allclose(shapley_values(worths).sum(0), total(worths), atol=1e-12)
    # A dummy joins: it adds nothing to any coalition, and the others keep their values.
    joined = np.concatenate([worths, worths])
    np.testing.assert_allclose(shapley_values(joined)[-1], 0, atol=1e-12)
    np.testing.assert_allclose(shapley_values(joined)[:-1], shapley_values(worths), atol=1e-12)
    # A game in which only the number of players counts gives all the same.
    by_size = random.normal(size=players + 1)
    equal = np.array([by_size[c.bit_count()] for c in range(1 << players)])[:, None]
    shares = np.broadcast_to(total(equal) / players, (players, 1))
    np.testing.assert_allclose(shapley_values(equal), shares, atol=1e-12)


def test_several_facts_together_are_each_by_itself():
    model = plant("latch", 0).model
    prompts = ["f0 f1 s2 f3 end", "s1 f0 end", "f2 f2 f4 s0 f1 f5 end", "f0 s3"]
    facts = [
        FactPrompt(fact_id=f"{i}", prompt=text, subject=subject, relation="r")
        for i, (text, subject) in enumerate(zip(prompts, ["s2", "s1", "f4 s0", "f0"], strict=True))
    ]
    facts.append(FactPrompt(fact_id="none", prompt="f0 end", subject="s1"))
    together = ledger_many(model, facts, LedgerConfig())
    assert together[-1] == FactFailure(
        "none", "the subject 's1' does not occur in the prompt 'f0 end'"
    )
    for fact, found in zip(facts[:-1], together[:-1], strict=True):
        alone = ms.ledger(model, fact.prompt, subject=fact.subject)
        assert found.attrs["fact_id"] == fact.fact_id
        assert found["source"].values.tolist() == alone["source"].values.tolist()
        for name in ("single", "shapley", "screened", "whole"):
            np.testing.assert_allclose(found[name], alone[name], atol=2e-5)
    assert together[2]["source"].values.tolist() == [
        "before",
        "subject_first",
        "subject_last",
        "after",
    ]
    few = ledger_many(model, facts, LedgerConfig(confirm=3, audit=1))
    for one, some in zip(together[:-1], few[:-1], strict=True):
        there = some["confirmed"].values
        assert there.sum() == 4
        np.testing.assert_allclose(
            some["shapley"].values[there], one["shapley"].values[there], atol=2e-5
        )
    small = ledger_many(model, facts, LedgerConfig(), memory=1 << 20)
    for one, other in zip(together[:-1], small[:-1], strict=True):
        np.testing.assert_allclose(one["single"], other["single"], atol=2e-5)


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


def test_probabilities_fall_by_what_their_logarithms_say():
    model, asked = MAMBAS["mamba2"], {"subject": slice(1, 3), "answer": ANSWER}
    logs = ms.ledger(model, IDS, **asked)
    plain = ms.ledger(model, IDS, **asked, measure="probability")
    clean = np.exp(logs.attrs["clean_score"])
    assert plain.attrs["clean_score"] == pytest.approx(clean)
    np.testing.assert_allclose(
        plain["total"], clean * (1 - np.exp(-logs["total"])), rtol=1e-9, atol=1e-15
    )


def test_sources_are_roles_before_the_target():
    model = plant("latch", 1).model
    asked = {"prompt": "f0 s1 f1 s2 f3 f4 end", "subject": "s1 f1 s2"}
    positions = lambda **more: dict(  # noqa: E731
        zip(
            *(
                ms.ledger(model, **asked, **more)[n].values.tolist()
                for n in ("source", "positions")
            ),
            strict=True,
        )
    )
    expected = {
        "before": "0", "subject_first": "1", "subject_middle": "2", "subject_last": "3", "after": "4, 5",
    }  # fmt: skip
    assert positions() == expected and tuple(expected) == ROLES
    assert positions(source=["subject", "all", "2,-3"]) == {
        "subject": "1, 2, 3", "all": "0, 1, 2, 3, 4, 5", "2,-3": "2, 4",
    }  # fmt: skip
    assert positions(target=2) == {"before": "0", "subject_first": "1"}


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


def test_means_are_over_the_facts_that_have_the_source():
    model = plant("latch", 0).model
    prompts = {"f0 s2 f3 end": "s2", "f1 s1 f0 f2 end": "s1", "s0 f1 f5 end": "s0"}
    ledgers = [ms.ledger(model, text, subject=subject) for text, subject in prompts.items()]
    mean = mean_ledger(ledgers, resamples=200, flips=99)
    conform(mean, MEAN_LEDGER)
    assert mean["source"].values.tolist() == ["before", "subject_last", "after"]
    assert mean["n"].sel(source="before").values.max() == 2
    assert mean["n"].sel(source="after").values.min() == 3
    for term, values in (("state", "single"), ("total", "total"), ("interaction", "interaction")):
        for source, having in (("before", ledgers[:2]), ("subject_last", ledgers)):
            own = [each[values].sel(source=source) for each in having]
            own = [
                each.sel(route=term, drop=True) if "route" in each.dims else each for each in own
            ]
            cell = mean["effect"].sel(term=term, source=source)
            np.testing.assert_allclose(cell, np.mean(own, axis=0), atol=1e-12)
    assert (mean["low"] <= mean["effect"] + 1e-9).all() and (
        mean["effect"] <= mean["high"] + 1e-9
    ).all()
    summed = mean["effect"].drop_sel(term="total").sum("term")
    np.testing.assert_allclose(
        summed.sel(source="after"), mean["effect"].sel(source="after", term="total"), atol=1e-9
    )
    shares = mean_ledger(ledgers, form="shapley", resamples=100, flips=9)
    assert shares["term"].values.tolist() == [*ROUTES, "total"]


def test_a_control_reads_as_many_other_positions_which_are_those_of_a_knockout():
    model, text, subject = plant("latch", 1).model, "f0 f1 s2 s3 f3 f4 f2 f5 end", "s2 s3"
    names = ["subject", "random:subject", "random:before", "random:subject_last", "random:3,4"]
    found = ms.ledger(model, text, subject=subject, source=names, seed=3)
    positions = {
        name: [*map(int, places.split(", "))]
        for name, places in zip(names, found["positions"].values.tolist(), strict=True)
    }
    own = {"subject": {2, 3}, "before": {0, 1}, "subject_last": {3}, "3,4": {3, 4}}
    for name, places in own.items():
        drawn = positions[f"random:{name}"]
        assert len(drawn) == len(places) and not places & {*drawn} and max(drawn) < 8
    asked = read_prompt(model, text, subject)
    for name in ("random:subject", "random:subject_last", "random:3,4"):
        assert positions[name] == sources_of(name, asked, [8], 3)
    numbered = [",".join(map(str, positions[name])) for name in names[1:4]]
    again = ms.ledger(model, text, subject=subject, source=list(dict.fromkeys(numbered)))
    for name, same in zip(names[1:4], numbered, strict=True):
        np.testing.assert_allclose(
            found["single"].sel(source=name), again["single"].sel(source=same), atol=2e-5
        )


def test_a_prompt_too_short_for_a_control_lacks_it_and_says_so():
    model, asked = plant("latch", 1).model, {"prompt": "s1 f1 end", "subject": "s1 f1"}
    with pytest.raises(PromptError, match="'random:subject' needs as many other positions before"):
        ms.ledger(model, **asked, source=["subject", "random:subject"])
    fact = FactPrompt(fact_id="a", **asked)
    (found,) = ledger_many(model, [fact], LedgerConfig(source=("subject", "random:subject")))
    assert found["source"].values.tolist() == ["subject"]


def test_means_have_the_difference_from_the_control_over_the_facts_that_have_both():
    model = plant("latch", 0).model
    prompts = {"f0 s2 f3 f1 end": "s2", "f1 s1 f0 f2 end": "s1", "s0 end": "s0"}
    sources = ["random:subject", "subject", "after"]
    facts = [FactPrompt(fact_id=t, prompt=t, subject=s) for t, s in prompts.items()]
    ledgers = ledger_many(model, facts, LedgerConfig(source=tuple(sources)))
    mean = mean_ledger(ledgers, resamples=200, flips=99)
    conform(mean, MEAN_LEDGER)
    own = mean.sel(source="subject")
    assert own["n"].values.min() == 3 and own["above_n"].values.max() == 2
    for term, values in (("total", "total"), ("interaction", "interaction")):
        apart = [
            each[values].sel(source="subject") - each[values].sel(source="random:subject")
            for each in ledgers[:2]
        ]
        np.testing.assert_allclose(
            own["above_effect"].sel(term=term), np.mean(apart, axis=0), atol=1e-12
        )
        assert (own["above_low"] <= own["above_effect"] + 1e-9).all()
    assert np.abs(own["above_effect"] - own["effect"]).max() > 1e-6
    for name in ("after", "random:subject"):
        assert mean["above_effect"].sel(source=name).isnull().all()
        assert (mean["above_n"].sel(source=name) == 0).all()


def test_means_refuse_what_does_not_belong_together():
    model, asked = plant("latch", 0).model, {"prompt": "f0 s2 f3 end", "subject": "s2"}
    one, other = ms.ledger(model, **asked), ms.ledger(model, **asked, measure="probability")
    with pytest.raises(OutputError, match="the ledgers differ in measure"):
        mean_ledger([one, other])
    with pytest.raises(OutputError, match="no ledger was given"):
        mean_ledger([])
    with pytest.raises(OutputError, match="result of 'trace'"):
        mean_ledger([one.assign_attrs(method="trace")])
    with pytest.raises(ConfigError, match="unknown form 'both'"):
        mean_ledger([one], form="both")
