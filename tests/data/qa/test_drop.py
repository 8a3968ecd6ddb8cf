"""DROP: numbers, dates and spans, by several annotators."""

import copy
from pathlib import Path

import pytest

from mambascope.data.question import Passage
from tests.data.qa.written import DROP, drop_answer, only, read, written

PASSAGE = DROP["history_7"]["passage"]


def test_answers_are_numbers_dates_and_spans_of_all_annotators(tmp_path: Path):
    questions, broken = read("drop", written(tmp_path / "drop.json", DROP))
    assert not broken
    assert [(q.id, q.answers, q.question_type) for q in questions] == [
        ("drop-q1", ("2", "two years"), "number"),
        ("drop-q2", ("May 1871",), "date"),
        ("drop-q3", ("Renk, Vost",), "spans"),
    ]
    assert {q.category for q in questions} == {"reasoning_memory"}
    assert questions[0].passages == (Passage("", PASSAGE),)
    assert questions[1].origin == "drop.json: passage 'history_7'.qa_pairs[1]"


def test_the_hub_s_rows_accept_each_span(tmp_path: Path):
    row = {
        "section_id": "history_7",
        "query_id": "q3",
        "passage": PASSAGE,
        "question": "Who sailed?",
        "answers_spans": {"spans": ["Renk", "Vost", "Renk"], "types": ["span", "span", "span"]},
    }
    question = only("drop", tmp_path / "drop.jsonl", [row])
    assert (question.answers, question.question_type) == (("Renk", "Vost"), "span")
    assert (question.id, question.category) == ("drop-q3", "reasoning_memory")
    _, broken = read("drop", written(tmp_path / "b.jsonl", [{**row, "answers_spans": []}]))
    assert "field 'answers_spans' is empty" in broken[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": drop_answer()}, "field 'answer' has neither a number nor spans nor a date"),
        ({"answer": None}, "field 'answer' is missing"),
        ({"answer": "2"}, "field 'answer' must be an object, not str"),
        ({"answer": {"spans": "Renk"}}, "field 'spans' must be a list, not 'Renk'"),
        ({"answer": {"number": True}}, "field 'number' must be a number, not True"),
        ({"answer": {"number": " "}}, "field 'answer' has neither a number nor"),
        ({"answer": {"date": "May"}}, "field 'date' must be an object, not 'May'"),
        ({"answer": {"date": {"day": [1]}}}, "field 'date' must hold day, month and year"),
        ({"query_id": None}, "field 'query_id' is missing"),
    ],
)
def test_what_is_broken_is_named_and_the_rest_is_read(fields, message: str, tmp_path: Path):
    content = copy.deepcopy(DROP)
    content["history_7"]["qa_pairs"][1] |= fields
    content["history_8"] = {"passage": "Nothing is asked of it."}
    path = written(tmp_path / "drop.json", content)
    questions, broken = read("drop", path)
    assert [q.id for q in questions] == ["drop-q1", "drop-q3"]
    assert broken[0].startswith(f"{path}: passage 'history_7'.qa_pairs[1]: ")
    assert message in broken[0]
    assert broken[1].startswith(f"{path}: passage 'history_8': field 'qa_pairs' is missing")
