"""The table of questions: Parquet, one row each, with what it was made of in its metadata. Read by data/question_files.py."""

import json
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mambascope.data.qa.build import Built
from mambascope.data.qa.config import BuildConfig
from mambascope.data.question_rows import as_row

METADATA_KEY = b"mambascope"
PASSAGE = pa.struct([("title", pa.string()), ("text", pa.string())])
SUPPORTING = pa.struct([("passage", pa.int64()), ("sentence", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("category", pa.string()),
        ("reason", pa.string()),
        ("question", pa.string()),
        ("context", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("hops", pa.int64()),
        ("answerable", pa.bool_()),
        ("question_type", pa.string()),
        ("passages", pa.list_(PASSAGE)),
        ("supporting", pa.list_(SUPPORTING)),
        ("origin", pa.string()),
    ]
)


def as_table(built: Built, config: BuildConfig) -> bytes:
    """The questions as a Parquet file, which depends on nothing but them, the sources' names and the configuration."""
    rows = [as_row(question) for question in built.questions]
    made = json.dumps(_made(built, config), ensure_ascii=False, sort_keys=True)
    schema = SCHEMA.with_metadata({METADATA_KEY: made.encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _made(built: Built, config: BuildConfig) -> dict[str, Any]:
    """Sources by their own names, without the folders they lie in: these differ from machine to machine."""
    sources = [
        {
            "dataset": read.source.dataset,
            "name": PurePath(read.source.where).name,
            "questions": read.count,
            "broken": len(read.broken),
        }
        for read in built.sources
    ]
    return {"made_by": "dataset build", **config.model_dump(), "sources": sources}
