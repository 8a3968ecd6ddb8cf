"""Ledgers of many facts: together each is as by itself, and means are over the facts that have the source."""

import numpy as np
import pytest

import mambascope as ms
from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import ConfigError, OutputError
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.many import ledger_many
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.models.planted import plant
from mambascope.results.ledger import MEAN_LEDGER, ROUTES
from mambascope.results.schema import conform


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
