"""The records of a source: a file as its authors publish it (JSON, lines of it, Parquet, gzip or not), a folder of them, the hub.

A record that is no valid JSON is handed on as the BrokenRecord that says so; a source that cannot be read is a DataError.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mambascope.data.qa.hub import hub_records, is_hub
from mambascope.data.qa.question_set import HubTable
from mambascope.data.records import BrokenRecord
from mambascope.errors import DataError

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet")
ROWS = 8  # of a Parquet file at a time: a page of Natural Questions is some megabytes once its tokens are lists


@dataclass(frozen=True)
class Record:
    """One record.

    where: what it was read from, as it is named in messages
    file:  the same without the folders in which the source lies, so that it says the same everywhere
    name:  which record it is there, such as "line 3"; empty for the only one
    """

    where: str
    file: str
    name: str
    content: Any


def records(source: str, hub: HubTable) -> Iterator[Record]:
    """All records of a source, one after the other.

    source: a file, a folder, "hub" (which is then the given table) or "hub:REPOSITORY[:CONFIG[:SPLIT]]"
    """
    if is_hub(source):
        for where, file, name, row in hub_records(source, hub):
            yield Record(where, file, name, row)
        return
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"there is no question set {source!r}; give a file, a folder or hub")
    for file in _files(path):
        inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for name, content in _of_file(file):
            yield Record(str(file), inside, name, content)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES))
    if not found:
        raise DataError(f"{path} holds no files of questions ({', '.join(SUFFIXES)})")
    return found


def _of_file(file: Path) -> Iterator[tuple[str, Any]]:
    if file.name.endswith(".parquet"):
        return _rows(file)
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _lines(file)
    return _whole(file)


def _whole(file: Path) -> Iterator[tuple[str, Any]]:
    """The records of one JSON document: of a list its items. A file of lines under another name is read as that."""
    try:
        document = json.loads(b"".join(_binary_lines(file)).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if not any(isinstance(record, dict) for _, record in _lines(file)):
            raise DataError(f"{file} is no valid JSON: {error}") from error
        yield from _lines(file)
        return
    if isinstance(document, list):
        yield from ((f"record {number}", record) for number, record in enumerate(document))
    else:
        yield "", document


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_binary_lines(file), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return BrokenRecord(f"no valid JSON: {error}")


def _binary_lines(file: Path) -> Iterator[bytes]:
    try:
        with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(ROWS):
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file}: {error}") from error
