"""The training mix: batches by seed and step alone, in the shares of the curriculum, every document once an epoch."""

from collections import Counter

import numpy as np
import pytest
from transformers import AutoTokenizer

from mambascope.data.corpus import documents_of as documents_of_kind
from mambascope.data.corpus import training_strings
from mambascope.data.document import Document
from mambascope.data.facts import atlas_file
from mambascope.data.mix import (
    FREE_WEIGHT,
    LONGEST_DOCUMENT,
    MixWeights,
    Phase,
    TrainingMix,
    tokenised,
)
from mambascope.errors import DataError

FACTS_ONLY = [Phase(steps=2000, mix=MixWeights(facts=1.0))]
CURRICULUM = [
    Phase(steps=300, mix=MixWeights(copies=0.6, ledgers=0.4)),
    Phase(steps=700, mix=MixWeights(facts=0.55, passages=0.35, encyclopedia=0.10)),
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(str(atlas_file("tokenizer")))


@pytest.fixture(scope="module")
def mix(tokenizer):
    return TrainingMix(tokenizer, 2048, CURRICULUM, seed=1)


def documents_of(batch, tokenizer):
    parts = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
    assert all(part[-1] == tokenizer.eos_token_id for part in parts if len(part) < LONGEST_DOCUMENT)
    return [tokenizer.decode(part, skip_special_tokens=True) for part in parts]


@pytest.mark.slow
def test_a_batch_depends_on_seed_and_step_only(tokenizer, mix):
    again = TrainingMix(tokenizer, 2048, CURRICULUM, seed=1)
    steps = [900, 3, 0, 311, 4]
    expected = {step: mix.batch(step) for step in sorted(steps)}
    for step in steps:
        batch = again.batch(step)
        assert np.array_equal(batch.ids, expected[step].ids)
        assert np.array_equal(batch.lengths, expected[step].lengths)


def test_another_seed_gives_other_batches(tokenizer):
    one, other = (TrainingMix(tokenizer, 512, FACTS_ONLY, seed) for seed in (1, 2))
    assert not np.array_equal(other.batch(0).ids, one.batch(0).ids)


def test_batches_hold_whole_training_documents_of_about_the_size_asked_for(tokenizer, mix):
    known = {text for texts in training_strings().values() for text in texts}
    for step in (0, 1, 299, 300, 500):
        batch = mix.batch(step)
        assert batch.ids.dtype == np.int64 == batch.lengths.dtype
        assert batch.lengths.sum() == len(batch.ids) == len(batch.weights)
        assert abs(len(batch.ids) - 2048) < 3 * LONGEST_DOCUMENT
        assert batch.lengths.max() <= LONGEST_DOCUMENT
        assert set(documents_of(batch, tokenizer)) <= known


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(300), {"copies": 0.6, "ledgers": 0.4}),
        (range(300, 1000), {"facts": 0.55, "passages": 0.35, "encyclopedia": 0.10}),
    ],
)
def test_the_tokens_of_each_phase_are_shared_out_by_its_mix(mix, steps, expected):
    totals = Counter()
    for step in steps:
        for kind, stream in mix.streams.items():
            totals[kind] += sum(map(len, stream.at(step)))
    assert totals.total() == pytest.approx(2048 * len(steps), rel=0.005)
    share = {kind: tokens / totals.total() for kind, tokens in totals.items() if tokens}
    assert share == pytest.approx(expected, abs=0.005)


def test_a_step_past_the_curriculum_and_a_mix_of_nothing_are_refused(tokenizer, mix):
    with pytest.raises(DataError, match=r"steps 0 to 999, not 1000"):
        mix.batch(1000)
    for wrong in (MixWeights(), MixWeights(facts=1.0, copies=-0.5)):
        with pytest.raises(DataError, match="shares of 0 or more"):
            TrainingMix(tokenizer, 2048, [Phase(steps=1, mix=wrong)])


def test_the_loss_weighs_what_is_decided_in_full_and_the_rest_little(tokenizer):
    asked = [("Passage: Bora Hellum has the key. Question: Who? Answer:", " Bora Hellum.")]
    (row,) = tokenised(tokenizer, [Document.of(asked)])
    heavy = [tokenizer.decode(i) for i in row.ids[row.weights == 1]]
    assert heavy == [" Bora", " Hellum", "."]
    assert len(row.ids) == len(row.weights) and row.ids[-1] == tokenizer.eos_token_id
    assert np.unique(row.weights) == pytest.approx([FREE_WEIGHT, 1.0])


def test_a_batch_brings_the_weights_of_its_documents(tokenizer, mix):
    batch = mix.batch(500)
    of_text = {document.text: document for document in documents_of_kind("facts")}
    cuts = np.cumsum(batch.lengths)[:-1]
    found = 0
    for ids, weights in zip(np.split(batch.ids, cuts), np.split(batch.weights, cuts), strict=True):
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if text in of_text:
            ((begin, _),) = of_text[text].decided
            assert tokenizer.decode(ids[weights == 1]) == text[begin:]
            found += 1
    assert found > 10


def test_each_epoch_meets_every_fact_document_once_in_a_new_order(tokenizer, mix):
    stream = mix.streams["facts"]
    steps = int(np.interp(2 * stream.epoch_tokens, stream.marks, stream.steps)) + 1
    seen = [text for step in range(steps) for text in fact_texts(mix, tokenizer, step)]
    count = len(training_strings()["facts"])
    first, second = seen[:count], seen[count : 2 * count]
    assert Counter(first) == Counter(second) == Counter(training_strings()["facts"])
    assert first[:50] != second[:50]


def fact_texts(mix, tokenizer, step):
    documents = [document.ids.tolist() for document in mix.streams["facts"].at(step)]
    return tokenizer.batch_decode(documents, skip_special_tokens=True) if documents else []


def test_a_kind_of_weight_zero_is_left_out(tokenizer):
    only = TrainingMix(tokenizer, 512, FACTS_ONLY)
    assert set(documents_of(only.batch(7), tokenizer)) <= set(training_strings()["facts"])


def test_a_batch_too_small_for_the_documents_is_refused(tokenizer):
    with pytest.raises(DataError, match=r"tokens_per_batch must be at least \d+"):
        TrainingMix(tokenizer, 16, FACTS_ONLY)


def test_long_documents_are_cut(tokenizer):
    (row,) = tokenised(tokenizer, [Document("red key " * 400)])
    assert len(row) == len(row.ids) == len(row.weights) == LONGEST_DOCUMENT
