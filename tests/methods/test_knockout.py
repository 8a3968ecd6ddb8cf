"""A knockout is a plain run with the cut made, window by window; what it says of itself holds."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.errors import ConfigError, MambascopeError, PromptError
from mambascope.methods.knockout.features import fixed_features, measured_features
from mambascope.methods.knockout.means import default_reference, site_means
from mambascope.results import load, save
from mambascope.results.schema import KNOCKOUT, conform, with_sources
from tests.models.reference import shake

IDS = [3, 14, 15, 9, 26, 5, 8, 21]
SUBJECT = slice(2, 5)
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "vocab_size": 31}
REFERENCES = {
    "mamba1": lambda: MambaForCausalLM(MambaConfig(**SMALL, state_size=4)),
    "mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(**SMALL, state_size=6, num_heads=4, head_dim=8, n_groups=1)
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=4, n_head=3 + 1, vocab_size=31, n_positions=16)
    ),
}
MAMBAS = ("mamba1", "mamba2")


def build(name):
    """A random model whose mixers matter."""
    torch.manual_seed(0)
    model = ms.load(shake(REFERENCES[name]()), dtype="float64")
    with torch.no_grad():
        for weights, values in model.named_parameters():
            if weights.endswith("_proj.weight") and "mlp" not in weights:
                values.mul_(6)
    return model


MODELS = {name: build(name) for name in REFERENCES}


def probability(model, answer, **cut):
    """The answer's probability in a plain run with one cut, and whether it is on top."""
    logits = model.run([IDS], cuts=[ms.Cut(**cut)], logits="last").logits[0]
    return float(logits.softmax(-1)[answer]), float(logits.argmax() == answer)


def brute(model, answer, windows, **cut):
    """(scores, hits) by a plain run for each window."""
    found = [probability(model, answer, layers=[*layers], **cut) for layers in windows]
    return np.array(found).T


def check(found, wanted):
    np.testing.assert_allclose(found["score"], wanted[0], atol=1e-12, rtol=0)
    np.testing.assert_array_equal(found["hit"], wanted[1])
    clean = found.attrs["clean_score"]
    np.testing.assert_allclose(found["change"], 100 * (wanted[0] - clean) / clean, atol=1e-9)
    assert np.abs(found["change"]).max() > 0.01, "the cut changes nothing, so nothing is tested"


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(
    ("options", "sources", "targets"),
    [
        ({}, [2, 3, 4], [7]),
        ({"source": "context", "target": "subject_last"}, [0, 1], [4]),
        ({"source": [1, -2], "target": [5, 7]}, [1, 6], [5, 7]),
        ({"source": 4, "target": "all"}, [4], [*range(8)]),
    ],
)
def test_each_window_is_a_plain_run_with_the_cut(name, options, sources, targets):
    model = MODELS[name]
    route = "attention" if name == "gpt2" else "scan"
    found = ms.knockout(model, IDS, subject=SUBJECT, window=2, answer=11, **options)
    windows = [range(start, start + 2) for start in range(3)]
    check(found, brute(model, 11, windows, sources=sources, targets=targets, route=route))
    assert found.attrs["route"] == route
    assert found["start"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "route", "mode"),
    [(n, r, m) for n in MAMBAS for r in ("scan", "both") for m in ("zero", "no_decay")]
    + [(n, "conv", "zero") for n in MAMBAS]
    + [("gpt2", "attention", m) for m in ("zero", "mask")],
)
def test_routes_and_modes_are_those_of_the_cut(name, route, mode):
    model = MODELS[name]
    found = ms.knockout(model, IDS, subject=SUBJECT, window=1, answer=7, route=route, mode=mode)
    windows = [[layer] for layer in range(4)]
    cut = {"sources": [2, 3, 4], "targets": -1, "route": route, "mode": mode}
    check(found, brute(model, 7, windows, **cut))


def means(model, site):
    """The mean of a site over a text, by layer."""
    run = model.run([REFERENCE], record=[site], logits="none")
    return {layer: run[site, layer][0].mean(0) for layer in range(4)}


REFERENCE = [4, 4, 9, 30, 2, 17, 11]


@pytest.mark.parametrize("name", MAMBAS)
@pytest.mark.parametrize(
    ("route", "mean_of", "wanted"),
    [
        ("scan", None, {"write_mean": "write"}),
        ("conv", None, {"conv_mean": "conv_in"}),
        ("both", None, {"conv_mean": "conv_in"}),
        ("both", "write", {"conv_mean": "conv_in", "write_mean": "write"}),
    ],
)
def test_a_mean_is_that_of_the_reference_text(name, route, mean_of, wanted, monkeypatch):
    model = MODELS[name]
    monkeypatch.setattr("mambascope.methods.knockout.means.to_ids", lambda text, *_: [REFERENCE])
    found = ms.knockout(
        model, IDS, subject=SUBJECT, window=2, answer=7, route=route, mode="mean", mean_of=mean_of,
        reference="a text",
    )  # fmt: skip
    own = {argument: means(model, site) for argument, site in wanted.items()}
    cut = {"sources": [2, 3, 4], "targets": -1, "route": route, "mode": "mean", **own}
    check(found, brute(model, 7, [range(s, s + 2) for s in range(3)], **cut))


def test_the_mean_does_not_depend_on_how_many_layers_are_recorded_at_a_time(monkeypatch):
    model = ms.load("atlas-mamba1")
    text = default_reference()
    whole = site_means(model, "write", text)
    monkeypatch.setattr("mambascope.methods.knockout.means.RECORDED", 2**24)
    parts = site_means(model, "write", text)
    assert 1500 <= len(text) < 2500
    assert [*whole] == [*parts] == list(range(10))
    for layer, mean in whole.items():
        torch.testing.assert_close(mean, parts[layer])


@pytest.mark.parametrize("name", REFERENCES)
def test_features_are_those_that_are_cut(name):
    model, route = MODELS[name], "attention" if name == "gpt2" else "scan"
    cut = {"sources": [2, 3, 4], "targets": -1, "route": route}
    width = {"mamba1": 32, "mamba2": 4, "gpt2": 4}[name]
    some = [*range(0, width, 2)]
    others = [*range(1, width, 2)]
    for given, chosen in [(some, some), (f"not {','.join(map(str, some))}", others)]:
        found = ms.knockout(model, IDS, subject=SUBJECT, window=1, answer=7, features=given)
        check(found, brute(model, 7, [[layer] for layer in range(4)], **cut, features=chosen))


@pytest.mark.parametrize("name", MAMBAS)
@pytest.mark.parametrize("features", ["slow", "not fast", "slow_measured", "not fast_measured"])
def test_slow_features_are_chosen_layer_by_layer(name, features):
    model = MODELS[name]
    chosen = (
        measured_features(model, features, [IDS])[0]
        if "measured" in features
        else fixed_features(model, features)
    )
    found = ms.knockout(model, IDS, subject=SUBJECT, window=2, answer=7, features=features)
    cut = {"sources": [2, 3, 4], "targets": -1, "features": chosen}
    check(found, brute(model, 7, [range(s, s + 2) for s in range(3)], **cut))


@pytest.mark.parametrize("name", REFERENCES)
def test_centred_windows_are_cut_off_at_the_ends(name):
    model, route = MODELS[name], "attention" if name == "gpt2" else "scan"
    found = ms.knockout(model, IDS, subject=SUBJECT, window=3, align="centred", answer=7)
    windows = [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    check(found, brute(model, 7, windows, sources=[2, 3, 4], targets=-1, route=route))
    assert found["start"].values.tolist() == [0, 1, 2, 3]
    assert found["first_layer"].values.tolist() == [0, 0, 1, 2]
    assert found["last_layer"].values.tolist() == [1, 2, 3, 3]


def test_a_window_as_deep_as_the_model_is_one_window():
    found = ms.knockout(MODELS["mamba1"], IDS, subject=SUBJECT, window=4, answer=7)
    assert found.sizes == {"start": 1}
    wanted = brute(MODELS["mamba1"], 7, [range(4)], sources=[2, 3, 4], targets=-1)
    check(found, wanted)


@pytest.mark.parametrize("name", REFERENCES)
def test_several_sources_and_every_position_are_the_same_one_by_one(name):
    model = MODELS[name]
    about = {"subject": SUBJECT, "window": 2, "answer": 7}
    several = ms.knockout(model, IDS, source=["subject", "first", "random:subject"], **about)
    assert several["source"].values.tolist() == ["subject", "first", "random:subject"]
    for source in several["source"].values.tolist():
        alone = ms.knockout(model, IDS, source=source, **about)
        for value in ("score", "change", "hit"):
            np.testing.assert_allclose(several[value].sel(source=source), alone[value], atol=1e-10)
        assert several["positions"].sel(source=source).item() == alone.attrs["positions"]
    each = ms.knockout(model, IDS, source="each", **about)
    assert each["score"].dims == ("position", "start")
    assert each["role"].values.tolist() == [
        "before", "before", "subject_first", "subject_middle", "subject_last", "after", "after", "last",
    ]  # fmt: skip
    for position in range(8):
        alone = ms.knockout(model, IDS, source=position, **about)
        np.testing.assert_allclose(each["score"].sel(position=position), alone["score"], atol=1e-12)


def test_positions_that_no_target_reads_change_nothing():
    each = ms.knockout(MODELS["mamba1"], IDS, subject=SUBJECT, window=1, source="each", target=4)
    behind = each["score"].isel(position=slice(5, None))
    np.testing.assert_allclose(behind, each.attrs["clean_score"], atol=1e-12)
    assert np.abs(each["change"].isel(position=slice(0, 5))).max() > 0.01


def test_masking_the_only_key_is_left_out_where_every_position_is_masked():
    each = ms.knockout(
        MODELS["gpt2"], IDS, subject=SUBJECT, window=1, source="each", target="all", mode="mask"
    )
    assert np.isnan(each["score"].sel(position=0)).all()
    assert np.isfinite(each["score"].isel(position=slice(1, None))).all()


def test_the_result_says_what_it_is_and_is_read_back_equal(tmp_path):
    found = ms.knockout(MODELS["mamba1"], IDS, subject=SUBJECT, window=2, features=[0, 1], seed=3)
    top = int(MODELS["mamba1"].run([IDS], logits="last").logits.argmax())
    assert (found.attrs["answer_id"], found.attrs["clean_rank"]) == (top, 1)
    assert (found.attrs["source"], found.attrs["positions"]) == ("subject", "2, 3, 4")
    assert (found.attrs["target"], found.attrs["target_positions"]) == ("last", [7])
    assert json.loads(found.attrs["config"])["features"] == "0,1"
    assert (
        found.attrs["weights"]
        == ms.trace(MODELS["mamba1"], IDS, subject=SUBJECT, samples=1).attrs["weights"]
    )
    conform(with_sources(found), KNOCKOUT)
    save(found, tmp_path)
    xr.testing.assert_identical(load(tmp_path), found)
    xr.testing.assert_identical(ms.open_results(tmp_path), found)


def test_an_answer_that_is_not_on_top_has_its_rank():
    logits = MODELS["mamba1"].run([IDS], logits="last").logits[0]
    third = int(logits.argsort(descending=True)[2])
    found = ms.knockout(MODELS["mamba1"], IDS, subject=SUBJECT, window=2, answer=third)
    assert found.attrs["clean_rank"] == 3
    assert found.attrs["clean_score"] == pytest.approx(float(logits.softmax(-1)[third]))


def test_text_subject_and_answer_are_as_in_trace():
    model = ms.load("atlas-mamba1")
    about = {"subject": "France", "answer": "Paris"}
    cut = ms.knockout(model, "The capital of France is", window=3, **about)
    traced = ms.trace(model, "The capital of France is", samples=1, **about)
    for name in ("answer", "answer_id", "top_answer", "prompt", "subject_start", "subject_stop"):
        assert cut.attrs[name] == traced.attrs[name], name
    assert cut.attrs["clean_score"] == pytest.approx(traced.attrs["clean_score"], abs=1e-6)


def test_progress_counts_every_cut():
    told = []
    ms.knockout(
        MODELS["mamba1"], IDS, subject=SUBJECT, window=2, source=["subject", "first"],
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (6, 6)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mamba1", {"window": 5}, ConfigError, "window of 5 layers does not fit into the 4 layers"),
        ("mamba1", {"window": 0}, ConfigError, "window: Input should be greater than"),
        ("mamba1", {"source": "nobody"}, ConfigError, "unknown source 'nobody'"),
        ("mamba1", {"source": "random:nobody"}, ConfigError, "unknown source 'random:nobody'"),
        ("mamba1", {"target": "random:subject"}, ConfigError, "unknown target 'random:subject'"),
        ("mamba1", {"target": "each"}, ConfigError, "unknown target 'each'"),
        ("mamba1", {"source": []}, ConfigError, "source"),
        ("mamba1", {"source": ["first", "first"]}, ConfigError, "a source is named twice"),
        ("mamba1", {"source": ["each", "first"]}, ConfigError, "'each' takes the positions one by"),
        ("mamba1", {"source": 8}, PromptError, "position 8 is out of range: the prompt has"),
        ("mamba1", {"source": "after", "target": "subject"}, PromptError, "no target reads source"),
        ("mamba1", {"source": "last", "route": "conv"}, PromptError, "no target reads source"),
        ("mamba1", {"route": "attention"}, ConfigError, "no route 'attention'; it has: scan, conv"),
        ("gpt2", {"route": "scan"}, ConfigError, "no route 'scan'; it has: attention"),
        ("mamba1", {"route": "gate"}, ConfigError, "route"),
        ("mamba1", {"mode": "mask"}, ConfigError, "route 'scan' has no mode 'mask'"),
        ("mamba1", {"mode": "no_decay", "route": "conv"}, ConfigError, "has no mode 'no_decay'"),
        ("mamba1", {"mode": "mean", "mean_of": "conv_in"}, ConfigError, "no mean of 'conv_in'"),
        ("mamba1", {"mean_of": "write"}, ConfigError, "are for mode 'mean'"),
        (
            "mamba1",
            {"mode": "mean", "reference": "x"},
            PromptError,
            "reference text of mode 'mean'",
        ),
        ("gpt2", {"mode": "mask", "source": "all"}, PromptError, "nothing to attend to"),
        ("mamba1", {"features": "quick"}, ConfigError, "unknown features 'quick'"),
        ("mamba1", {"features": "32"}, ConfigError, "feature 32 is out of range"),
        ("mamba2", {"features": "not 0,1,2,3"}, ConfigError, "are none"),
        ("mamba1", {"features": "not all"}, ConfigError, "unknown features 'not all'"),
        ("gpt2", {"features": "slow"}, MambascopeError, "no decaying state"),
    ],
)
def test_each_mistake_is_one_sentence(name, options, error, message):
    with pytest.raises(error) as raised:
        ms.knockout(MODELS[name], IDS, subject=SUBJECT, **{"window": 2, **options})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
