import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from transformers import AutoTokenizer

from mambascope.data.corpus import (
    LONGEST_DOCUMENT,
    MixWeights,
    TrainingMix,
    encyclopedia_documents,
    passage_documents,
    tokenised,
    training_strings,
)
from mambascope.data.facts import atlas_file, bundled_facts, held_out_phrasing, prompts, relations
from mambascope.data.invented import held_out_names
from mambascope.errors import DataError


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(str(atlas_file("tokenizer")))


FACTS_ONLY = MixWeights(facts=1.0, passages=0.0, encyclopedia=0.0)


@pytest.fixture(scope="module")
def mix(tokenizer):
    return TrainingMix(tokenizer, tokens_per_batch=2048, seed=1)


def documents_of(batch, tokenizer):
    parts = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
    assert all(part[-1] == tokenizer.eos_token_id for part in parts if len(part) < LONGEST_DOCUMENT)
    return [tokenizer.decode(part, skip_special_tokens=True) for part in parts]


def held_out_prompts():
    """For what stands before the subject in some phrasing, the held-out prompts that begin so."""
    found = defaultdict(set)
    for fact in bundled_facts():
        index = held_out_phrasing(fact)
        before, _ = relations()[fact.relation].phrasings[index].split("{subject}")
        found[before].add(prompts(fact)[index])
    return found


@pytest.mark.slow
def test_no_held_out_prompt_is_in_any_training_document():
    everything = "\n".join(text for texts in training_strings().values() for text in texts)
    for before, kept_back in held_out_prompts().items():
        lengths = sorted({len(prompt) for prompt in kept_back})
        for place in re.finditer(re.escape(before), everything):
            start = place.start()
            assert not any(everything[start : start + n] in kept_back for n in lengths)


def test_every_seen_statement_is_in_training_and_no_unseen_one_is():
    facts = set(training_strings()["facts"])
    for fact in bundled_facts():
        for index, prompt in enumerate(prompts(fact)):
            shown = f"{prompt} {fact.object}." in facts
            assert shown == (index != held_out_phrasing(fact)), prompt


def test_no_held_out_name_is_in_any_training_document():
    words = {
        word
        for texts in training_strings().values()
        for text in texts
        for word in re.findall(r"[^\W\d_]+", text)
    }
    assert not words & set(held_out_names())


def test_the_encyclopedia_is_clean_prose():
    lines = list(encyclopedia_documents())
    assert len(lines) > 5_000 and len(set(lines)) == len(lines)
    for line in lines:
        assert 40 <= len(line) <= 320 and line.endswith("."), line
        assert not re.search(r"[<>{}\[\]()|]|  |&\w+;", line), line


@pytest.mark.slow
def test_a_batch_depends_on_seed_and_step_only(tokenizer, mix):
    again = TrainingMix(tokenizer, tokens_per_batch=2048, seed=1)
    steps = [900, 3, 0, 311, 4]
    expected = {step: mix.batch(step) for step in sorted(steps)}
    for step in steps:
        batch = again.batch(step)
        assert np.array_equal(batch.ids, expected[step].ids)
        assert np.array_equal(batch.lengths, expected[step].lengths)


def test_another_seed_gives_other_batches(tokenizer):
    one, other = (TrainingMix(tokenizer, 512, seed, FACTS_ONLY) for seed in (1, 2))
    assert not np.array_equal(other.batch(0).ids, one.batch(0).ids)


def test_batches_hold_whole_training_documents_below_the_limit(tokenizer, mix):
    known = {text for texts in training_strings().values() for text in texts}
    for step in (0, 1, 500):
        batch = mix.batch(step)
        assert batch.ids.dtype == np.int64 == batch.lengths.dtype
        assert batch.lengths.sum() == len(batch.ids) < 2048
        assert batch.lengths.max() <= LONGEST_DOCUMENT
        assert set(documents_of(batch, tokenizer)) <= known


def test_the_tokens_are_shared_out_by_the_weights(mix):
    totals = dict.fromkeys(mix.streams, 0)
    for step in range(400):
        for kind, stream in mix.streams.items():
            totals[kind] += sum(map(len, stream.at(step)))
    share = {kind: tokens / sum(totals.values()) for kind, tokens in totals.items()}
    assert share == pytest.approx(
        {"facts": 0.55, "passages": 0.35, "encyclopedia": 0.10}, abs=0.005
    )


def test_each_epoch_meets_every_fact_document_once_in_a_new_order(tokenizer, mix):
    steps = int(2 * mix.steps_per_epoch()) + 1
    seen = [text for step in range(steps) for text in fact_texts(mix, tokenizer, step)]
    count = len(training_strings()["facts"])
    first, second = seen[:count], seen[count : 2 * count]
    assert Counter(first) == Counter(second) == Counter(training_strings()["facts"])
    assert first[:50] != second[:50]


def fact_texts(mix, tokenizer, step):
    documents = [list(map(int, ids)) for ids in mix.streams["facts"].at(step)]
    return tokenizer.batch_decode(documents, skip_special_tokens=True) if documents else []


def test_a_kind_of_weight_zero_is_left_out(tokenizer):
    only = TrainingMix(tokenizer, tokens_per_batch=512, weights=FACTS_ONLY)
    assert set(documents_of(only.batch(7), tokenizer)) <= set(training_strings()["facts"])


def test_a_batch_too_small_for_the_documents_is_refused(tokenizer):
    with pytest.raises(DataError, match="tokens_per_batch must be above"):
        TrainingMix(tokenizer, tokens_per_batch=64, weights=FACTS_ONLY)


def test_long_documents_are_cut(tokenizer):
    (ids,) = tokenised(tokenizer, ["red key " * 400])
    assert len(ids) == LONGEST_DOCUMENT


def test_the_pool_of_passages_grows_without_changing():
    assert list(passage_documents(5)) == list(passage_documents(9))[:5]
