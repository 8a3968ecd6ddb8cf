"""HotpotQA: official, from the hub, in the fullwiki setting, and without passages."""

from pathlib import Path
from typing import Any

import pytest

from mambascope.data.question import Passage, Question, SupportingFact
from tests.data.qa.written import HOTPOT, only, read, written

SUPPORTING = (SupportingFact(2, "She sailed on Tarn."), SupportingFact(0, "Tarn is a lake in Osk."))


def one(tmp_path: Path, **fields: Any) -> Question:
    return only("hotpotqa", tmp_path / "h.json", [{**HOTPOT, **fields}])


def test_paragraphs_become_passages_and_supporting_facts_their_sentences(tmp_path: Path):
    question = one(tmp_path)
    assert question.passages == (
        Passage("Tarn", "Tarn is a lake in Osk. It is deep."),
        Passage("Borl", "Borl is a hill."),
        Passage("Ilva Renk", "Ilva Renk was a sailor. She sailed on Tarn."),
    )
    assert (question.id, question.answers) == ("hotpotqa-5a1", ("Osk",))
    assert question.supporting == SUPPORTING
    assert (question.question_type, question.category) == ("bridge", "two_hop")
    assert question.reason == "two steps: 2 supporting sentences, type 'bridge'"


def test_the_hub_s_rows_are_the_same_questions(tmp_path: Path):
    row = {
        **{key: value for key, value in HOTPOT.items() if key != "_id"},
        "id": "5a1",
        "supporting_facts": {"title": ["Ilva Renk", "Tarn"], "sent_id": [1, 0]},
        "context": {
            "title": [title for title, _ in HOTPOT["context"]],
            "sentences": [sentences for _, sentences in HOTPOT["context"]],
        },
    }
    question = only("hotpotqa", tmp_path / "h.json", [row])
    assert question == one(tmp_path)


@pytest.mark.parametrize(
    ("facts", "kind", "asked", "category"),
    [
        ([["Tarn", 0], ["Tarn", 1], ["Ilva Renk", 1]], "bridge", "Where is it?", "three_hop"),
        ([["Tarn", 0], ["Tarn", 1], ["Borl", 0]], "comparison", "Where is it?", "two_hop"),
        ([["Tarn", 0], ["Tarn", 1], ["Borl", 0]], None, "Which is older, Tarn or Borl?", "two_hop"),
        ([["Tarn", 0], ["Tarn", 1], ["Borl", 0]], None, "Where is it?", "three_hop"),
        ([["Tarn", 0], ["Tarn", 1], ["Borl", 0]], "bridge", "Which is older?", "three_hop"),
        ([["Tarn", 0], ["Tarn", 0]], "comparison", "Which is older?", None),
    ],
)
def test_supporting_sentences_are_steps_unless_two_things_are_compared(
    facts, kind: str | None, asked: str, category: str | None, tmp_path: Path
):
    question = one(tmp_path, supporting_facts=facts, type=kind, question=asked)
    assert question.category == category


def test_without_passages_or_supporting_facts_there_is_no_category_and_the_reason_names_them(
    tmp_path: Path,
):
    simple = {key: HOTPOT[key] for key in ("question", "answer", "type")}
    question = only("hotpotqa", tmp_path / "simple.json", [simple])
    assert (question.id, question.answerable) == ("hotpotqa-simple-00000", True)
    assert (question.category, question.reason) == (None, "missing: context, supporting_facts")
    blind = one(tmp_path, supporting_facts=None)
    assert (blind.category, blind.reason) == (None, "missing: supporting_facts")


def test_a_found_context_without_a_supporting_passage_makes_a_question_unanswerable(tmp_path: Path):
    question = one(tmp_path, context=HOTPOT["context"][:2])
    assert (question.answerable, question.category) == (False, None)
    assert question.supporting == SUPPORTING[1:]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": None}, "field 'answer' is missing"),
        ({"answer": ["Osk"]}, "field 'answer' must be a text"),
        ({"supporting_facts": [["Tarn", 2]]}, "names sentence 2 of 'Tarn', which has 2"),
        ({"supporting_facts": [["Tarn"]]}, "must hold [title, sent_id], not ['Tarn']"),
        (
            {"context": [["Tarn", ["Deep.", " "]]], "supporting_facts": [["Tarn", 1]]},
            "names sentence 1 of 'Tarn', which is empty",
        ),
        ({"context": [[" ", ["Tarn."]]]}, "must hold [title, sentences], not ' '"),
        ({"type": 7}, "field 'type' must be a text, not 7"),
        ({"type": "\ud83d"}, "a text cannot be written as UTF-8"),
        ({"context": [["Tarn", "Tarn is a lake."]]}, "must hold [title, sentences], not 'Tarn'"),
        ({"context": [["Tarn", []]]}, "field 'context' has no sentences under 'Tarn'"),
        ({"context": 7}, "field 'context' must be a list, not 7"),
    ],
)
def test_what_is_broken_is_named(fields, message: str, tmp_path: Path):
    path = written(tmp_path / "h.json", [HOTPOT, {**HOTPOT, **fields}])
    questions, broken = read("hotpotqa", path)
    assert len(questions) == len(broken) == 1
    assert broken[0].startswith(f"{path}: record 1: ")
    assert message in broken[0]
