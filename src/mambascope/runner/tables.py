"""The tables of a sweep: one row per cell, and one row per fact.

cells: fact_id, site, layer, position, token, role, score
facts: fact_id, relation, prompt, subject, given_answer, answer, top_answer, clean_score, corrupted_score, length, status, reason

`answer` is the token that counts, as in a trace; `given_answer` what the fact set says. Status is "traced", "skipped" (the model
does not know it) or "failed"; the scores of the latter two are null.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactPrompt

ASKED_COLUMNS = pa.schema(
    {
        "fact_id": pa.string(),
        "length": pa.int64(),
        "status": pa.string(),
        "reason": pa.string(),
        "answer": pa.string(),
        "top_answer": pa.string(),
    }
)
CELL_COLUMNS = pa.schema(
    {
        "fact_id": pa.string(),
        "site": pa.string(),
        "layer": pa.int64(),
        "position": pa.int64(),
        "token": pa.string(),
        "role": pa.string(),
        "score": pa.float64(),
    }
)
FACT_COLUMNS = pa.schema(
    {
        "fact_id": pa.string(),
        "relation": pa.string(),
        "prompt": pa.string(),
        "subject": pa.string(),
        "given_answer": pa.string(),
        "answer": pa.string(),
        "top_answer": pa.string(),
        "clean_score": pa.float64(),
        "corrupted_score": pa.float64(),
        "length": pa.int64(),
        "status": pa.string(),
        "reason": pa.string(),
    }
)
TRACED, SKIPPED, FAILED = "traced", "skipped", "failed"
SHARED = ("model", "weights", "direction", "window", "seed", "versions")


def cells_and_facts(
    facts: Sequence[FactPrompt], found: Sequence[Any]
) -> tuple[pa.Table, dict[str, Any]]:
    """The cells of a batch, and what is told beside them: a record per fact, and what its traces share.

    found: for each fact its trace, dims (site, layer, position), or a failure with its reason
    """
    traces = [result for result in found if isinstance(result, xr.Dataset)]
    records = [_record(fact, result) for fact, result in zip(facts, found, strict=True)]
    cells = [_cells(trace) for trace in traces]
    table = pa.concat_tables(cells) if cells else CELL_COLUMNS.empty_table()
    return table, {"facts": records, "shared": _shared(traces[0]) if traces else None}


def identity(fact: FactPrompt) -> dict[str, Any]:
    """The columns of a fact that are known before anything is run."""
    return {
        "fact_id": fact.fact_id,
        "relation": fact.relation or "",
        "prompt": fact.prompt,
        "subject": fact.subject,
        "given_answer": fact.answer,
    }


def _shared(trace: xr.Dataset) -> dict[str, Any]:
    attrs = {name: trace.attrs[name] for name in SHARED}
    return {**attrs, "sites": trace["site"].values.tolist(), "layers": trace.sizes["layer"]}


def _record(fact: FactPrompt, result: Any) -> dict[str, Any]:
    if not isinstance(result, xr.Dataset):
        return {**identity(fact), "status": FAILED, "reason": result.reason}
    names = ("answer", "top_answer", "clean_score", "corrupted_score")
    told = {name: result.attrs[name] for name in names}
    length = result.sizes["position"]
    return {**identity(fact), "status": TRACED, "reason": "", "length": length, **told}


def _cells(trace: xr.Dataset) -> pa.Table:
    score = trace["score"].transpose("site", "layer", "position")
    n_sites, n_layers, n_positions = score.shape
    per_layer = n_sites * n_layers
    columns = {
        "fact_id": [trace.attrs["fact_id"]] * score.size,
        "site": np.repeat(trace["site"].values, n_layers * n_positions),
        "layer": np.tile(np.repeat(np.arange(n_layers), n_positions), n_sites),
        "position": np.tile(np.arange(n_positions), per_layer),
        "token": trace["token"].values.tolist() * per_layer,
        "role": trace["role"].values.tolist() * per_layer,
        "score": score.values.ravel(),
    }
    return pa.table(columns, schema=CELL_COLUMNS)
