"""Which facts a source names: bundled ones, a file, or a folder of files. What a file is shows in its content, not its name."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets.bundled import is_bundled, read_bundled
from mambascope.data.fact_sets.counterfact import is_counterfact, read_counterfact
from mambascope.data.fact_sets.fact_set import FactSet, collect
from mambascope.data.fact_sets.known import is_known, read_known
from mambascope.data.fact_sets.lre import is_lre, read_lre
from mambascope.data.fact_sets.table import csv_rows, is_row, row_reader
from mambascope.data.records import BrokenRecord
from mambascope.errors import DataError

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")
READABLE = (
    "ROME's known facts (subject, attribute, prompt), CounterFact (requested_rewrite), an LRE relation "
    "(prompt_templates, samples), or records with prompt, subject and answer"
)


def read_facts(source: str | Path) -> FactSet:
    """The facts of a source.

    source: "bundled", "bundled:capital,currency", "bundled-unseen"; a file of ROME's known facts, of CounterFact, of an LRE
            relation, or of one's own (CSV, JSON lines); a folder of such files
    Raises DataError that names file, record and field where nothing can be read.
    """
    if is_bundled(str(source)):
        return read_bundled(str(source))
    path = Path(source).expanduser()
    if str(source).strip() and path.is_dir():
        return _folder(str(source), path)
    if not path.is_file():
        raise DataError(
            f"there is no fact set {str(source)!r}; give a file, a folder of files, or bundled[:RELATION,...]"
        )
    return _file(path)


def _folder(source: str, folder: Path) -> FactSet:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no files of facts ({', '.join(SUFFIXES)})")
    parts = [_file(path) for path in paths]
    every = ((fact.fact_id, fact) for part in parts for fact in part.facts)
    whole = collect(source, every, lambda fact: fact)
    broken = (message for part in parts for message in part.broken)
    return FactSet(source, whole.facts, (*broken, *whole.broken))


def _file(path: Path) -> FactSet:
    where, content = str(path), _content(path)
    if not content.strip():
        raise DataError(f"{where} is empty; at least one fact is needed")
    if content.lstrip()[0] not in "[{":
        rows = enumerate(csv_rows(where, content))
        return collect(where, ((n, (i, row)) for i, (n, row) in rows), row_reader(path.stem))
    try:
        whole = json.loads(content)
    except json.JSONDecodeError as error:
        lines = list(_json_lines(content))
        if not any(isinstance(record, dict) for _, record in lines):
            raise DataError(f"{where}: no valid JSON: {error}") from error
        return _records(path, lines)
    if is_lre(whole):
        return read_lre(where, path.stem, whole)
    records = whole if isinstance(whole, list) else [whole]
    return _records(path, [(f"record {i}", record) for i, record in enumerate(records)])


def _records(path: Path, records: list[tuple[str, Any]]) -> FactSet:
    where = str(path)
    if not records:
        raise DataError(f"{where} holds no facts; at least one is needed")
    read = next((found for _, record in records if (found := _reader(path.stem, record))), None)
    if read is None:
        name, record = records[0]
        has = ", ".join(map(str, record)) if isinstance(record, dict) else repr(record)[:80]
        raise DataError(f"{where}: {name} has {has or 'no fields'}; a fact set is of {READABLE}")
    return collect(where, ((n, (i, record)) for i, (n, record) in enumerate(records)), read)


def _reader(stem: str, record: Any) -> Callable[[tuple[int, Any]], FactPrompt] | None:
    """What reads (number, record) of the record's schema."""
    if is_row(record) and not is_known(record) and not is_counterfact(record):
        return _whole_lines(row_reader(stem))
    for belongs, read in ((is_counterfact, read_counterfact), (is_known, read_known)):
        if belongs(record):
            return _whole_lines(lambda numbered, read=read: read(numbered[1]))
    return None


def _whole_lines(
    read: Callable[[tuple[int, Any]], FactPrompt],
) -> Callable[[tuple[int, Any]], FactPrompt]:
    """The same, refusing what was no valid JSON."""

    def checked(numbered: tuple[int, Any]) -> FactPrompt:
        if isinstance(numbered[1], json.JSONDecodeError):
            raise BrokenRecord(f"no valid JSON: {numbered[1]}")
        return read(numbered)

    return checked


def _json_lines(content: str) -> Iterator[tuple[str, Any]]:
    """("line 3", its record) for each line; for one that is no valid JSON, the error."""
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                yield f"line {number}", error


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from error
