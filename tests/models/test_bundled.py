"""The bundled models are what their cards say: what they know is asked again, on every eighth fact and on passages."""

import json

import pytest
from scipy.stats import binom

import mambascope as ms
from mambascope.data.facts import bundled_facts
from mambascope.data.recall import passage_questions, seen_questions, unseen_questions
from mambascope.models.bundled import BUNDLED, bundled_folder
from mambascope.training.recall import measure_recall

EVERY = 8
UNLIKELY = 1e-6


@pytest.fixture(scope="module", params=BUNDLED)
def bundled(request):
    """A bundled model and its figures."""
    figures = json.loads((bundled_folder(request.param) / "figures.json").read_text())
    return ms.load(request.param), figures


def agrees(hits: int, n: int, share: float) -> bool:
    """Whether so many hits are likely where `share` of all questions are hit."""
    return bool(min(binom.cdf(hits, n, share), binom.sf(hits - 1, n, share)) > UNLIKELY)


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["seen", "unseen"])
def test_it_knows_as_many_facts_as_its_card_says(bundled, asked):
    model, figures = bundled
    questions = {"seen": seen_questions, "unseen": unseen_questions}[asked]()[::EVERY]
    found = measure_recall(model, [(q.prompt, q.answer) for q in questions])
    for name, hits in (("first_token", found.first_token), ("exact", found.exact)):
        assert agrees(int(hits.sum()), len(hits), figures[asked][name][0])


@pytest.mark.slow
@pytest.mark.parametrize("group", ["2", "5-7", "10-12"])
def test_it_reads_passages_as_its_card_says(bundled, group):
    model, figures = bundled
    # The first questions of those that the card was measured on, and so a part of them.
    questions = passage_questions(group, 1, count=100)
    found = measure_recall(model, [(q.prompt, q.answer) for q in questions])
    share = figures[f"passages_{group}_hops_1"]["exact"][0]
    assert agrees(int(found.exact.sum()), len(found.exact), share)


def test_it_knows_the_capital_of_france(bundled):
    model, figures = bundled
    assert model.generate("The capital of France is", max_new_tokens=2) == " Paris."
    assert figures["facts"] == len(bundled_facts())
    assert figures["parameters"] == sum(p.numel() for p in model.parameters())


def test_the_bundled_models_can_be_compared():
    """One tokenizer, ten to twelve layers and the same size within a twentieth."""
    models = {name: ms.load(name) for name in BUNDLED}
    sizes = {sum(p.numel() for p in m.parameters()) for m in models.values()}
    assert min(sizes) > 2e6 and max(sizes) < 3.5e6 and max(sizes) < 1.05 * min(sizes)
    assert all(10 <= m.config.n_layers <= 12 for m in models.values())
    text = "Question: What is the capital of Peru? Answer: Lima."
    assert len({tuple(m.tokenizer(text)["input_ids"]) for m in models.values()}) == 1
    for name in BUNDLED:
        for file in bundled_folder(name).iterdir():
            assert file.stat().st_size < 8_000_000, file
