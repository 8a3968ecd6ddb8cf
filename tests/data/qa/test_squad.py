"""SQuAD in both versions and from both places."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mambascope.data.question import Passage, Question, SupportingFact
from tests.data.qa.written import PARAGRAPH, SQUAD, only, read, written


def changed(**fields: Any) -> dict[str, Any]:
    """The file, with its first question changed; a field that is None is left out."""
    content = copy.deepcopy(SQUAD)
    qas = content["data"][0]["paragraphs"][0]["qas"]
    qas[0] = {key: value for key, value in {**qas[0], **fields}.items() if value is not None}
    return content


def asked(context: str, question: str, *answers: str) -> dict[str, Any]:
    """A row of the hub's table."""
    starts = [context.index(answer) for answer in answers]
    marked = {"text": list(answers), "answer_start": starts}
    row = {"id": "h", "title": "T", "context": context, "question": question}
    return {**row, "answers": marked}


def test_a_question_has_its_paragraph_all_answers_once_and_the_sentence_they_stand_in(
    tmp_path: Path,
):
    questions, broken = read("squad", written(tmp_path / "dev.json", SQUAD))
    assert not broken
    assert questions[0] == Question(
        id="squad-a1",
        dataset="squad",
        question="Who first sailed on Tarn?",
        passages=(Passage("Lake Tarn", PARAGRAPH),),
        answers=("Ilva Renk", "Renk"),
        supporting=(SupportingFact(0, "Ilva Renk first sailed on it in 1871."),),
        origin="dev.json: data[0].paragraphs[0].qas[0]",
        category="simple_recall",
        reason="one fact: the answer is in 1 of 3 sentences, 22 tokens",
    )


def test_a_question_for_a_count_is_no_simple_recall(tmp_path: Path):
    questions, _ = read("squad", written(tmp_path / "dev.json", SQUAD))
    assert questions[1].category is None
    assert "'how many' asks for a comparison or a count" in questions[1].reason


def test_unanswerable_questions_are_marked_in_both_schemas(tmp_path: Path):
    official = changed(answers=[], is_impossible=True, plausible_answers=[{"text": "Renk"}])
    hub = asked(PARAGRAPH, "Who drained Tarn?")
    for number, content in enumerate((official, [hub])):
        question = read("squad", written(tmp_path / f"{number}.json", content))[0][0]
        assert (question.answerable, question.answers, question.category) == (False, (), None)
        assert question.reason.startswith("unanswerable")


def test_the_hub_s_rows_are_the_same_questions(tmp_path: Path):
    row = asked(PARAGRAPH, "Who first sailed on Tarn?", "Ilva Renk", "Renk")
    official = read("squad", written(tmp_path / "a.json", SQUAD))[0][0]
    (hub,), _ = read("squad", written(tmp_path / "b.jsonl", [row]))
    for field in ("question", "answers", "supporting", "category", "reason"):
        assert getattr(hub, field) == getattr(official, field)


@pytest.mark.parametrize(
    ("sentences", "category"),
    [(4, "simple_recall"), (5, "long_context"), (7, "long_context"), (8, None), (9, None), (10, "stress"), (30, "stress")],
)  # fmt: skip
def test_longer_paragraphs_are_long_contexts_and_stress_tests(
    sentences: int, category: str | None, tmp_path: Path
):
    context = " ".join(f"Lake {number} lies in land{number} today." for number in range(sentences))
    row = asked(context, "Where is lake 2?", "land2")
    question = only("squad", tmp_path / "a.jsonl", [row])
    assert question.category == category
    assert f"{sentences} sentences" in question.reason


def test_recall_is_simple_from_one_sentence_of_a_short_text_only(tmp_path: Path):
    two = asked(PARAGRAPH, "What is Tarn?", "Tarn is a lake in Osk. It")
    long = asked(f"Tarn is a lake{' very' * 200}. It is in Osk.", "Where is Tarn?", "Osk")
    (spread, wordy), _ = read("squad", written(tmp_path / "a.jsonl", [two, {**long, "id": "i"}]))
    assert (spread.category, wordy.category) == (None, None)
    assert "in 2 of 3 sentences" in spread.reason
    assert "more than the 200 tokens" in wordy.reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(id=None), "data[0].paragraphs[0].qas[0]: field 'id' is missing"),
        (changed(answers=None), "qas[0]: field 'answers' is missing"),
        (changed(question=7), "qas[0]: field 'question' must be a text, not 7"),
        (changed(answers=[], is_impossible=False), "'is_impossible' is false"),
        (changed(answers=[{"text": "Renk"}]), "field 'answer_start' is missing"),
        (changed(answers=[{"text": "Renk", "answer_start": 4}]), "field 'answer_start' is 4"),
        (changed(answers=[{"text": "n", "answer_start": -39}]), "field 'answer_start' is -39"),
        ({"data": [{"title": "T"}]}, "data[0]: field 'paragraphs' is missing"),
        ({"data": [{"title": "T", "paragraphs": [7]}]}, "data[0].paragraphs[0]: field 'qas' is missing"),
        ({"data": {}}, "field 'data' must be a list"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_by_its_place_and_field(content, message: str, tmp_path: Path):
    path = written(tmp_path / "dev.json", content)
    _, broken = read("squad", path)
    assert len(broken) == 1
    assert broken[0].startswith(f"{path}: ")
    assert message in broken[0]
