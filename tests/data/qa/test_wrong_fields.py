"""Whatever stands in a field, and whichever field is gone: a record is read, or it is named as broken."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mambascope.data.qa.build import Source, build
from mambascope.data.qa.config import BuildConfig
from mambascope.data.qa.table import as_table
from mambascope.data.question_files import read_questions
from mambascope.errors import DataError
from tests.data.qa.written import (
    DROP,
    HOTPOT,
    MUSIQUE,
    PARAGRAPH,
    SQUAD,
    TRIVIA,
    annotation,
    natural_question,
)

GONE = object()
ODD = (None, -1, 1.5, True, "x", " ", "\ud83d", [], [7], ["x"], [[]], {}, {"a": [1]}, GONE)
DOCUMENTS = {
    "squad": SQUAD,
    "squad row": [
        {
            "id": "a1",
            "title": "Lake_Tarn",
            "context": PARAGRAPH,
            "question": "Who first sailed on Tarn?",
            "answers": {"text": ["Ilva Renk"], "answer_start": [45]},
        }
    ],
    "nq": [{"question": "is tarn deep", "answer": ["deep"]}],
    "nq row": [natural_question(annotation(3, 15, ("deep",)))],
    "hotpotqa": [HOTPOT],
    "hotpotqa simplified": [{"question": "Where is Tarn?", "answer": "Osk", "type": "bridge"}],
    "triviaqa": TRIVIA,
    "musique": [MUSIQUE],
    "drop": DROP,
    "drop row": [
        {
            "query_id": "q3",
            "passage": "Renk sailed.",
            "question": "Who sailed?",
            "answers_spans": {"spans": ["Renk"], "types": ["span"]},
        }
    ],
}


def places(value: Any, above: tuple = ()) -> Iterator[tuple]:
    """The path of every field and item, at any depth."""
    inside = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)  # fmt: skip
    for key in inside:
        yield (*above, key)
        yield from places(value[key], (*above, key))


def changed(document: Any, place: tuple, value: Any) -> Any:
    document = holder = copy.deepcopy(document)
    for key in place[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return document


@pytest.mark.slow
@pytest.mark.parametrize("schema", DOCUMENTS)
def test_any_field_may_be_anything_or_gone(schema: str, tmp_path: Path):
    document, path, table = DOCUMENTS[schema], tmp_path / "set.json", tmp_path / "q.parquet"
    source, config = Source(schema.split()[0], str(path)), BuildConfig()
    read = broken = 0
    for place in places(document):
        for value in ODD:
            path.write_text(json.dumps(changed(document, place, value)))
            try:
                built = build([source], config)
            except DataError as error:
                assert str(error).startswith(str(path))
                broken += 1
                continue
            table.write_bytes(as_table(built, config))
            assert read_questions(table) == (list(built.questions), [])
            read += 1
    assert read and broken
