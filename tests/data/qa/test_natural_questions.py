"""Natural Questions: the open version, and the hub's table with long answers."""

from pathlib import Path

import pytest

from mambascope.data.question import Passage, SupportingFact
from tests.data.qa.written import annotation, natural_question, only, read, written

FIRST, SECOND = (3, 15), (15, 22)  # the two paragraphs of the page
NONE = annotation(-1, -1)


def test_an_open_question_says_that_it_has_no_long_answer(tmp_path: Path):
    lines = [{"question": "where is tarn", "answer": ["Osk", "in Osk", "Osk"]}]
    question = only("nq", tmp_path / "NQ-open.dev.jsonl", lines)
    assert (question.answers, question.passages) == (("Osk", "in Osk"), ())
    assert (question.category, question.reason) == (None, "missing: long_answer")
    assert (question.id, question.origin) == ("nq-NQ-open.dev-00000", "NQ-open.dev.jsonl: line 1")


def test_the_passage_is_the_long_answer_that_most_annotators_chose_without_its_html(tmp_path: Path):
    row = natural_question(
        annotation(*FIRST, ("deep",)), annotation(*SECOND, ("in Osk", "Osk")), annotation(*SECOND), NONE
    )  # fmt: skip
    question = only("nq", tmp_path / "nq.jsonl", [row])
    assert question.passages == (Passage("Tarn", "It is in Osk."),)
    assert question.supporting == (SupportingFact(0),)
    assert question.answers == ("deep", "in Osk", "Osk")
    assert (question.id, question.question) == ("nq-797", "is tarn deep")


def test_of_long_answers_chosen_equally_often_the_first_annotator_s_counts(tmp_path: Path):
    row = natural_question(NONE, annotation(*FIRST, ("deep",)), annotation(*SECOND, ("Osk",)))
    question = only("nq", tmp_path / "nq.jsonl", [row])
    assert question.passages[0].text == "Tarn is deep, isn't it."


def test_a_page_of_which_no_annotator_chose_a_part_lacks_the_long_answer_and_not_the_page(
    tmp_path: Path,
):
    row = natural_question(annotation(-1, -1, ("deep",)))
    question = only("nq", tmp_path / "nq.jsonl", [row])
    assert (question.category, question.reason) == (None, "missing: long_answer")
    assert question.answers == ("deep",)


def test_yes_and_no_are_answers(tmp_path: Path):
    row = natural_question(annotation(*FIRST, yes_no=1), annotation(*FIRST, yes_no=0))
    assert read("nq", written(tmp_path / "nq.jsonl", [row]))[0][0].answers == ("yes", "no")


def test_without_an_answer_a_question_is_unanswerable_and_with_a_long_one_alone_it_has_no_category(
    tmp_path: Path,
):
    rows = [natural_question(NONE, NONE), {**natural_question(annotation(*FIRST)), "id": "798"}]
    (neither, long), _ = read("nq", written(tmp_path / "nq.jsonl", rows))
    assert (neither.answerable, neither.passages, neither.category) == (False, (), None)
    assert (long.answerable, long.category, long.reason) == (True, None, "missing: a short answer")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "q", "answer": "Osk"}, "field 'answer' must be a list, not 'Osk'"),
        ({"question": "q", "answer": []}, "field 'answer' is empty"),
        ({"question": "q", "answer": [7]}, "field 'answer' must hold texts, not 7"),
        ({"answer": ["Osk"]}, "field 'question' is missing; there are: answer"),
        (natural_question(annotation(3, 4, ("x",))), "no text in the long answer 3:4"),
        ({**natural_question(NONE), "annotations": None}, "field 'annotations' is missing"),
        (natural_question(annotation(*FIRST, (7,))), "'annotations.short_answers.text' must hold"),
        (natural_question(annotation(*FIRST, yes_no=[])), "'annotations.yes_no_answer' must be a"),
        (
            {**natural_question(NONE), "annotations": {"id": [1], "long_answer": []}},
            "field 'annotations' must hold lists of one length",
        ),
    ],
)
def test_what_is_broken_is_named(record, message: str, tmp_path: Path):
    questions, broken = read("nq", written(tmp_path / "nq.jsonl", [record]))
    assert not questions
    assert broken[0].startswith(f"{tmp_path / 'nq.jsonl'}: line 1: ")
    assert message in broken[0]
