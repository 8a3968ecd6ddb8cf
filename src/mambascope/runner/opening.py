"""`open_results`: the results in a folder as one labelled dataset, also of a sweep that is not finished."""

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results import store
from mambascope.results.folder import MANIFEST
from mambascope.results.manifest import from_json
from mambascope.runner.folder import CELLS, FACTS, METHOD, SweepFolder
from mambascope.runner.result import count
from mambascope.runner.shard import KEY
from mambascope.runner.tables import FAILED, SKIPPED, TRACED

BY_FACT = (
    "prompt",
    "subject",
    "answer",
    "top_answer",
    "relation",
    "clean_score",
    "corrupted_score",
)


def open_results(path: str | Path) -> xr.Dataset:
    """The results in a folder: those of one trace as `ms.trace` gave them, those of a sweep over facts as one dataset.

    Returns for a sweep dims (fact_id, site, layer, position): `score`, NaN past a prompt's end; coords `token` and `role` by
    fact and position ("" past the end), and by fact `prompt`, `subject`, `answer`, `top_answer`, `relation`, `clean_score`,
    `corrupted_score`, `length`; attrs as those of a trace, and `failed` and `skipped`, which count facts without one.
    Of a sweep that is not finished, what is there so far, with a warning.
    Raises OutputError if there are no results.
    """
    folder = SweepFolder(Path(path))
    if not (folder.path / MANIFEST).is_file() or not folder.is_sweep:
        return store.load(path)
    return _finished(folder.path) if folder.finished else _unfinished(folder)


def fact_rows(folder: SweepFolder) -> list[dict[str, Any]]:
    """The facts table of a sweep row by row; of one that is not finished, what is known so far."""
    if folder.finished:
        return _read(folder.path / FACTS).to_pylist()
    asked = [row for _, shard in folder.shards("asked").read() for row in shard.table.to_pylist()]
    traced = [row for _, shard in folder.shards("traced").read() for row in shard.told["facts"]]
    return [row for row in asked if row["status"] in (SKIPPED, FAILED)] + traced


def _finished(path: Path) -> xr.Dataset:
    try:
        with pq.ParquetFile(path / CELLS) as file:
            told = from_json(file.schema_arrow.metadata[KEY])
            groups = (file.read_row_group(number) for number in range(file.num_row_groups))
            return _labelled(_read(path / FACTS).to_pylist(), groups, told)
    except (OSError, KeyError, TypeError, pa.ArrowException) as error:
        raise OutputError(f"cannot read the sweep in {path}: {error}") from error


def _unfinished(folder: SweepFolder) -> xr.Dataset:
    rows, sweep = fact_rows(folder), folder.manifest["sweep"]
    warnings.warn(
        f"the sweep in {folder.path} is not finished: {len(rows)} of {sweep['facts']['count']} facts are done; the command "
        "that began it goes on",
        stacklevel=3,
    )
    shared = (shard.told["shared"] for _, shard in folder.shards("traced").read())
    told = {
        "counts": count(rows),
        "shared": next(filter(None, shared), {}),
        "config": sweep["tracing"],
    }
    return _labelled(rows, (shard.table for _, shard in folder.shards("traced").read()), told)


def _labelled(
    rows: list[dict[str, Any]], cells: Iterable[pa.Table], told: dict[str, Any]
) -> xr.Dataset:
    """The dataset of the facts that were traced."""
    facts = [row for row in rows if row["status"] == TRACED]
    if not facts:
        raise OutputError(_nothing(rows))
    ids, shared = [row["fact_id"] for row in facts], told["shared"]
    shape = (len(ids), len(shared["sites"]), shared["layers"], max(row["length"] for row in facts))
    score = np.full(shape, np.nan)
    token = np.full((shape[0], shape[3]), "", dtype=object)
    role = token.copy()
    for at, part in _placed(cells, ids, shared["sites"]):
        score[at] = part["score"].to_numpy()
        once = (at[1] == 0) & (at[2] == 0)
        place = at[0][once], at[3][once]
        token[place] = part["token"].to_numpy()[once]
        role[place] = part["role"].to_numpy()[once]
    coords = {
        "fact_id": ids,
        "site": shared["sites"],
        "layer": np.arange(shape[2]),
        "position": np.arange(shape[3]),
        **{name: ("fact_id", [row[name] for row in facts]) for name in BY_FACT},
        "length": ("fact_id", [row["length"] for row in facts]),
        "token": (("fact_id", "position"), token.astype(str)),
        "role": (("fact_id", "position"), role.astype(str)),
    }
    return xr.Dataset(
        {"score": (("fact_id", "site", "layer", "position"), score)}, coords, _attrs(told)
    )


def _placed(
    cells: Iterable[pa.Table], ids: list[str], sites: list[str]
) -> Iterator[tuple[tuple[np.ndarray, ...], pa.Table]]:
    """Each part of the cells with its places (fact, site, layer, position) in the dataset."""
    of_fact, of_site = pa.array(ids, pa.string()), pa.array(sites, pa.string())
    for part in cells:
        places = (
            pc.index_in(part["fact_id"], value_set=of_fact),  # pyright: ignore[reportAttributeAccessIssue]
            pc.index_in(part["site"], value_set=of_site),  # pyright: ignore[reportAttributeAccessIssue]
            part["layer"],
            part["position"],
        )
        yield tuple(place.to_numpy() for place in places), part


def _attrs(told: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "weights", "direction", "window", "seed", "versions")
    shared = {name: told["shared"][name] for name in names}
    counts = {name: told["counts"][name] for name in (FAILED, SKIPPED)}
    config = json.dumps(told["config"], ensure_ascii=False)
    return {"method": METHOD, **shared, "config": config, **counts}


def _nothing(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no fact of this sweep is done yet; the command that began it goes on"
    first = next((row for row in rows if row["status"] == FAILED), rows[0])
    counts = count(rows)
    return (
        f"no fact of this sweep was traced: {counts[FAILED]} failed and {counts[SKIPPED]} were skipped, "
        f"such as {first['fact_id']!r}: {first['reason']}"
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"cannot read {path}: {error}") from error
