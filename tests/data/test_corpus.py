"""Documents of the training: what is in them, and that nothing that is held out is."""

import itertools
import re
from collections import defaultdict

import pytest

from mambascope.data.corpus import documents_of as documents_of_kind
from mambascope.data.corpus import encyclopedia_documents, passage_documents, training_strings
from mambascope.data.facts import bundled_facts, held_out_phrasing, prompts, relations
from mambascope.data.invented import held_out_names


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
    held_out = set(held_out_names())
    for texts in training_strings().values():
        for text in texts:
            words = re.findall(r"[^\W\d_]+", text)
            assert not held_out & {f"{a} {b}" for a, b in itertools.pairwise(words)}, text


def test_the_encyclopedia_is_clean_prose():
    lines = [document.text for document in encyclopedia_documents()]
    assert len(lines) > 5_000 and len(set(lines)) == len(lines)
    for line in lines:
        assert 40 <= len(line) <= 320 and line.endswith("."), line
        assert not re.search(r"[<>{}\[\]()|]|  |&\w+;", line), line


def test_every_fact_decides_its_object_and_no_sentence_decides_anything():
    for document in documents_of_kind("facts"):
        ((begin, end),) = document.decided
        assert end == len(document.text) and document.text[begin] == " "
    assert not any(document.decided for document in documents_of_kind("encyclopedia"))


def test_the_pool_of_passages_grows_without_changing():
    assert list(passage_documents(5)) == list(passage_documents(9))[:5]
