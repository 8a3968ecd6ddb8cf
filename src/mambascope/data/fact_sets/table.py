"""Tables of one's own: CSV, JSON lines or a JSON list with `prompt` and `subject`, and if wanted `answer`, `relation`, `fact_id`.

A prompt may hold "{subject}" or "{}". Without an `answer` the model's own top token counts. Without a `fact_id` a fact is called
after its file and its record's number.
"""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets.fact_set import filled
from mambascope.data.records import BrokenRecord, text
from mambascope.errors import DataError

NEEDED = ("prompt", "subject")
DELIMITERS = ",;\t"


def is_row(record: Any) -> bool:
    """True for a record of this schema, be it complete or not."""
    return isinstance(record, dict) and any(name in record for name in NEEDED)


def row_reader(stem: str) -> Callable[[tuple[int, Any]], FactPrompt]:
    """Reads (number, record) into a fact; `stem` begins the ids of facts that have none of their own."""

    def read(numbered: tuple[int, Any]) -> FactPrompt:
        number, record = numbered
        prompt, subject = text(record, "prompt"), text(record, "subject")
        return FactPrompt(
            fact_id=_optional(record, "fact_id") or f"{stem}-{number:05d}",
            prompt=filled(prompt, subject.strip()),
            subject=subject,
            answer=_optional(record, "answer"),
            relation=_optional(record, "relation"),
        )

    return read


def csv_rows(where: str, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """("line 2", row) for every row; DataError unless the header has the columns that are needed."""
    header = content.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    lines = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter)
    lines.fieldnames = [name.strip().lower() for name in lines.fieldnames or ()]
    for name in NEEDED:
        if name not in lines.fieldnames:
            found = ", ".join(lines.fieldnames) or "nothing"
            raise DataError(
                f"{where}: line 1: there is no column {name!r}; the header has: {found}"
            )
    try:
        for row in lines:
            yield f"line {lines.line_num}", row
    except csv.Error as error:
        raise DataError(f"{where}: line {lines.line_num}: no valid CSV: {error}") from error


def _optional(record: dict[Any, Any], name: str) -> str | None:
    """A field that may be missing; numbers are taken as they are written. An answer that is there must not be empty."""
    if None in record:
        raise BrokenRecord(f"there are {len(record[None])} cells more than columns in the header")
    value = record.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    missing = name not in record if name == "answer" else value is None or value == ""
    return None if missing else text(record, name)
