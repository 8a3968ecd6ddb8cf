"""A shard is there whole or not at all, and what is neither is found and removed."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from mambascope.errors import OutputError
from mambascope.runner.shard import Shards, decode, encode

TABLE = pa.table({"fact_id": ["a", "a"], "score": [0.1, float("nan")]})


def content(*ids: str) -> bytes:
    return encode(TABLE, {"fact_ids": list(ids), "weights": "w", "sigma": float("nan")})


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    """Three finished units."""
    shards = Shards(tmp_path / "traced")
    for number in range(3):
        shards.write(number, content(f"f{number}"))
    return shards


WANTED = {number: [f"f{number}"] for number in range(4)}


def file(shards: Shards, number: int) -> Path:
    (found,) = shards.folder.glob(f"{number:06d}.*")
    return found


def test_a_shard_is_read_as_it_was_written(shards: Shards):
    read = dict(shards.read())
    assert sorted(read) == [0, 1, 2]
    assert read[1].table.schema == TABLE.schema
    assert read[1].table["score"].to_pylist()[0] == 0.1
    assert read[1].told["fact_ids"] == ["f1"]
    assert read[1].told["sigma"] != read[1].told["sigma"]
    assert decode(content("x")).told["weights"] == "w"


def test_whole_shards_stay(shards: Shards):
    before = {path.name: path.stat().st_mtime_ns for path in shards.folder.iterdir()}
    assert shards.clean(WANTED) == {0, 1, 2}
    assert {path.name: path.stat().st_mtime_ns for path in shards.folder.iterdir()} == before


def test_every_truncation_is_found(shards: Shards):
    whole = file(shards, 1).read_bytes()
    name = file(shards, 1).name
    for length in [0, 1, len(whole) // 2, len(whole) - 1]:
        (shards.folder / name).write_bytes(whole[:length])
        with pytest.warns(UserWarning, match="is damaged"):
            assert [number for number, _ in shards.read()] == [0, 2]
        assert shards.clean(WANTED) == {0, 2}
        assert not (shards.folder / name).exists()


def test_a_single_changed_bit_is_found(shards: Shards):
    path = file(shards, 2)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 1
    path.write_bytes(whole)
    assert shards.clean(WANTED) == {0, 1}


def test_what_an_interrupted_write_leaves_is_removed(shards: Shards):
    (shards.folder / ".000003.0123456789abcdef.parquet.x1y2").write_bytes(content("f3")[:100])
    assert [number for number, _ in shards.read()] == [0, 1, 2]
    assert shards.clean(WANTED) == {0, 1, 2}
    assert len(list(shards.folder.iterdir())) == 3


def test_a_shard_of_other_facts_does_not_count(shards: Shards):
    assert shards.clean({0: ["f0"], 1: ["another"]}) == {0}
    assert [number for number, _ in shards.read()] == [0]


def test_a_full_disk_is_one_error_and_leaves_what_was_there(shards: Shards, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(shards.folder.iterdir())
    monkeypatch.setattr("mambascope.results.folder.os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot write to .*traced: No space left on device"):
        shards.write(3, content("f3"))
    assert sorted(shards.folder.iterdir()) == before
