"""Files, folders and the hub, in every form in which a set may lie there, and everything that can be wrong with them."""

import gzip
import json
import sys
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mambascope.data.qa.question_set import HubTable
from mambascope.data.qa.source import records
from mambascope.data.records import BrokenRecord
from mambascope.errors import DataError

ROWS = [{"a": 1, "b": [{"c": "x"}]}, {"a": 2, "b": []}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
HUB = HubTable("nobody/nothing", None, "validation")


def contents(source: object, hub: HubTable = HUB) -> list:
    return [record.content for record in records(str(source), hub)]


def names(source: object, hub: HubTable = HUB) -> list[tuple[str, str]]:
    return [(record.file, record.name) for record in records(str(source), hub)]


def test_every_form_of_a_file_gives_the_same_records(tmp_path: Path):
    (tmp_path / "list.json").write_text("\ufeff" + json.dumps(ROWS))
    (tmp_path / "lines.jsonl").write_text(LINES + "\n")
    (tmp_path / "lines.json").write_text(LINES)
    (tmp_path / "list.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode()))
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    for file in tmp_path.iterdir():
        assert contents(file) == ROWS, file.name
    assert names(tmp_path / "list.json") == [("list.json", "record 0"), ("list.json", "record 1")]
    assert names(tmp_path / "lines.jsonl")[1] == ("lines.jsonl", "line 2")
    assert names(tmp_path / "rows.parquet")[1] == ("rows.parquet", "row 1")


def test_a_single_object_is_one_record_without_a_name(tmp_path: Path):
    (tmp_path / "one.json").write_text(json.dumps(ROWS[0]))
    assert contents(tmp_path / "one.json") == ROWS[:1]
    assert names(tmp_path / "one.json") == [("one.json", "")]


def test_a_folder_is_all_the_files_in_it_in_order(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text(json.dumps(ROWS[:1]))
    (tmp_path / "b.jsonl").write_text(LINES)
    (tmp_path / "README.md").write_text("no questions")
    assert names(tmp_path) == [("b.jsonl", "line 1"), ("b.jsonl", "line 2"), ("sub/a.json", "record 0")]  # fmt: skip


def test_a_broken_line_is_handed_on_in_its_place(tmp_path: Path):
    (tmp_path / "l.jsonl").write_bytes(b'{"a": 1}\n{"a": \n"\xff"\n' + b"[" * 100_000 + b"\n7\n")
    found = contents(tmp_path / "l.jsonl")
    assert [type(record) for record in found] == [dict, *[BrokenRecord] * 3, int]
    assert all(str(record).startswith("no valid JSON: ") for record in found[1:4])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"a": 1', "a.json is no valid JSON"),
        ("a.json", b"", "a.json is no valid JSON"),
        ("a.jsonl.gz", b"no gzip", "cannot read"),
        ("a.jsonl.gz", gzip.compress(b"[1]" * 9999)[:-30], "cannot read"),
        ("a.parquet", b"no table", "cannot read"),
        ("a.txt", None, "holds no files of questions"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    name: str, content: bytes | None, message: str, tmp_path: Path
):
    (tmp_path / name).write_bytes(content or b"")
    with pytest.raises(DataError, match=message):
        contents(tmp_path if content is None else tmp_path / name)


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="there is no question set"):
        contents(tmp_path / "nothing.json")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of a hub repository: a folder with a table for each split."""
    (tmp_path / "data").mkdir()
    for split, rows in (("train", ROWS[:1]), ("validation", ROWS)):
        file = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file)
    return tmp_path


def test_the_hub_is_streamed_row_by_row(repository: Path):
    default = HubTable(str(repository), None, "validation")
    assert contents("hub", default) == ROWS
    assert contents(f"hub:{repository}", HUB) == ROWS
    assert contents(f"hub:{repository}::train", HUB) == ROWS[:1]
    (record,) = records(f"hub:{repository}:default:train", HUB)
    assert (record.where, record.name) == (f"{repository}:default:train", "row 0")
    assert record.file == f"{repository.name}:default:train"


@pytest.mark.parametrize("table", ["hub", "hub:no/such", "hub:{}:other", "hub:{}:default:test"])
def test_a_table_that_cannot_be_had_is_one_sentence(table: str, repository: Path):
    with pytest.raises(DataError, match=r"the hub's table .* could not be read"):
        contents(table.format(repository))


def test_a_hub_that_does_not_answer_is_told_within_seconds(monkeypatch):
    closed = "http://127.0.0.1:9"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", closed)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", closed)
    for module in ("huggingface_hub.constants", "datasets.config"):
        monkeypatch.setattr(f"{module}.HF_HUB_OFFLINE", False)
    began = monotonic()
    with pytest.raises(DataError, match=r"no/such:validation could not be read .*refused.* go online"):  # fmt: skip
        contents("hub:no/such")
    assert monotonic() - began < 10


@pytest.mark.parametrize("table", ["hub:", "hub::a", "hub:a:b:c:d"])
def test_a_name_of_a_table_has_at_most_three_parts(table: str):
    with pytest.raises(DataError, match="write hub:REPOSITORY"):
        contents(table)


def test_datasets_is_imported_for_the_hub_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "a.jsonl").write_text(LINES)
    assert contents(tmp_path / "a.jsonl") == ROWS
    with pytest.raises(DataError, match="datasets"):
        contents("hub")
