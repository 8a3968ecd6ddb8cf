"""Facts knocked out together give, each, what a knockout of it alone gives; and one that fails stops no other."""

import numpy as np
import pytest
import xarray as xr

import mambascope as ms
from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import ConfigError
from mambascope.methods.knockout import many
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.knockout.many import knockout_many
from tests.models.shallow import first_layers

FACTS = [
    FactPrompt(fact_id="a", prompt="The capital of France is", subject="France", answer="Paris"),
    FactPrompt(
        fact_id="b", prompt="South Korea has its seat of government in the city of",
        subject="South Korea", relation="capital",
    ),
    FactPrompt(fact_id="c", prompt="Where is the river Danube", subject="Danube", answer="Europe"),
    FactPrompt(fact_id="d", prompt="The capital of South Korea is", subject="South Korea"),
]  # fmt: skip
MODELS = {
    name: first_layers(name) for name in ("atlas-mamba1", "atlas-mamba2", "atlas-transformer")
}
"""Of four layers: that facts do not disturb each other is the same at any depth."""
CASES = {
    "scan": {},
    "both": {"route": "both", "target": "last"},
    "no decay": {"mode": "no_decay", "target": "subject_last"},
    "mean": {"mode": "mean", "route": "conv", "reference": "Rivers run from hills to seas."},
    "slow": {"features": "slow"},
    "measured": {"features": "not slow_measured", "mode": "mean", "reference": "Rivers run."},
    "each": {"source": "each", "window": 1},
}


def alone(model, fact, config):
    """The same by `knockout`, source by source, NaN where the prompt has none."""
    options = config.model_dump()
    sources = options.pop("source")
    about = {"subject": fact.subject, "answer": fact.answer, **options}
    if sources == "each":
        return ms.knockout(model, fact.prompt, source=sources, **about)
    found = {}
    for source in sources:
        try:
            found[source] = ms.knockout(model, fact.prompt, source=source, **about)
        except ms.PromptError:
            found[source] = None
    some = next(each for each in found.values() if each is not None)
    blank = xr.full_like(some, np.nan)
    parts = [blank if each is None else each for each in found.values()]
    joined = xr.concat(parts, "source", combine_attrs="drop", coords="minimal", compat="override")
    return joined.assign_coords(source=[*found]).assign_attrs(some.attrs)


def same(found, wanted):
    for name in ("score", "change", "hit"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-7, rtol=0)
    for name in ("clean_score", "clean_rank", "answer", "target_positions", "route"):
        assert found.attrs[name] == pytest.approx(wanted.attrs[name], abs=1e-10), name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["atlas-mamba1", "atlas-mamba2"])
def test_facts_together_are_as_each_alone(name, case):
    options = {"source": ("subject", "context", "random:subject"), "window": 2, **CASES[case]}
    config = KnockoutConfig(**options)
    together = knockout_many(MODELS[name], FACTS, config)
    for fact, found in zip(FACTS, together, strict=True):
        wanted = alone(MODELS[name], fact, config)
        same(found, wanted)
        assert found.attrs["fact_id"] == fact.fact_id
        assert found.attrs["subject"] == fact.subject
    assert np.nanmax(np.abs(together[-1]["change"])) > 0.01


@pytest.mark.parametrize("mode", ["zero", "mask"])
def test_transformers_too(mode):
    config = KnockoutConfig(source=("subject", "relation_minus_last"), window=2, mode=mode)
    model = MODELS["atlas-transformer"]
    for fact, found in zip(FACTS, knockout_many(model, FACTS, config), strict=True):
        same(found, alone(model, fact, config))


def test_a_source_that_a_prompt_lacks_is_not_a_number_and_is_told_why():
    config = KnockoutConfig(source=("subject", "context"), window=3)
    found = knockout_many(MODELS["atlas-mamba1"], FACTS, config)
    assert np.isnan(found[1]["score"].sel(source="context")).all()
    assert np.isfinite(found[1]["score"].sel(source="subject")).all()
    assert "no token of the prompt is 'context'" in found[1].attrs["missing"]
    assert found[0].attrs["missing"] == ""


def test_a_fact_that_cannot_be_asked_is_a_failure_and_stops_no_other():
    lost = FactPrompt(fact_id="lost", prompt="The capital of France is", subject="Spain")
    config = KnockoutConfig(source="context", window=3)
    found = knockout_many(MODELS["atlas-mamba1"], [FACTS[0], lost, FACTS[1]], config)
    assert isinstance(found[0], xr.Dataset)
    assert isinstance(found[1], FactFailure)
    assert "'Spain' does not occur" in found[1].reason
    assert isinstance(found[2], FactFailure)
    assert found[2].fact_id == "b"
    assert "no token of the prompt is 'context'" in found[2].reason


def test_what_is_wrong_with_every_fact_raises():
    with pytest.raises(ConfigError, match="does not fit into the 4 layers"):
        knockout_many(MODELS["atlas-mamba1"], FACTS, KnockoutConfig(window=5))
    assert knockout_many(MODELS["atlas-mamba1"], [], KnockoutConfig(window=2)) == []


def test_the_split_into_batches_changes_nothing(monkeypatch):
    config = KnockoutConfig(source=("subject", "last"), window=3, features="slow_measured")
    model, batches = MODELS["atlas-mamba1"], []
    whole = knockout_many(model, FACTS, config)
    real = many._batches

    def counted(*given):
        for batch in real(*given):
            batches.append(len(batch))
            yield batch

    monkeypatch.setattr(many, "_batches", counted)
    told = []
    parts = knockout_many(
        model, FACTS, config, memory=800_000, progress=lambda *done: told.append(done)
    )
    assert len(batches) > 1
    assert told[-1] == (4, 4)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one["score"], other["score"], atol=1e-10)
