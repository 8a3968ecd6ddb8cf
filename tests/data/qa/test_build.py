"""From sources to a table, and back from the table."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mambascope.data.qa.build import Source, build, parse_source
from mambascope.data.qa.config import BuildConfig
from mambascope.data.qa.table import as_table
from mambascope.data.question_files import read_questions
from mambascope.errors import ConfigError, DataError
from tests.data.qa.written import (
    DROP,
    HOTPOT,
    MUSIQUE,
    SQUAD,
    TRIVIA,
    annotation,
    natural_question,
    written,
)

NEEDED = ["id", "dataset", "category", "reason", "question", "context", "answers", "hops"]


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """One file of each data set."""
    unanswerable = {**MUSIQUE, "answerable": False}
    files = {
        "squad": ("s.json", SQUAD),
        "nq": ("n.jsonl", [natural_question(annotation(3, 15, ("deep",)))]),
        "hotpotqa": ("h.json", [HOTPOT]),
        "triviaqa": ("t.json", TRIVIA),
        "musique": ("m.jsonl", [MUSIQUE, unanswerable]),
        "drop": ("d.json", DROP),
    }
    return [Source(n, str(written(tmp_path / name, c))) for n, (name, c) in files.items()]


def test_all_six_data_sets_come_into_one_table_and_back_as_they_were(sources, tmp_path: Path):
    built = build(sources, BuildConfig())
    assert {read.source.dataset: read.count for read in built.sources} == {
        "drop": 3, "hotpotqa": 1, "musique": 2, "nq": 1, "squad": 2, "triviaqa": 1,
    }  # fmt: skip
    assert not built.broken
    (tmp_path / "q.parquet").write_bytes(as_table(built, BuildConfig()))
    assert read_questions(tmp_path / "q.parquet") == (list(built.questions), [])
    assert all(question.reason for question in built.questions)


def test_the_table_has_columns_for_every_tool_and_says_what_it_was_made_of(sources, tmp_path: Path):
    config = BuildConfig(per_category=3, seed=4)
    (tmp_path / "q.parquet").write_bytes(as_table(build(sources, config), config))
    table = pq.read_table(tmp_path / "q.parquet")
    assert set(NEEDED) <= set(table.column_names)
    row = next(row for row in table.to_pylist() if row["id"] == "musique-2hop__1_2")
    assert (
        row["context"]
        == "Borl\nBorl is a hill.\n\nRenk\nRenk sailed Tarn.\n\nTarn\nTarn is in Osk."
    )
    assert (row["category"], row["hops"], row["answers"]) == ("two_hop", 2, ["Osk", "the Osk"])
    made = json.loads(table.schema.metadata[b"mambascope"])
    assert (made["seed"], made["per_category"], made["per_dataset"]) == (4, 3, None)
    assert made["sources"][0] == {"dataset": "drop", "name": "d.json", "questions": 3, "broken": 0}


def test_the_same_inputs_give_the_same_bytes_in_any_order_and_from_any_folder(
    sources, tmp_path: Path
):
    config = BuildConfig(per_dataset=2, per_category=2, seed=1)
    first = as_table(build(sources, config), config)
    (tmp_path / "elsewhere").mkdir()
    moved = []
    for source in reversed(sources):
        place = tmp_path / "elsewhere" / Path(source.where).name
        place.write_bytes(Path(source.where).read_bytes())
        moved.append(Source(source.dataset, str(place)))
    assert as_table(build(moved, config), config) == first
    assert as_table(build(sources, BuildConfig(seed=2)), BuildConfig(seed=2)) != first


def test_two_files_of_one_data_set_may_change_their_folders(tmp_path: Path):
    other = {**MUSIQUE, "id": "other"}
    tables = []
    for first, second in (("a", "b"), ("b", "a")):
        folder = tmp_path / (first + second)
        sources = []
        for place, name, row in ((first, "x.jsonl", MUSIQUE), (second, "y.jsonl", other)):
            (folder / place).mkdir(parents=True)
            sources.append(Source("musique", str(written(folder / place / name, [row]))))
        tables.append(as_table(build(sources, BuildConfig()), BuildConfig()))
    assert tables[0] == tables[1]


def test_broken_records_and_questions_seen_before_are_reported_and_the_rest_is_kept(tmp_path: Path):
    half = {**MUSIQUE, "id": "half", "answer": "\ud83d"}
    path = tmp_path / "m.jsonl"
    lines = [json.dumps(row) for row in (MUSIQUE, 7, half, MUSIQUE, {**MUSIQUE, "id": "other"})]
    path.write_text("\n".join([*lines, '{"id": ']))
    built = build([Source("musique", str(path))], BuildConfig())
    assert {q.id for q in built.questions} == {"musique-2hop__1_2", "musique-other"}
    assert built.sources[0].count == 2
    for message, (line, reason) in zip(
        built.broken,
        [
            ("line 2", "it must be an object, not int"),
            ("line 3", "a text cannot be written as UTF-8"),
            ("line 4", "id 'musique-2hop__1_2' was there before"),
            ("line 6", "no valid JSON"),
        ],
        strict=True,
    ):
        assert f"m.jsonl: {line}: {reason}" in message


def test_a_source_without_a_question_is_an_error_that_names_the_first_mistake(tmp_path: Path):
    wrong = written(tmp_path / "h.json", [HOTPOT, HOTPOT, HOTPOT])
    with pytest.raises(DataError) as error:
        build([Source("squad", str(wrong))], BuildConfig())
    assert str(error.value).startswith(f"{wrong}: record 0: field 'context' must be a text")
    assert str(error.value).endswith("(and 2 more records like it)")
    empty = written(tmp_path / "e.json", [])
    with pytest.raises(DataError, match=r"e\.json holds no questions of squad"):
        build([Source("squad", str(empty))], BuildConfig())


def test_files_whose_names_differ_behind_the_first_dot_have_questions_of_their_own(tmp_path: Path):
    row = {"question": "where is tarn", "answer": ["Osk"]}
    names = ("NQ-open.dev.jsonl", "NQ-open.train.jsonl")
    built = build(
        [Source("nq", str(written(tmp_path / name, [row]))) for name in names], BuildConfig()
    )
    assert not built.broken
    assert [question.id for question in built.questions] == [
        "nq-NQ-open.dev-00000",
        "nq-NQ-open.train-00000",
    ]


def test_a_copy_of_a_hub_table_gives_the_same_bytes_in_any_folder(tmp_path: Path):
    tables = []
    for place in ("here", "there"):
        folder = tmp_path / place / "nq_open"
        (folder / "data").mkdir(parents=True)
        rows = pa.Table.from_pylist([{"question": "where is tarn", "answer": ["Osk"]}])
        pq.write_table(rows, folder / "data" / "validation-00000-of-00001.parquet")
        built = build([Source("nq", f"hub:{folder}")], BuildConfig())
        tables.append(as_table(built, BuildConfig()))
    assert tables[0] == tables[1]


def test_sources_are_names_and_places():
    assert parse_source("nq=a=b.jsonl") == Source("nq", "a=b.jsonl")
    for given, message in [
        ("squad", "is no source; write NAME=PATH"),
        ("squad=", "is no source"),
        ("sqad=x", "unknown data set 'sqad' in 'sqad=x'; it is one of: squad, nq, hotpotqa"),
    ]:
        with pytest.raises(ConfigError, match=message):
            parse_source(given)
    with pytest.raises(ConfigError, match="there are no sources"):
        build([], BuildConfig())


def test_progress_tells_the_sources_that_are_done(sources):
    told: list[tuple[int, str]] = []
    build(sources, BuildConfig(), lambda done, said: told.append((done, said)))
    assert told[0] == (0, "1 of drop")
    assert told[-1] == (5, "1 of triviaqa")
