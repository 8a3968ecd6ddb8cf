"""Shards: the results of finished units, one file each, that are there whole or not at all.

A shard is called NUMBER.DIGEST.parquet after its unit and the sha256 of its content, so that a torn or altered file shows. What
is told beside the table lies in its metadata. Files are written under temporary names, flushed to the disk and renamed; what an
interrupted write leaves begins with a dot.
"""

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mambascope.results.folder import write_files
from mambascope.results.manifest import FORMAT, from_json, to_json

KEY = b"mambascope"
NAME = re.compile(r"(\d+)\.([0-9a-f]{16})\.parquet")


@dataclass(frozen=True)
class Shard:
    """A finished unit's table, and what is told beside it."""

    table: pa.Table
    told: dict[str, Any]


def encode(table: pa.Table, told: Mapping[str, Any]) -> bytes:
    """The content of a shard."""
    described = to_json({"format": FORMAT, **told}).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({KEY: described}), sink)
    return sink.getvalue().to_pybytes()


def decode(content: bytes) -> Shard:
    """A shard from its content."""
    table = pq.read_table(pa.BufferReader(content))
    return Shard(table.replace_schema_metadata(None), from_json(table.schema.metadata[KEY]))


class Shards:
    """The shards of one stage in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, content: bytes) -> None:
        """Keep a finished unit; OutputError if the disk is full or cannot be written to."""
        write_files(self.folder, {f"{number:06d}.{_digest(content)}.parquet": content})

    def read(self) -> Iterator[tuple[int, Shard]]:
        """Every whole shard with its unit's number, in their order; damaged ones are told by a warning."""
        for path in self._files():
            content = _whole(path)
            if content is None:
                warnings.warn(f"{path} is damaged and does not count", stacklevel=2)
            else:
                yield _number(path), decode(content)

    def clean(self, wanted: Mapping[int, Iterable[str]]) -> set[int]:
        """Remove what is no whole shard of the wanted units (fact ids by number); the numbers that remain."""
        kept: set[int] = set()
        for torn in self.folder.glob(".*"):
            torn.unlink()
        for path in self._files():
            content = _whole(path)
            number = -1 if content is None else _number(path)
            ids = None if content is None else decode(content).told["fact_ids"]
            if number in wanted and number not in kept and ids == list(wanted[number]):
                kept.add(number)
            else:
                path.unlink()
        return kept

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.parquet") if NAME.fullmatch(path.name))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _whole(path: Path) -> bytes | None:
    """The content of a shard, if it is what its name says."""
    named = NAME.fullmatch(path.name)
    if named is None:
        return None
    content = path.read_bytes()
    return content if _digest(content) == named[2] else None
