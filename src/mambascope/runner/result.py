"""The end of a sweep: the shards become two tables that any data-frame tool reads, and then go.

Everything about the result that is no row lies in the metadata of cells.parquet: the attributes that `open_results` gives back.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mambascope.data.fact_prompt import FactPrompt
from mambascope.results.folder import MANIFEST, write_files
from mambascope.results.manifest import FORMAT, to_json
from mambascope.runner.folder import CELLS, FACTS, SweepFolder
from mambascope.runner.methods import SweepMethod
from mambascope.runner.shard import KEY
from mambascope.runner.tables import FAILED, SKIPPED, fact_columns

ROWS = 2**17  # of a row group


def finish(
    folder: SweepFolder,
    sweep: dict[str, Any],
    facts: Sequence[FactPrompt],
    asked: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the tables, all or none, and remove the shards. OutputError if they cannot be written."""
    method, done, told = folder.method, {}, {}
    for _, shard in folder.shards(method.done).read():
        done |= {record["fact_id"]: record for record in shard.told["facts"]}
        told = told or shard.told["shared"] or {}
    records = [done.get(fact.fact_id) or _not_done(method, fact, asked) for fact in facts]
    counts = count(records, method.done)
    cells = (shard.table for _, shard in folder.shards(method.done).read())
    described = {
        "format": FORMAT,
        "counts": counts,
        "shared": told,
        "config": sweep[method.option],
    }
    columns = fact_columns(method)
    files = {
        FACTS: _parquet([pa.Table.from_pylist(records, schema=columns)], columns, {}),
        MANIFEST: folder.description(sweep, finished=True, counts=counts),
        CELLS: _parquet(cells, method.cells, described),  # last: with it the sweep is finished
    }
    write_files(folder.path, files)
    clear(folder)


def clear(folder: SweepFolder) -> None:
    """Remove the shards of a finished sweep, once the disk has its tables."""
    handle = os.open(folder.path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    for stage in folder.method.stages:
        shutil.rmtree(folder.path / stage, ignore_errors=True)


def count(records: Iterable[Mapping[str, Any]], done: str) -> dict[str, int]:
    """How many facts have a result (under the method's own word, `done`), were skipped, and failed."""
    statuses = [record["status"] for record in records]
    return {status: statuses.count(status) for status in (done, SKIPPED, FAILED)}


def _not_done(
    method: SweepMethod, fact: FactPrompt, asked: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    return {**method.identity(fact), **asked[fact.fact_id]}


def _parquet(tables: Iterable[pa.Table], columns: pa.Schema, described: dict[str, Any]) -> bytes:
    metadata = {KEY: to_json(described).encode()} if described else None
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, columns.with_metadata(metadata)) as writer:
        for group in _grouped(tables):
            writer.write_table(group.replace_schema_metadata(metadata))
    return sink.getvalue().to_pybytes()


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(each.num_rows for each in held) >= ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
