"""TriviaQA, official and from the hub."""

import copy
from pathlib import Path

import pytest

from tests.data.qa.written import TRIVIA, only, read, written

OFFICIAL = TRIVIA["Data"][0]
HUB = {
    "question": OFFICIAL["Question"],
    "question_id": "tc_1",
    "question_source": "http://www.example.com/",
    "entity_pages": {"doc_source": [], "filename": [], "title": [], "wiki_context": []},
    "search_results": {"description": [], "filename": [], "rank": [], "title": [], "url": []},
    "answer": {
        "aliases": ["Lake Tarn", "The Tarn"],
        "normalized_aliases": ["lake tarn", "tarn"],
        "matched_wiki_entity_name": "",
        "normalized_matched_wiki_entity_name": "",
        "normalized_value": "tarn",
        "type": "WikipediaEntity",
        "value": "Tarn",
    },
}


def test_all_aliases_are_kept_and_every_question_is_a_query(tmp_path: Path):
    question = only("triviaqa", tmp_path / "web-dev.json", TRIVIA)
    assert question.answers == ("Tarn", "Lake Tarn", "The Tarn", "lake tarn", "tarn", "Tarn water")
    assert (question.id, question.passages) == ("triviaqa-tc_1", ())
    assert (question.category, question.question_type) == ("query", "WikipediaEntity")
    assert question.reason == "TriviaQA: asked from memory, 6 accepted answers"
    assert question.origin == "web-dev.json: Data[0]"


def test_the_hub_s_rows_are_the_same_but_for_the_answers_of_people(tmp_path: Path):
    question = only("triviaqa", tmp_path / "rc.jsonl", [HUB])
    assert question.answers == ("Tarn", "Lake Tarn", "The Tarn", "lake tarn", "tarn")
    assert (question.id, question.category) == ("triviaqa-tc_1", "query")


def without(name: str) -> dict:
    content = copy.deepcopy(TRIVIA)
    del content["Data"][0][name]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("Answer"), "Data[0]: field 'Answer' is missing"),
        (without("Question"), "Data[0]: field 'Question' is missing"),
        (without("QuestionId"), "Data[0]: field 'answer' is missing"),
        ({"Data": [7]}, "Data[0]: it must be an object, not 7"),
        (
            [{**HUB, "answer": {"value": "<unk>"}}],
            "field 'answer.value' is '<unk>': it is withheld",
        ),
        ([{**HUB, "answer": {"value": "T", "type": 7}}], "field 'type' must be a text, not 7"),
        ([{**HUB, "answer": {"value": "T", "aliases": "U"}}], "'answer.aliases' must be a list"),
    ],
)
def test_what_is_broken_is_named(content, message: str, tmp_path: Path):
    questions, broken = read("triviaqa", written(tmp_path / "t.json", content))
    assert not questions
    assert message in broken[0]
