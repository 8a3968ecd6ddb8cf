"""Exports hold the same cells as the result."""

import csv
import io
import json

import numpy as np

from mambascope.results.export import as_csv, as_npz
from mambascope.results.stack import stack_traces
from tests.methods.sweeps import PROMPTS, trace


def test_csv_has_a_row_per_cell_and_none_past_a_prompts_end():
    whole = stack_traces(
        [trace(fact, roles, sites=("u", "state")) for fact, roles in PROMPTS.items()]
    )
    whole["score"][0, 0, 0, 2] = np.nan
    rows = list(csv.DictReader(io.StringIO(as_csv(whole).decode())))
    assert list(rows[0]) == ["fact_id", "site", "layer", "position", "token", "role", "score"]
    assert len(rows) == 2 * 3 * sum(map(len, PROMPTS.values()))
    for row in rows:
        at = {"fact_id": row["fact_id"], "site": row["site"]}
        cell = whole.sel(**at, layer=int(row["layer"]), position=int(row["position"]))
        assert (row["token"], row["role"]) == (cell["token"].item(), cell["role"].item())
        assert (float(row["score"]) if row["score"] else None) == (
            None if np.isnan(cell["score"]) else cell["score"].item()
        )
    assert [row["score"] for row in rows].count("") == 1


def test_csv_of_one_trace_has_its_tokens(trace_result):
    rows = list(csv.DictReader(io.StringIO(as_csv(trace_result()).decode())))
    assert list(rows[0]) == ["layer", "position", "token", "role", "score"]
    assert len(rows) == 12 * 5
    assert (rows[3]["token"], rows[3]["layer"]) == (" France", "0")


def test_npz_holds_every_array_and_the_attributes_without_pickle(trace_result):
    result = trace_result()
    read = np.load(io.BytesIO(as_npz(result)), allow_pickle=False)
    assert sorted(read) == ["attrs", "layer", "position", "role", "score", "token"]
    np.testing.assert_array_equal(read["score"], result["score"])
    assert read["token"].tolist() == result["token"].values.tolist()
    assert json.loads(str(read["attrs"])) == result.attrs
