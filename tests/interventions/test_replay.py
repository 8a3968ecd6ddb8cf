"""A replay equals full forward passes with the same edits, whatever is edited, wherever, and however it is split up."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.errors import ModelError, SiteError
from mambascope.interventions import (
    BaseRun,
    Variant,
    answer_log_probability,
    answer_probability,
    kl_from,
    replay,
)
from mambascope.interventions.replay import _Wave
from tests.models.reference import shake

V, WIDTH, N_LAYERS = 31, 16, 3
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": N_LAYERS, "vocab_size": V}
REFERENCES = {
    "mamba1": lambda: MambaForCausalLM(MambaConfig(**SMALL, state_size=4)),
    "mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(**SMALL, state_size=6, num_heads=4, head_dim=8, n_groups=1)
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2)
    ),
    "neox": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(**SMALL, intermediate_size=24, num_attention_heads=2)
    ),
}


def build(name):
    torch.manual_seed(0)
    model = ms.load(shake(REFERENCES[name]()), dtype="float32")
    return model.double()


MODELS = {name: build(name) for name in REFERENCES}


@st.composite
def worlds(draw):
    """A model, a base run of several prompts, and variants with edits of any site."""
    model = MODELS[draw(st.sampled_from(sorted(MODELS)))]
    prompts = draw(
        st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=7), min_size=1, max_size=4)
    )
    sites = sorted(model.sites)
    base = [draw(edits(model, prompts, sites)) for _ in range(draw(st.integers(0, 2)))]
    variants = [
        Variant(tuple(draw(edits(model, prompts, sites)) for _ in range(draw(st.integers(0, 3)))))
        for _ in range(draw(st.integers(1, 6)))
    ]
    return model, BaseRun(prompts, tuple(base)), variants


@st.composite
def cut_worlds(draw):
    """A model, a base run, and variants with cuts, some of them with edits of the residual or of other inputs too."""
    model = MODELS[draw(st.sampled_from(sorted(MODELS)))]
    prompts = draw(
        st.lists(st.lists(st.integers(0, V - 1), min_size=2, max_size=9), min_size=1, max_size=4)
    )
    sites = ["resid_pre", "resid_post", "norm", "mixer_out"]
    sites += ["gate", "conv_in", "scan_out"] if "gate" in model.sites else ["q", "v", "pattern"]
    base = [
        draw(edits(model, prompts, ["embed", *sites[:4]])) for _ in range(draw(st.integers(0, 1)))
    ]
    shared = draw(cuts(model, prompts))
    variants = []
    for _ in range(draw(st.integers(1, 6))):
        own = draw(st.sampled_from([shared, draw(cuts(model, prompts))]))
        layers = draw(st.lists(st.integers(0, N_LAYERS - 1), min_size=1, unique=True))
        more = tuple(
            draw(edits(model, prompts, sites[:-1])) for _ in range(draw(st.integers(0, 1)))
        )
        variants.append(Variant(more, (dataclasses.replace(own, layers=layers),)))
    return model, BaseRun(prompts, tuple(base)), variants


@st.composite
def cuts(draw, model, prompts):
    """A cut that some target feels; sources and targets of their own in each row."""
    rows = draw(st.lists(st.sampled_from(range(len(prompts))), min_size=1, unique=True))
    ends = [len(prompts[r]) - 1 for r in rows]
    sources = [
        draw(st.lists(st.integers(0, e - 1), min_size=1, max_size=3, unique=True)) for e in ends
    ]
    targets = [[e, *draw(st.lists(st.integers(0, e - 1), max_size=2, unique=True))] for e in ends]
    mamba = "gate" in model.sites
    route = draw(st.sampled_from(["scan", "conv", "both"])) if mamba else "attention"
    mode = draw(st.sampled_from(["zero", "mean"] if mamba else ["zero"]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    means = {}
    for name, site, wanted in (
        ("write_mean", "state", route == "scan" or (route == "both" and draw(st.booleans()))),
        ("conv_mean", "conv_in", route != "scan"),
    ):
        if mode == "mean" and wanted:
            shape = model.sites[site].shape
            means[name] = {
                layer: torch.randn(shape, generator=random, dtype=torch.float64)
                for layer in range(N_LAYERS)
            }
    return ms.Cut(
        sources=sources,
        targets=targets,
        rows=rows,
        route=route,
        mode=mode,
        features=draw(st.sampled_from([None, [0, 1]])),
        **means,
    )


@st.composite
def edits(draw, model, prompts, sites):
    site = model.sites[draw(st.sampled_from(sites))]
    rows = draw(st.lists(st.sampled_from(range(len(prompts))), min_size=1, unique=True))
    positions = [
        draw(st.lists(st.integers(0, len(prompts[r]) - 1), min_size=1, max_size=2, unique=True))
        for r in rows
    ]
    count = min(map(len, positions))
    positions = [p[:count] for p in positions]
    layers = st.lists(st.integers(0, N_LAYERS - 1), min_size=1, max_size=2, unique=True)
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    op = draw(st.sampled_from(["replace", "add", "scale", "zero", "apply"]))
    units = slice(0, 2) if draw(st.booleans()) else None
    keys = max(map(len, prompts))
    shape = [len(rows), count, *(keys if size is None else size for size in site.shape)]
    if units is not None:
        shape[2] = min(2, shape[2])
    value = {
        "zero": None,
        "apply": torch.tanh,
        "scale": 0.5,
    }.get(op, torch.randn(shape, generator=random, dtype=torch.float64))
    return ms.Edit(
        site=site.name,
        op=op,
        layers=draw(layers) if site.layered else None,
        positions=positions,
        rows=rows,
        value=value,
        units=units,
    )


def alone(model, base, variant, record=()):
    """A full forward pass."""
    run_edits = [*base.edits, *variant.edits]
    return model.run(base.prompts, edits=run_edits, cuts=variant.cuts, logits="last", record=record)


METRICS = {"log_p": answer_log_probability(3), "p": answer_probability(5)}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.sampled_from([None, 1, 20_000]))
def test_a_replay_equals_full_forward_passes(world, memory):
    model, base, variants = world
    found = replay(model, base, variants, METRICS, memory=memory)
    rows = torch.arange(len(base.prompts))
    plain = alone(model, base, Variant(())).logits
    for name, metric in METRICS.items():
        assert found.base[name] == pytest.approx(metric(plain, rows).numpy(), abs=1e-9)
        for number, variant in enumerate(variants):
            expected = metric(alone(model, base, variant).logits, rows).numpy()
            assert found.scores[name][number] == pytest.approx(expected, abs=1e-9, rel=1e-9)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(cut_worlds(), st.sampled_from([None, 1, 20_000]))
def test_a_replay_of_cuts_equals_full_forward_passes(world, memory):
    model, base, variants = world
    found = replay(model, base, variants, METRICS, memory=memory)
    rows = torch.arange(len(base.prompts))
    for number, variant in enumerate(variants):
        logits = alone(model, base, variant).logits
        for name, metric in METRICS.items():
            expected = metric(logits, rows).numpy()
            assert found.scores[name][number] == pytest.approx(expected, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("name", ["llama", "neox"])
def test_a_written_out_pattern_reaches_rows_that_are_shorter_than_the_longest(name, memory):
    model, prompts = MODELS[name], [[1, 2, 3, 4, 5, 6], [7, 8, 9], [3]]
    value = torch.rand(1, 1, model.sites["pattern"].shape[0], 6, dtype=torch.float64)
    one_key = {"units": (slice(0, 2), 4), "value": 0.5}  # which the shorter rows do not have
    variants = [
        Variant((ms.Edit(site="pattern", layers=1, rows=[row], positions=-1, **options),))
        for row in range(3)
        for options in ({"value": value}, {"op": "add", "value": value}, one_key)
    ]
    found = replay(model, BaseRun(prompts), variants, METRICS, memory=memory)
    rows = torch.arange(3)
    for number, variant in enumerate(variants):
        expected = METRICS["p"](alone(model, BaseRun(prompts), variant).logits, rows).numpy()
        assert found.scores["p"][number] == pytest.approx(expected, abs=1e-9, rel=1e-9)
    changed = found.scores["p"] != found.base["p"]
    assert changed.any(axis=0)[:2].all()


def test_a_pattern_with_another_number_of_keys_is_refused():
    model = MODELS["llama"]
    edit = ms.Edit(site="pattern", layers=0, value=torch.rand(1, 1, 4, 2))
    with pytest.raises(SiteError, match=r"\(rows, positions, H, keys\) = \(2, 3, 4, 3\)"):
        model.run([[1, 2, 3], [4, 5]], edits=[edit])


def test_a_cut_of_the_last_token_recomputes_one_token_per_layer(monkeypatch):
    model, seen = MODELS["mamba1"], []
    for number, block in enumerate(model.blocks):
        whole = block.forward
        monkeypatch.setattr(
            block, "forward", lambda r, *a, n=number, f=whole: seen.append((n, len(r))) or f(r, *a)
        )
    cut = ms.Cut(sources=[1], targets=-1, layers=1, route="both")
    replay(model, BaseRun([[1] * 6] * 2), [Variant(cuts=(cut,))], METRICS)
    assert seen == [(0, 12), (1, 12), (1, 2), (2, 12), (2, 2)]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.sampled_from([None, 1]), st.data())
def test_recorded_sites_equal_those_of_full_forward_passes(world, memory, data):
    model, base, variants = world
    layered = sorted(name for name, site in model.sites.items() if site.layered)
    site = data.draw(st.sampled_from(layered))
    record = [(site, data.draw(st.integers(0, N_LAYERS - 1)))]
    found = replay(model, base, variants, METRICS, record=record, memory=memory)
    for number, variant in enumerate(variants):
        expected = alone(model, base, variant, record)[record[0]]
        ours = found.recorded[record[0]][number]
        assert torch.allclose(ours, expected, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("begins", ["embed", "resid_post"])
def test_every_site_of_every_layer_is_recorded_as_it_was_when_the_block_saw_it(name, begins):
    model, base = MODELS[name], BaseRun([[1, 2, 3, 4], [5, 6]])
    layer = None if begins == "embed" else 0
    variant = Variant((ms.Edit(site=begins, layers=layer, positions=[1], op="scale", value=-2.0),))
    record = [site for site, of in model.sites.items() if of.layered]
    found = replay(model, base, [variant], METRICS, record=record)
    expected = alone(model, base, variant, record)
    for key, ours in found.recorded.items():
        assert torch.allclose(ours[0], expected[key], atol=1e-9, equal_nan=True), key
    assert len(found.recorded) == N_LAYERS * len(record)


@pytest.mark.parametrize("name", MODELS)
def test_each_row_has_its_own_answer_and_its_own_clean_run(name):
    model, prompts = MODELS[name], [[1, 2, 3, 4], [5, 6], [7, 8, 9]]
    clean = model.run(prompts, logits="last").logits
    noise = ms.Edit(site="embed", op="scale", positions=[0], value=-2.0)
    metrics = {"p": answer_probability([1, 2, 3]), "kl": kl_from(clean)}
    found = replay(model, BaseRun(prompts), [Variant((noise,)), Variant(())], metrics)
    noisy = model.run(prompts, edits=[noise], logits="last").logits.log_softmax(-1)
    p = [noisy[row, answer].exp().item() for row, answer in enumerate((1, 2, 3))]
    kl = torch.nn.functional.kl_div(noisy, clean.log_softmax(-1), log_target=True, reduction="none")
    assert found.scores["p"][0] == pytest.approx(p)
    assert found.scores["kl"][0] == pytest.approx(kl.sum(-1).numpy())
    assert found.base["kl"] == pytest.approx(0, abs=1e-9)
    assert found.scores["kl"][1] == pytest.approx(0, abs=1e-9)


def test_only_what_a_variant_can_change_is_computed(monkeypatch):
    model, seen = MODELS["mamba1"], []
    for number, block in enumerate(model.blocks):
        whole = block.forward
        monkeypatch.setattr(
            block, "forward", lambda r, *a, n=number, f=whole: seen.append((n, len(r))) or f(r, *a)
        )
    edit = ms.Edit(site="resid_post", layers=1, positions=4, op="zero")
    replay(model, BaseRun([[1] * 6] * 2), [Variant((edit,))], METRICS)
    # The base run's 12 tokens in each layer; of the variant two rows of two tokens, in the layer after the edit.
    assert seen == [(0, 12), (1, 12), (2, 12), (2, 4)]


def test_progress_reaches_all_variants_in_any_number_of_waves():
    model, told = MODELS["llama"], []
    edit = ms.Edit(site="resid_pre", layers=0, positions=0, op="zero")
    many = [Variant((edit,))] * 5
    replay(model, BaseRun([[1, 2]]), many, METRICS, memory=1, progress=lambda *x: told.append(x))
    assert told == [(n, 5) for n in range(1, 6)]
    assert replay(model, BaseRun([[1, 2]]), [], METRICS).scores["p"].shape == (0, 1)


def test_out_of_cuda_memory_halves_the_budget_with_a_notice(monkeypatch):
    model, sizes = MODELS["mamba1"], []
    whole = _Wave.run

    def small_card(self, *args):
        sizes.append(len(self.chosen))
        if len(self.chosen) > 2:
            raise torch.cuda.OutOfMemoryError
        return whole(self, *args)

    monkeypatch.setattr(_Wave, "run", small_card)
    edit = ms.Edit(site="resid_pre", layers=0, positions=0, op="zero")
    many, base = [Variant((edit,))] * 9, BaseRun([[1, 2, 3]])
    with pytest.warns(UserWarning, match="out of CUDA memory"):
        found = replay(model, base, many, METRICS, memory=60_000)
    assert max(sizes) > 2 and sizes[-1] <= 2
    expected = alone(model, base, many[0]).logits.softmax(-1)[0, 5].item()
    assert found.scores["p"] == pytest.approx(np.full((9, 1), expected))


def test_a_card_too_small_for_one_variant_is_a_clear_error(monkeypatch):
    def no_card(*_):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(_Wave, "run", no_card)
    edit = ms.Edit(site="resid_pre", layers=0, positions=0, op="zero")
    with pytest.raises(ModelError, match="one variant alone"):
        replay(MODELS["mamba1"], BaseRun([[1]]), [Variant((edit,))], METRICS)


def test_edits_and_records_that_do_not_fit_are_refused():
    model, base = MODELS["mamba2"], BaseRun([[1, 2, 3]])
    for edit in (
        ms.Edit(site="nowhere", op="zero"),
        ms.Edit(site="state", layers=9, op="zero"),
        ms.Edit(site="state", layers=0, positions=3, op="zero"),
    ):
        with pytest.raises(SiteError):
            replay(model, base, [Variant((edit,))], METRICS)
    with pytest.raises(SiteError, match="exists once"):
        replay(model, base, [], METRICS, record=["embed"])
