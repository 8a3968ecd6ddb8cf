"""Published slices, with counts taken from the files by other means than the readers."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from mambascope.data.qa.build import Built, Source, build
from mambascope.data.qa.config import BuildConfig
from mambascope.data.qa.table import as_table

FILES = {
    "squad": "squad_v1.1_dev_part.json",
    "nq": "nq_open_dev_part.jsonl",
    "hotpotqa": "hotpot_dev_simplified_part.json",
    "drop": "drop_contrast_part.json",
}
RECORD = {"squad": r'"answers": \[', "nq": r'"question": "', "hotpotqa": r'"question": "', "drop": r'"query_id": "'}  # fmt: skip


@pytest.fixture(scope="module")
def sources(real_data: Path) -> list[Source]:
    return [Source(name, str(real_data / "qa" / file)) for name, file in FILES.items()]


@pytest.fixture(scope="module")
def built(sources: list[Source]) -> Built:
    return build(sources, BuildConfig())


@pytest.mark.real_data
def test_every_record_of_every_file_is_read(sources, built: Built):
    counted = {
        s.dataset: len(re.findall(RECORD[s.dataset], Path(s.where).read_text())) for s in sources
    }
    assert counted == {"squad": 810, "nq": 1000, "hotpotqa": 600, "drop": 530}
    assert {read.source.dataset: read.count for read in built.sources} == counted
    assert not built.broken


@pytest.mark.real_data
def test_answers_are_those_of_the_files(sources, built: Built):
    where = {source.dataset: Path(source.where) for source in sources}
    lines = [json.loads(line) for line in where["nq"].read_text().splitlines()]
    expected = Counter((row["question"], tuple(dict.fromkeys(row["answer"]))) for row in lines)
    assert expected == Counter(
        (q.question, q.answers) for q in built.questions if q.dataset == "nq"
    )
    rows = json.loads(where["hotpotqa"].read_text())
    asked = Counter((row["question"].strip(), row["answer"].strip()) for row in rows)
    assert asked == Counter((q.question, q.answers[0]) for q in built.questions if q.dataset == "hotpotqa")  # fmt: skip
    squad = [q for q in built.questions if q.dataset == "squad"]
    assert all(answer in q.context for q in squad for answer in q.answers)
    assert all(q.supporting for q in squad)


@pytest.mark.real_data
def test_each_data_set_feeds_its_categories_and_what_lacks_passages_none(built: Built):
    found = Counter((q.dataset, q.category) for q in built.questions)
    assert {c for d, c in found if d == "squad"} == {
        "simple_recall",
        "long_context",
        "stress",
        None,
    }
    assert found["nq", None] == 1000
    assert found["hotpotqa", None] == 600
    assert found["drop", "reasoning_memory"] == 530
    reasons = {q.reason for q in built.questions if q.dataset in ("nq", "hotpotqa")}
    assert reasons == {"missing: long_answer", "missing: context, supporting_facts"}


@pytest.mark.real_data
def test_a_second_build_gives_the_same_bytes(sources):
    config = BuildConfig(per_dataset=200, per_category=120, seed=7)
    first = as_table(build(sources, config), config)
    assert as_table(build(sources[::-1], config), config) == first
