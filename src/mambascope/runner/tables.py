"""The tables of a sweep: one row per cell, with the method's own columns, and one row per fact.

facts: fact_id; what is known before anything is run (relation, prompt, subject, given_answer); answer, top_answer, the method's
own columns, length, status, reason

`answer` is the token that counts, as in the method; `given_answer` what the fact set says. Status is the method's word for a fact
that has a result ("traced", "cut"), "skipped" (its answer has another rank for the model) or "failed"; what only a result tells
is null for the latter two.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactPrompt
from mambascope.runner.methods.base import SweepMethod

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
SKIPPED, FAILED = "skipped", "failed"


def fact_columns(method: SweepMethod) -> pa.Schema:
    """The columns of the table of facts."""
    return pa.schema(
        {
            "fact_id": pa.string(),
            **method.known,
            **dict.fromkeys(("answer", "top_answer"), pa.string()),
            **method.by_fact,
            "length": pa.int64(),
            "status": pa.string(),
            "reason": pa.string(),
        }
    )


def cells_and_facts(
    method: SweepMethod, facts: Sequence[FactPrompt], found: Sequence[Any]
) -> tuple[pa.Table, dict[str, Any]]:
    """The cells of a batch, and what is told beside them: a record per fact, and what its results share.

    found: for each fact its result, or a failure with its reason
    """
    results = [result for result in found if isinstance(result, xr.Dataset)]
    records = [_record(method, fact, result) for fact, result in zip(facts, found, strict=True)]
    tables = [method.table(result) for result in results]
    table = pa.concat_tables(tables) if tables else method.cells.empty_table()
    return table, {"facts": records, "shared": _shared(method, results[0]) if results else None}


def _shared(method: SweepMethod, result: xr.Dataset) -> dict[str, Any]:
    return {**{name: result.attrs[name] for name in method.shared}, **method.axes(result)}


def _record(method: SweepMethod, fact: FactPrompt, result: Any) -> dict[str, Any]:
    if not isinstance(result, xr.Dataset):
        return {**method.identity(fact), "status": FAILED, "reason": result.reason}
    told = {name: result.attrs[name] for name in ("answer", "top_answer", *method.by_fact)}
    told |= {"status": method.done, "reason": "", "length": method.length(result)}
    return {**method.identity(fact), **told}
