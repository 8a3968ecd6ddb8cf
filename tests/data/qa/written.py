"""Records in exactly the schemas of the six data sets, with contents of our own, and the reading of a file of them."""

import json
from pathlib import Path
from typing import Any

from mambascope.data.qa.catalogue import QUESTION_SETS
from mambascope.data.qa.reading import questions_of
from mambascope.data.question import Question

PARAGRAPH = "Tarn is a lake in Osk. It is 40 metres deep. Ilva Renk first sailed on it in 1871."
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Lake_Tarn",
            "paragraphs": [
                {
                    "context": PARAGRAPH,
                    "qas": [
                        {
                            "id": "a1",
                            "question": "Who first sailed on Tarn?",
                            "answers": [
                                {"text": "Ilva Renk", "answer_start": 45},
                                {"text": "Renk", "answer_start": 50},
                                {"text": "Ilva Renk", "answer_start": 45},
                            ],
                        },
                        {
                            "id": "a2",
                            "question": "How many metres deep is Tarn?",
                            "answers": [{"text": "40", "answer_start": 29}],
                        },
                    ],
                }
            ],
        }
    ],
}
HOTPOT = {
    "_id": "5a1",
    "question": "In which country is the lake on which Ilva Renk sailed?",
    "answer": "Osk",
    "type": "bridge",
    "level": "medium",
    "supporting_facts": [["Ilva Renk", 1], ["Tarn", 0]],
    "context": [
        ["Tarn", ["Tarn is a lake in Osk.", " It is deep."]],
        ["Borl", ["Borl is a hill."]],
        ["Ilva Renk", ["Ilva Renk was a sailor.", " She sailed on Tarn."]],
    ],
}
TRIVIA = {
    "Data": [
        {
            "Answer": {
                "Aliases": ["Lake Tarn", "The Tarn"],
                "MatchedWikiEntityName": "Tarn",
                "NormalizedAliases": ["lake tarn", "tarn"],
                "NormalizedMatchedWikiEntityName": "tarn",
                "NormalizedValue": "tarn",
                "Type": "WikipediaEntity",
                "Value": "Tarn",
                "HumanAnswers": ["Tarn water"],
            },
            "EntityPages": [{"DocSource": "TagMe", "Filename": "Tarn.txt", "Title": "Tarn"}],
            "Question": "On which lake did Ilva Renk sail?",
            "QuestionId": "tc_1",
            "QuestionSource": "http://www.example.com/",
            "SearchResults": [],
        }
    ],
    "Domain": "Web",
    "VerifiedEval": False,
    "Version": 1.0,
}
MUSIQUE = {
    "id": "2hop__1_2",
    "paragraphs": [
        {"idx": 0, "title": "Borl", "paragraph_text": "Borl is a hill.", "is_supporting": False},
        {"idx": 1, "title": "Renk", "paragraph_text": "Renk sailed Tarn.", "is_supporting": True},
        {"idx": 2, "title": "Tarn", "paragraph_text": "Tarn is in Osk.", "is_supporting": True},
    ],
    "question": "In which country is the lake that Renk sailed?",
    "question_decomposition": [
        {"id": 1, "question": "Renk >> sailed", "answer": "Tarn", "paragraph_support_idx": 1},
        {"id": 2, "question": "#1 >> country", "answer": "Osk", "paragraph_support_idx": 2},
    ],
    "answer": "Osk",
    "answer_aliases": ["the Osk", "Osk"],
    "answerable": True,
}
NO_DATE = {"day": "", "month": "", "year": ""}


def drop_answer(number: str = "", spans: tuple[str, ...] = (), **date: str) -> dict[str, Any]:
    return {"number": number, "date": {**NO_DATE, **date}, "spans": list(spans)}


DROP = {
    "history_7": {
        "passage": "Renk sailed in May 1871 and Vost in 1873.",
        "qa_pairs": [
            {
                "question": "How many years later did Vost sail?",
                "answer": drop_answer("2"),
                "query_id": "q1",
                "validated_answers": [drop_answer("2"), drop_answer(spans=("two years",))],
            },
            {
                "question": "When did Renk sail?",
                "answer": drop_answer(month="May", year="1871"),
                "query_id": "q2",
            },
            {
                "question": "Who sailed?",
                "answer": drop_answer(spans=("Renk", "Vost")),
                "query_id": "q3",
                "validated_answers": [drop_answer()],
            },
        ],
    }
}
# The page "<h1>Tarn</h1><p>Tarn is <b>deep</b>, isn't it.</p><p>It is in Osk.</p>": (token, is it HTML, its first byte)
PAGE = [
    ("<h1>", True, 0), ("Tarn", False, 4), ("</h1>", True, 8), ("<p>", True, 13), ("Tarn", False, 16), ("is", False, 21),
    ("<b>", True, 24), ("deep", False, 27), ("</b>", True, 31), (",", False, 35), ("is", False, 37), ("n't", False, 39),
    ("it", False, 43), (".", False, 45), ("</p>", True, 46), ("<p>", True, 50), ("It", False, 53), ("is", False, 56),
    ("in", False, 59), ("Osk", False, 62), (".", False, 65), ("</p>", True, 66),
]  # fmt: skip


def annotation(
    start: int, end: int, short: tuple[str, ...] = (), yes_no: int = -1
) -> dict[str, Any]:
    spans = {"start_token": [0] * len(short), "end_token": [0] * len(short), "text": list(short)}
    long = {"start_token": start, "end_token": end, "start_byte": 0, "end_byte": 0}
    return {
        "id": "1",
        "long_answer": {**long, "candidate_index": 0},
        "short_answers": spans,
        "yes_no_answer": yes_no,
    }


def natural_question(*annotations: dict[str, Any]) -> dict[str, Any]:
    """A row of the hub's table: a list of objects is an object of lists there."""
    tokens = {
        "token": [token for token, _, _ in PAGE],
        "is_html": [is_html for _, is_html, _ in PAGE],
        "start_byte": [start for _, _, start in PAGE],
        "end_byte": [start + len(token) for token, _, start in PAGE],
    }
    return {
        "id": "797",
        "document": {"title": "Tarn", "url": "u", "html": "<html>", "tokens": tokens},
        "question": {"text": "is tarn deep", "tokens": ["is", "tarn", "deep"]},
        "annotations": {key: [a[key] for a in annotations] for key in annotations[0]},
    }


def written(path: Path, content: Any) -> Path:
    """A file of JSON, or for .jsonl of its lines."""
    lines = path.suffix == ".jsonl"
    path.write_text(
        "".join(json.dumps(line) + "\n" for line in content) if lines else json.dumps(content)
    )
    return path


def only(name: str, path: Path, content: Any) -> Question:
    """The one question of a file with this content, in which nothing is broken."""
    (question,), broken = read(name, written(path, content))
    assert not broken
    return question


def read(name: str, path: Path) -> tuple[list[Question], list[str]]:
    """The questions of a file, and what could not be read."""
    found = list(questions_of(QUESTION_SETS[name], str(path)))
    return [f for f in found if isinstance(f, Question)], [f for f in found if isinstance(f, str)]
