"""Questions of a source, each with its category; what is broken comes as the message that names file, record and field."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from mambascope.data.qa.classify import classified
from mambascope.data.qa.question_set import QuestionSet
from mambascope.data.qa.source import Record, records
from mambascope.data.question import Question
from mambascope.data.question_rows import as_row
from mambascope.data.records import BrokenRecord


def questions_of(questions: QuestionSet, source: str) -> Iterator[Question | str]:
    """Every question of a source, or the message that says why there is none, in the order of the source.

    Raises DataError for a source that cannot be read.
    """
    number = 0
    for record in records(source, questions.hub):
        for place, entry in _entries(questions, record):
            otherwise = f"{questions.name}-{_stem(record.file)}-{number:05d}"
            named = _joined(record.name, place)
            try:
                yield _read(questions, entry, otherwise, _joined(record.file, named))
            except BrokenRecord as error:
                yield _joined(record.where, named, str(error))
            number += 1


def _entries(questions: QuestionSet, record: Record) -> Iterator[tuple[str, Any]]:
    if isinstance(record.content, BrokenRecord):
        yield "", record.content
    else:
        yield from questions.entries(record.content)


def _read(questions: QuestionSet, entry: Any, otherwise: str, origin: str) -> Question:
    if isinstance(entry, BrokenRecord):
        raise entry
    if not isinstance(entry, dict):
        raise BrokenRecord(f"it must be an object, not {type(entry).__name__}")
    question = replace(questions.read(entry, otherwise), origin=origin)
    _check_letters(question)
    return classified(question, questions)


def _check_letters(question: Question) -> None:
    """BrokenRecord for half of a surrogate pair, which JSON can write and no file in UTF-8 can hold."""
    try:
        json.dumps(as_row(question), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BrokenRecord(f"a text cannot be written as UTF-8: {error}") from error


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _stem(file: str) -> str:
    """NQ-open.dev of NQ-open.dev.jsonl.gz: what follows the first dot may be all that tells two files apart."""
    return re.sub(r"(\.jsonl?(\.gz)?|\.parquet)$", "", PurePosixPath(file).name)
