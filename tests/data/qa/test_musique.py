"""MuSiQue: steps by decomposition, and pairs of an answerable and an unanswerable question."""

from pathlib import Path
from typing import Any

import pytest

from mambascope.data.question import Passage, SupportingFact
from tests.data.qa.written import MUSIQUE, only, read, written


def one(tmp_path: Path, **fields: Any):
    return only("musique", tmp_path / "m.jsonl", [{**MUSIQUE, **fields}])


def test_a_question_has_its_paragraphs_its_steps_and_all_answers(tmp_path: Path):
    question = one(tmp_path)
    assert question.passages == (
        Passage("Borl", "Borl is a hill."),
        Passage("Renk", "Renk sailed Tarn."),
        Passage("Tarn", "Tarn is in Osk."),
    )
    assert question.supporting == (SupportingFact(1), SupportingFact(2))
    assert (question.id, question.hops) == ("musique-2hop__1_2", 2)
    assert question.answers == ("Osk", "the Osk")
    assert question.category == "two_hop"
    assert question.reason == "two steps: 'question_decomposition' has 2"


@pytest.mark.parametrize(("steps", "category"), [(1, None), (2, "two_hop"), (3, "three_hop"), (4, "three_hop")])  # fmt: skip
def test_the_category_follows_the_decomposition(steps: int, category: str | None, tmp_path: Path):
    question = one(tmp_path, question_decomposition=[{"id": n} for n in range(steps)])
    assert (question.hops, question.category) == (steps, category)


def test_without_a_decomposition_the_supporting_paragraphs_count(tmp_path: Path):
    question = one(tmp_path, question_decomposition=None)
    assert (question.hops, question.category) == (None, "two_hop")
    assert question.reason == "two steps: 2 supporting paragraphs"
    bare = [{key: p[key] for key in ("title", "paragraph_text")} for p in MUSIQUE["paragraphs"]]
    question = one(tmp_path, question_decomposition=None, paragraphs=bare)
    assert question.category is None
    assert question.reason == "missing: question_decomposition, is_supporting"
    assert one(tmp_path, paragraphs=None).reason == "missing: paragraphs"


def test_of_a_pair_under_one_id_the_unanswerable_one_is_marked(tmp_path: Path):
    pair = [MUSIQUE, {**MUSIQUE, "paragraphs": MUSIQUE["paragraphs"][:2], "answerable": False}]
    (first, second), broken = read("musique", written(tmp_path / "full.jsonl", pair))
    assert not broken
    assert first.answerable and first.category == "two_hop"
    assert second.id == "musique-2hop__1_2-unanswerable"
    assert (second.answerable, second.answers, second.category) == (False, (), None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": None}, "field 'answer' is missing"),
        ({"id": None}, "field 'id' is missing"),
        ({"paragraphs": [{"title": "Borl"}]}, "field 'paragraph_text' is missing"),
        ({"paragraphs": "Borl"}, "field 'paragraphs' must be a list"),
        ({"answer_aliases": "Osk"}, "field 'answer_aliases' must be a list"),
        ({"answerable": "yes"}, "field 'answerable' must be true or false, not 'yes'"),
    ],
)
def test_what_is_broken_is_named(fields, message: str, tmp_path: Path):
    path = written(tmp_path / "m.jsonl", [{**MUSIQUE, **fields}])
    questions, broken = read("musique", path)
    assert not questions
    assert broken[0].startswith(f"{path}: line 1: ")
    assert message in broken[0]
