"""`open_results`: the results in a folder as one labelled dataset, also of a sweep that is not finished."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results import store
from mambascope.results.folder import MANIFEST
from mambascope.results.manifest import from_json
from mambascope.runner.folder import CELLS, FACTS, SweepFolder
from mambascope.runner.methods import SweepMethod
from mambascope.runner.result import count
from mambascope.runner.shard import KEY
from mambascope.runner.tables import FAILED, SKIPPED
from mambascope.runner.units import ASKED


def open_results(path: str | Path) -> xr.Dataset:
    """The results in a folder: of one prompt as `ms.trace` or `ms.knockout` gave them, of a sweep over facts as one dataset.

    Returns for a sweep the results of its method with the dim `fact_id` in front, NaN where a fact has no such cell; coords by
    fact `prompt`, `subject`, `answer`, `top_answer`, `relation`, `length`, `clean_score` and the method's own (`corrupted_score`;
    `clean_rank` and `missing`); `token` and `role` by fact and position, "" past the end; attrs as those of one result, and
    `failed` and `skipped`, which count facts without one.
    Of a sweep that is not finished, what is there so far, with a warning.
    Raises OutputError if there are no results.
    """
    folder = SweepFolder(Path(path))
    if not (folder.path / MANIFEST).is_file() or not folder.is_sweep:
        return store.load(path)
    return _finished(folder) if folder.finished else _unfinished(folder)


def fact_rows(folder: SweepFolder) -> list[dict[str, Any]]:
    """The facts table of a sweep row by row; of one that is not finished, what is known so far."""
    if folder.finished:
        return _read(folder.path / FACTS).to_pylist()
    asked = [row for _, shard in folder.shards(ASKED).read() for row in shard.table.to_pylist()]
    shards = folder.shards(folder.method.done).read()
    done = [row for _, shard in shards for row in shard.told["facts"]]
    return [row for row in asked if row["status"] in (SKIPPED, FAILED)] + done


def _finished(folder: SweepFolder) -> xr.Dataset:
    path = folder.path
    try:
        with pq.ParquetFile(path / CELLS) as file:
            told = from_json(file.schema_arrow.metadata[KEY])
            groups = (file.read_row_group(number) for number in range(file.num_row_groups))
            return _labelled(folder.method, _read(path / FACTS).to_pylist(), groups, told)
    except (OSError, KeyError, TypeError, pa.ArrowException) as error:
        raise OutputError(f"cannot read the sweep in {path}: {error}") from error


def _unfinished(folder: SweepFolder) -> xr.Dataset:
    rows, sweep, method = fact_rows(folder), folder.manifest["sweep"], folder.method
    warnings.warn(
        f"the sweep in {folder.path} is not finished: {len(rows)} of {sweep['facts']['count']} {method.noun} are done; the "
        "command that began it goes on",
        stacklevel=3,
    )
    shared = (shard.told["shared"] for _, shard in folder.shards(method.done).read())
    told = {
        "counts": count(rows, method.done),
        "shared": next(filter(None, shared), {}),
        "config": sweep[method.option],
    }
    cells = (shard.table for _, shard in folder.shards(method.done).read())
    return _labelled(method, rows, cells, told)


def _labelled(
    method: SweepMethod, rows: list[dict[str, Any]], cells: Iterable[pa.Table], told: dict[str, Any]
) -> xr.Dataset:
    """The dataset of the facts that have a result."""
    facts = [row for row in rows if row["status"] == method.done]
    if not facts:
        raise OutputError(_nothing(method, rows))
    names = (*method.labels, "answer", "top_answer", *method.by_fact, "length")
    coords = {"fact_id": [row["fact_id"] for row in facts]}
    coords |= {name: ("fact_id", [row[name] for row in facts]) for name in names}
    found = method.labelled(facts, cells, told["shared"]).assign_coords(coords)
    return found.assign_attrs(_attrs(method, told))


def _attrs(method: SweepMethod, told: dict[str, Any]) -> dict[str, Any]:
    shared = {name: told["shared"][name] for name in method.shared}
    counts = {name: told["counts"][name] for name in (FAILED, SKIPPED)}
    config = json.dumps(told["config"], ensure_ascii=False)
    return {"method": method.produces, **shared, "config": config, **counts}


def _nothing(method: SweepMethod, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no fact of this sweep is done yet; the command that began it goes on"
    first = next((row for row in rows if row["status"] == FAILED), rows[0])
    counts = count(rows, method.done)
    return (
        f"no fact of this sweep was {method.done}: {counts[FAILED]} failed and {counts[SKIPPED]} were skipped, "
        f"such as {first['fact_id']!r}: {first['reason']}"
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"cannot read {path}: {error}") from error
