"""Files of questions, of published sets as of prompts: lines of JSON, or a Parquet table, a row each (question_rows.py)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mambascope.data.question import Question
from mambascope.data.question_rows import as_row, from_row
from mambascope.data.records import BrokenRecord
from mambascope.errors import DataError

PARQUET = b"PAR1"


def as_lines(questions: Iterable[Question]) -> bytes:
    """One line of JSON for each question, UTF-8."""
    rows = (json.dumps(as_row(question), ensure_ascii=False) for question in questions)
    return "".join(f"{row}\n" for row in rows).encode()


def read_questions(path: Path) -> tuple[list[Question], list[str]]:
    """The questions of a file, and a message for each record that could not be read, naming file, record and field.

    Raises DataError for a file that cannot be read, or in which no record can.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the questions in {path}: {error.strerror}") from error
    found: list[Question] = []
    broken: list[str] = []
    records = _table(path) if content.startswith(PARQUET) else _lines(content)
    for name, record in records:
        try:
            row = json.loads(record) if isinstance(record, bytes) else record
            if not isinstance(row, dict):
                raise BrokenRecord("it is no object with question and answers")
            number = name.rpartition(" ")[2]
            otherwise = {
                "id": f"{path.stem}/{number}",
                "dataset": path.stem,
                "origin": f"{path}, {name}",
            }
            found.append(from_row(row, **otherwise))
        except (BrokenRecord, ValueError) as error:
            broken.append(f"{path}: {name}: {error}")
    if not found:
        raise DataError(
            broken[0] if broken else f"{path} holds no questions; at least one is needed"
        )
    return found, broken


def _lines(content: bytes) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield f"line {number}", line


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read the questions in {path}: {error}") from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
