"""Facts traced together give, each, what a trace of it alone gives; and one that fails stops no other."""

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
from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.data.tokenizer import load_tokenizer
from mambascope.errors import ConfigError, SiteError
from mambascope.methods.tracing import many
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import subject_statistics
from mambascope.methods.tracing.many import trace_many
from tests.models.reference import shake

TOKENIZER = load_tokenizer()
SIZES = {"vocab_size": len(TOKENIZER)}
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, **SIZES}
REFERENCES = {
    "mamba1": lambda: MambaForCausalLM(MambaConfig(**SMALL, state_size=4)),
    "mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(**SMALL, state_size=6, num_heads=4, head_dim=8, n_groups=1)
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=4, n_head=2, n_positions=24, **SIZES)
    ),
}


def build(name):
    torch.manual_seed(0)
    model = ms.load(shake(REFERENCES[name]()), dtype="float64")
    model.tokenizer = TOKENIZER
    return model


MODELS = {name: build(name) for name in REFERENCES}
FACTS = [
    FactPrompt(fact_id="a", prompt="The capital of France is", subject="France", answer="Paris"),
    FactPrompt(
        fact_id="b", prompt="South Korea has its seat of government in the city of",
        subject="South Korea", relation="capital",
    ),
    FactPrompt(fact_id="c", prompt="Where is the river Danube", subject="Danube", answer="Europe"),
    FactPrompt(fact_id="d", prompt="Italy", subject="Italy", relation="place"),
]  # fmt: skip
SWAPS = {
    "a": ["Italy", "South Korea"],
    "b": ["France"],
    "c": ["Thames", "Amazon", "France"],
    "d": ["Spain", "North Macedonia"],
}
CASES = {
    "noise": {"samples": 3, "noise": 2.0, "seed": 5},
    "noise, windows": {"site": ("mixer_out", "resid_pre"), "window": 2, "align": "left"},
    "noise of a whole set": {"samples": 2},
    "mean": {"corruption": "mean", "site": ("resid_post", "mixer_out")},
    "mean of a text": {"corruption": "mean", "reference": "South Korea"},
    "swap": {"corruption": "swap", "site": ("resid_post", "mixer_out"), "window": 2},
    "severed": {"samples": 2, "sever": ("mixer",)},
    "swap, severed": {"corruption": "swap", "sever": ("mixer",)},
}
BY_SITE = {
    "mamba1": ("state", "conv_carry", "u"),
    "mamba2": ("state", "conv_carry", "scan_out"),
    "gpt2": ("pattern", "mlp_out", "v"),
}


def alone(model, fact, options, statistics):
    """`ms.trace` of one fact, its site in a list."""
    given = dict(options)
    site = given.pop("site", ("resid_post",))
    if given.get("corruption") == "swap":
        given["swap"] = SWAPS[fact.fact_id]
    return ms.trace(
        model, fact.prompt, subject=fact.subject, answer=fact.answer, site=list(site),
        facts=statistics, **given,
    )  # fmt: skip


def check(model, options, statistics=None, **kwargs):
    """Together, each dataset has the numbers, labels and attributes that it has alone."""
    swaps = SWAPS if options.get("corruption") == "swap" else None
    found = trace_many(
        model, FACTS, TracingConfig(**options), statistics=statistics, swaps=swaps, **kwargs
    )
    assert len(found) == len(FACTS)
    for fact, ours in zip(FACTS, found, strict=True):
        assert isinstance(ours, xr.Dataset)
        theirs = alone(model, fact, options, statistics)
        xr.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)
        given = {k: v for k, v in ours.attrs.items() if k not in ("fact_id", "relation", "subject")}
        assert given.keys() == theirs.attrs.keys()
        for name, value in theirs.attrs.items():
            expected = pytest.approx(value, abs=1e-11) if isinstance(value, float) else value
            assert given[name] == expected, name
        assert ours.attrs["fact_id"] == fact.fact_id
        assert ours.attrs["relation"] == (fact.relation or "")
        assert ours.attrs["subject"] == fact.subject
    return found


@pytest.mark.parametrize("direction", ["restore", "corrupt"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_facts_together_give_what_each_gives_alone(name, case, direction):
    model = MODELS[name]
    whole_set = case in ("noise of a whole set", "mean")
    pairs = [(fact.prompt, fact.subject) for fact in FACTS]
    statistics = subject_statistics(model, pairs) if whole_set else None
    found = check(model, {**CASES[case], "direction": direction}, statistics)
    scores = [dataset["score"].values for dataset in found]
    assert len({score.shape for score in scores}) > 1
    assert all(np.nanstd(score) > 1e-7 for score in scores)


@pytest.mark.parametrize("direction", ["restore", "corrupt"])
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_site_is_exchanged_in_the_right_rows(name, direction):
    check(MODELS[name], {"site": BY_SITE[name], "samples": 2, "window": 2, "direction": direction})


@pytest.mark.parametrize("direction", ["restore", "corrupt"])
@pytest.mark.parametrize("sever", ["scan", "conv", "gate"])
def test_every_route_of_a_mamba_can_be_severed_together(sever, direction):
    check(MODELS["mamba1"], {"samples": 2, "sever": (sever,), "direction": direction})


@pytest.mark.parametrize("memory", [1, 200_000, 10_000_000])
def test_a_small_memory_splits_the_batch_and_changes_nothing(memory, monkeypatch):
    sizes, whole = [], many.traced
    monkeypatch.setattr(
        many,
        "traced",
        lambda m, batch, *a, **k: sizes.append(len(batch)) or whole(m, batch, *a, **k),
    )
    check(MODELS["mamba1"], {"site": ("state",), "samples": 1, "window": 1}, memory=memory)
    assert sum(sizes) == len(FACTS)
    assert (len(sizes) > 1) == (memory < 10_000_000)


def test_a_fact_does_not_depend_on_its_company():
    model, config = MODELS["mamba2"], TracingConfig(samples=2)
    backwards = trace_many(model, FACTS[::-1], config)[::-1]
    for one, other in zip(trace_many(model, FACTS, config), backwards, strict=True):
        xr.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_what_is_wrong_with_one_fact_stops_no_other():
    model = MODELS["gpt2"]
    long = FactPrompt(fact_id="long", prompt="France " * 30, subject="France")
    absent = FactPrompt(fact_id="absent", prompt="The capital of France is", subject="Spain")
    empty = FactPrompt(fact_id="empty", prompt=" ", subject="Spain")
    mute = FactPrompt(fact_id="mute", prompt="Italy is", subject="Italy", answer=" ")
    facts = [long, FACTS[0], absent, empty, FACTS[2], mute]
    found = trace_many(model, facts, TracingConfig(samples=2))
    failed = {f.fact_id: f.reason for f in found if isinstance(f, FactFailure)}
    assert list(failed) == ["long", "absent", "empty", "mute"]
    assert "31 tokens" in failed["long"] and "24 positions" in failed["long"]
    assert "does not occur" in failed["absent"]
    assert "empty" in failed["empty"] and "answer is empty" in failed["mute"]
    for number in (1, 4):
        theirs = alone(model, facts[number], {"samples": 2}, None)
        xr.testing.assert_allclose(found[number], theirs, rtol=0, atol=1e-11)
    assert trace_many(model, [absent], TracingConfig())[0].fact_id == "absent"
    assert trace_many(model, [], TracingConfig()) == []


def test_a_swapped_subject_that_does_not_fit_fails_its_fact():
    model, config = MODELS["gpt2"], TracingConfig(corruption="swap", site="pattern")
    swaps = {"a": ["Italy"], "b": ["France"], "c": ["France " * 30]}
    found = trace_many(model, FACTS, config, swaps=swaps)
    assert isinstance(found[0], xr.Dataset)
    assert (
        "as many tokens" in found[1].reason
    )  # keys of "France" would lie over those of "South Korea"
    assert isinstance(found[2], FactFailure)
    assert "no other subject" in found[3].reason
    assert json.loads(found[0].attrs["config"])["swap"] == ["Italy"]
    resid = TracingConfig(corruption="swap")
    assert "positions" in trace_many(model, FACTS, resid, swaps=swaps)[2].reason


@pytest.mark.parametrize(
    ("options", "kwargs", "error", "words"),
    [
        ({"site": "hidden"}, {}, SiteError, "cannot trace site 'hidden'"),
        ({"sever": ("hidden",)}, {}, SiteError, "cannot sever 'hidden'"),
        ({"sever": ("resid_post",)}, {}, ConfigError, "exchanged and severed at once"),
        ({"corruption": "mean"}, {}, ConfigError, "needs a fact set"),
        ({}, {"swaps": SWAPS}, ConfigError, "are for corruption 'swap'"),
    ],
)
def test_what_is_wrong_with_every_fact_raises(options, kwargs, error, words):
    with pytest.raises(error, match=words):
        trace_many(MODELS["mamba1"], FACTS, TracingConfig(**options), **kwargs)


def test_all_prompts_are_run_once_and_no_corrupted_run_is_made_twice(monkeypatch):
    model, runs = MODELS["mamba1"], []
    whole = type(model).run
    monkeypatch.setattr(
        type(model), "run", lambda m, prompt, **k: runs.append(len(prompt)) or whole(m, prompt, **k)
    )
    trace_many(model, FACTS, TracingConfig(samples=2))
    assert runs == [len(FACTS)]
    runs.clear()
    trace_many(model, FACTS, TracingConfig(samples=2, direction="corrupt"))
    assert runs == [len(FACTS), 2 * len(FACTS)]


@pytest.mark.parametrize("memory", [None, 1])
def test_progress_counts_the_cells_of_all_facts(memory):
    model, told = MODELS["mamba1"], []
    config, facts = TracingConfig(samples=1, site=("resid_post", "mixer_out")), FACTS[2:]
    found = trace_many(model, facts, config, memory=memory, progress=lambda *x: told.append(x))
    cells = sum(dataset["score"].size - 2 * 4 * dataset.attrs["subject_start"] for dataset in found)
    assert told[-1] == (cells, cells) and {total for _, total in told} == {cells}
    done = [number for number, _ in told]
    assert done == sorted(done)
    if memory == 1:
        assert len(set(done)) > len(facts)
