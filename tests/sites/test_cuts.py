"""A cut equals its definition, written out token by token in float64, and obeys the laws of removed edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import FalconMambaConfig, FalconMambaForCausalLM, Mamba2Config, Mamba2ForCausalLM

import mambascope as ms
from mambascope.errors import SiteError
from mambascope.interventions import BaseRun, Variant, answer_log_probability, replay
from tests.interventions.test_replay import MODELS, SMALL, V
from tests.models.reference import shake


def build(make):
    torch.manual_seed(1)
    return ms.load(shake(make())).double()


MAMBAS = {
    "mamba1": MODELS["mamba1"],
    "falcon": build(lambda: FalconMambaForCausalLM(FalconMambaConfig(**SMALL, state_size=4))),
    "mamba2": MODELS["mamba2"],
    "groups": build(
        lambda: Mamba2ForCausalLM(
            Mamba2Config(**SMALL, state_size=6, num_heads=4, head_dim=8, n_groups=2)
        )
    ),
}
LAYER = 1
HOW = [
    ("scan", "zero"),
    ("scan", "no_decay"),
    ("scan", "mean"),
    ("conv", "zero"),
    ("conv", "mean"),
    ("both", "zero"),
    ("both", "no_decay"),
    ("both", "mean"),
    ("both", "mean of conv_in"),
]
QUICK = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])


def means(model, route, mode):
    """What a cut of this kind needs, and the mode's own name."""
    random = torch.Generator().manual_seed(3)

    def draw(site):
        shape = model.sites[site].shape
        return {LAYER: torch.randn(shape, generator=random, dtype=torch.float64)}

    given = {}
    if mode in ("mean", "mean of conv_in") and route != "scan":
        given["conv_mean"] = draw("conv_in")
    if mode == "mean" and route != "conv":
        given["write_mean"] = draw("state")
    return given | {"mode": mode.split()[0]}


def definition(model, conv_in, sources, target, route, mode, conv_mean=None, write_mean=None):
    """What one target reads in its own view: taps, scan inputs and state, one token after the other."""
    mixer = model.blocks[LAYER].mixer
    config, taps = mixer.config, mixer.conv_weight.shape[1]
    whole_write = mode != "mean" or write_mean is not None
    read = h = torch.zeros(model.sites["state"].shape, dtype=torch.float64)
    for now in range(target + 1):
        total = mixer.conv_bias.clone()
        for back in range(min(now, taps - 1) + 1):
            x = conv_in[now - back]
            own = back == 0 and (route != "both" or whole_write)
            if route != "scan" and now - back in sources and not own:
                x = torch.zeros_like(x) if conv_mean is None else conv_mean[LAYER]
            total = total + mixer.conv_weight[:, taps - 1 - back] * x
        inner, state = F.silu(total), config.d_state
        silent = route != "conv" and now in sources
        if config.architecture == "mamba1":
            low, B, C = (mixer.x_proj.weight @ inner).split([config.dt_rank, state, state])
            if config.bcdt_norm_eps is not None:
                low, B, C = (
                    v / (v.square().mean() + config.bcdt_norm_eps).sqrt() for v in (low, B, C)
                )
            dt = F.softplus(mixer.dt_proj.weight @ low + mixer.dt_proj.bias)
            u, D, A = inner, mixer.D, -mixer.A_log.exp()
            write = (dt * u)[:, None] * B
            decay = (dt[:, None] * A).exp()
        else:
            groups, heads = config.n_groups, config.n_heads
            u, B, C = inner.split([config.d_inner, groups * state, groups * state])
            u, D = u.view(heads, -1), mixer.D[:, None]
            B, C = (v.view(groups, 1, state).repeat_interleave(heads // groups, 0) for v in (B, C))
            dt = model.recorded_dt[now]
            write = (dt[:, None] * u)[:, :, None] * B
            decay = (dt * -mixer.A_log.exp()).exp()[:, None, None]
        if silent and whole_write:
            write = torch.zeros_like(write) if write_mean is None else write_mean[LAYER]
            if mode == "no_decay":
                decay = torch.ones_like(decay)
        h = decay * h + write
        read = (h * C).sum(-1) + D * u
    return read


@pytest.mark.parametrize("name", MAMBAS)
@pytest.mark.parametrize(("route", "mode"), HOW)
@QUICK
@given(st.data())
def test_a_cut_equals_recomputing_the_target_token_by_token(name, route, mode, data):
    model, length = MAMBAS[name], data.draw(st.integers(2, 14))
    ids = data.draw(st.lists(st.integers(0, V - 1), min_size=length, max_size=length))
    sources = data.draw(st.lists(st.integers(0, length - 2), min_size=1, unique=True))
    targets = data.draw(st.lists(st.integers(0, length - 2), max_size=2, unique=True))
    given_means = means(model, route, mode)
    cut = ms.Cut(
        sources=sources, targets=[*targets, length - 1], layers=LAYER, route=route, **given_means
    )
    plain = model.run([ids], record=[("conv_in", LAYER), ("dt", LAYER), ("scan_out", LAYER)])
    object.__setattr__(model, "recorded_dt", plain["dt", LAYER][0])
    found = model.run([ids], cuts=[cut], record=[("scan_out", LAYER)])["scan_out", LAYER][0]
    for t in range(length):
        expected = plain["scan_out", LAYER][0, t]
        if t in cut.targets:
            seen = [s for s in sources if s <= t]
            expected = definition(model, plain["conv_in", LAYER][0], seen, t, route, **given_means)
        assert torch.allclose(found[t], expected, atol=1e-9, rtol=1e-7), t


@pytest.mark.parametrize("name", MAMBAS)
def test_both_equals_its_definition_at_distances_up_to_three_convolutions(name):
    model = MAMBAS[name]
    ids = [[int(i) for i in np.random.default_rng(0).integers(0, V, 16)]]
    plain = model.run(ids, record=[("conv_in", LAYER), ("dt", LAYER)])
    object.__setattr__(model, "recorded_dt", plain["dt", LAYER][0])
    for distance in range(1, 13):
        cut = ms.Cut(sources=2, targets=2 + distance, layers=LAYER, route="both")
        found = model.run(ids, cuts=[cut], record=[("scan_out", LAYER)])["scan_out", LAYER]
        expected = definition(model, plain["conv_in", LAYER][0], [2], 2 + distance, "both", "zero")
        assert torch.allclose(found[0, 2 + distance], expected, atol=1e-9)


@pytest.mark.parametrize("name", MAMBAS)
def test_a_cut_of_the_scan_zeroes_entries_of_the_materialised_matrix(name):
    model, ids = MAMBAS[name], [3, 1, 4, 1, 5, 9, 2, 6]
    sources, targets = [0, 2, 5], [3, 5, 7]
    plain = model.run([ids], record=[("u", LAYER), ("skip", LAYER)])
    alpha = ms.effective_attention(model, ids, layers=LAYER, reduce=None)["attention"]
    matrix = torch.from_numpy(alpha.values[0].copy())
    matrix[np.ix_(targets, sources)] = 0
    into = plain["u", LAYER][0]
    expected = torch.einsum("tsu,su...->tu...", matrix, into) + plain["skip", LAYER][0]
    cut = ms.Cut(sources=sources, targets=targets, layers=LAYER)
    found = model.run([ids], cuts=[cut], record=[("scan_out", LAYER)])["scan_out", LAYER][0]
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("name", MAMBAS)
def test_cutting_every_source_leaves_the_skip(name):
    model, ids = MAMBAS[name], [[3, 1, 4, 1, 5], [9, 2, 6]]
    cut = ms.Cut(sources=None, targets=None, layers=LAYER)
    found = model.run(ids, cuts=[cut], record=[("scan_out", LAYER)])
    skip = model.run(ids, record=[("skip", LAYER)])
    torch.testing.assert_close(
        found["scan_out", LAYER], skip["skip", LAYER], equal_nan=True, atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("name", MAMBAS)
@pytest.mark.parametrize("mode", ["zero", "mean"])
@QUICK
@given(st.data())
def test_effects_of_disjoint_sources_on_one_scan_add_up(name, mode, data):
    model, ids = MAMBAS[name], [[3, 1, 4, 1, 5, 9, 2, 6]]
    side = data.draw(st.lists(st.booleans(), min_size=8, max_size=8))
    parts = [[s for s in range(8) if side[s] is which] for which in (True, False)]
    plain = model.run(ids, record=[("scan_out", LAYER)])["scan_out", LAYER]

    def change(sources):
        if not sources:
            return 0.0
        cut = ms.Cut(sources=sources, targets=-1, layers=LAYER, **means(model, "scan", mode))
        return model.run(ids, cuts=[cut], record=[("scan_out", LAYER)])["scan_out", LAYER] - plain

    assert torch.allclose(change(parts[0]) + change(parts[1]), change(list(range(8))), atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_a_cut_without_sources_or_before_them_changes_nothing(name):
    model = MODELS[name]
    route = "scan" if name in MAMBAS else "attention"
    cuts = [
        ms.Cut(sources=[], targets=-1, route=route),
        ms.Cut(sources=[3], targets=[0, 1], route=route),
    ]
    metrics = {"log_p": answer_log_probability(3)}
    found = replay(model, BaseRun([[1, 2, 3, 4, 5]]), [Variant(cuts=(c,)) for c in cuts], metrics)
    assert found.scores["log_p"].tolist() == [[found.base["log_p"][0]]] * 2
    for cut in cuts:
        with pytest.raises(SiteError, match="no target of the cut reads"):
            model.run([[1, 2, 3, 4, 5]], cuts=[cut])


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_only_the_chosen_features_are_cut(name):
    model, ids = MAMBAS[name], [[3, 1, 4, 1, 5]]
    whole = ms.Cut(sources=[1], targets=-1, layers=LAYER, route="both")
    some = replace(whole, features={LAYER: [0, 2]})
    plain, all_cut, some_cut = (
        model.run(ids, cuts=cuts, record=[("scan_out", LAYER)])["scan_out", LAYER][0, -1]
        for cuts in ([], [whole], [some])
    )
    expected = plain.clone()
    expected[[0, 2]] = all_cut[[0, 2]]
    assert torch.equal(some_cut, expected) and not torch.equal(some_cut, all_cut)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_equals_each_prompt_alone(name):
    model, prompts = MODELS[name], [[1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11, 12]]
    route = "both" if name in MAMBAS else "attention"
    sources = [[0, 2], [1], []]
    together = ms.Cut(sources=sources, targets=-1, rows=[0, 1, 2], route=route)
    found = model.run(prompts, cuts=[together], logits="last").logits
    for row, prompt in enumerate(prompts):
        alone = [ms.Cut(sources=sources[row], targets=-1, route=route)] if sources[row] else []
        expected = model.run([prompt], cuts=alone, logits="last").logits
        assert torch.allclose(found[row], expected[0], atol=1e-10)


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
@pytest.mark.parametrize("route", ["scan", "conv", "both"])
def test_the_fused_kernels_agree_with_float64(name, route):
    exact = MODELS[name]
    fused = ms.LanguageModel(exact.config)
    fused.load_state_dict({k: v.float() for k, v in exact.state_dict().items()})
    ids = [[int(i) for i in np.random.default_rng(1).integers(0, V, 40)]]
    cut = ms.Cut(sources=[3, 4, 20], targets=[5, 21, 30, -1], route=route)
    with torch.no_grad():
        ours, truth = (m.run(ids, cuts=[cut]).logits.double() for m in (fused, exact))
    assert torch.allclose(ours, truth, atol=2e-4)


@pytest.mark.parametrize("name", ["llama", "neox"])
@pytest.mark.parametrize("mode", ["zero", "mask"])
@pytest.mark.parametrize("features", [None, [1]])
def test_attention_is_cut_as_an_edit_of_the_pattern_would(name, mode, features):
    model, ids = MODELS[name], [[1, 2, 3, 4, 5, 6]]
    pattern = model.run(ids, record=[("pattern", LAYER)])["pattern", LAYER].clone()
    heads = slice(None) if features is None else features
    pattern[0, [3, 5], heads, 1] = 0
    pattern[0, [3, 5], heads, 2] = 0
    if mode == "mask":
        pattern[0, [3, 5]] /= pattern[0, [3, 5]].sum(-1, keepdim=True)
    edit = ms.Edit(site="pattern", layers=LAYER, value=pattern[0][None])
    cut = ms.Cut(
        sources=[1, 2],
        targets=[3, 5],
        layers=LAYER,
        route="attention",
        mode=mode,
        features=features,
    )
    found, expected = (model.run(ids, **how).logits for how in ({"cuts": [cut]}, {"edits": [edit]}))
    assert torch.allclose(found, expected, atol=1e-10)


def test_masking_all_that_a_token_attends_to_is_refused():
    cut = ms.Cut(sources=[0, 1], targets=[1], route="attention", mode="mask")
    with pytest.raises(SiteError, match="masks everything that the token at position 1"):
        MODELS["llama"].run([[1, 2, 3]], cuts=[cut])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"route": "gate"}, "unknown route 'gate'; a cut has: scan, conv, both, attention"),
        ({"mode": "mask"}, "route 'scan' has no mode 'mask'; it has: zero, no_decay, mean"),
        ({"mode": "mean"}, "needs a write_mean"),
        ({"route": "both", "mode": "mean"}, "needs a conv_mean"),
        ({"write_mean": {}}, "takes no write_mean"),
        ({"route": "attention"}, "this model has no route 'attention'; it has: scan, conv, both"),
        ({"layers": 7}, "layer 7 is out of range"),
        ({"layers": []}, "no layer was given for the cut"),
        ({"sources": [9]}, "position 9 is out of range"),
        ({"rows": [4]}, "row 4 is out of range"),
        ({"features": [99]}, "feature 99 is out of range"),
        ({"features": []}, "no feature is given"),
        ({"features": {0: [1]}, "layers": 1}, "names no features for layer 1"),
        ({"mode": "mean", "write_mean": {0: torch.zeros(2)}, "layers": 1}, "no entry for layer 1"),
        ({"mode": "mean", "write_mean": {1: torch.zeros(2)}, "layers": 1}, "has shape"),
    ],
)
def test_a_wrong_cut_is_refused_with_the_choices(options, says):
    with pytest.raises(SiteError, match=says):
        given = {"sources": [0], "targets": -1} | options
        MODELS["mamba1"].run([[1, 2, 3]], cuts=[ms.Cut(**given)])


def test_what_a_cut_cannot_mean_is_refused():
    model, ids = MODELS["mamba1"], [[1, 2, 3, 4]]
    cut = ms.Cut(sources=[0], targets=-1, layers=1, route="both")
    for site in ("state", "write", "skip", "u", "conv_carry"):
        edit = ms.Edit(site=site, layers=1, positions=[1], op="zero")
        with pytest.raises(SiteError, match=f"edit of site '{site}'"):
            model.run(ids, cuts=[cut], edits=[edit])
    with pytest.raises(SiteError, match="share a target"):
        model.run(ids, cuts=[cut, replace(cut, sources=[1], route="scan")])
    carried = model.run(ids, keep_carry=True)
    with pytest.raises(SiteError, match="in the carry"):
        model.run([[5, 6]], carry=carried.carry, cuts=[ms.Cut(sources=[1], targets=-1)])


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_a_cut_within_a_continued_prompt_equals_the_whole(name):
    model, ids = MODELS[name], [1, 2, 3, 4, 5, 6, 7]
    cut = ms.Cut(sources=[4], targets=[5, 6], route="both")
    whole = model.run([ids], cuts=[cut], logits="last").logits
    first = model.run([ids[:3]], keep_carry=True)
    rest = model.run([ids[3:]], carry=first.carry, cuts=[cut], logits="last").logits
    assert torch.allclose(whole, rest, atol=1e-10)


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_gradients_flow_through_a_cut(name):
    model = MODELS[name]
    cut = ms.Cut(sources=[1], targets=-1, layers=LAYER, route="both")
    value = torch.zeros(16, dtype=torch.float64, requires_grad=True)
    edit = ms.Edit(site="resid_pre", layers=LAYER, positions=[0], op="add", value=value)

    def loss(x):
        at = replace(edit, value=x)
        return model.run([[1, 2, 3, 4, 5]], edits=[at], cuts=[cut], logits="last").logits[0, 3]

    assert torch.autograd.gradcheck(loss, value, atol=1e-6)
