"""Evaluations whose scores are given, for the tests of means and figures."""

import numpy as np
import xarray as xr

from mambascope.results.schema import SCORES


def evaluation(values: dict[str, list[float]], **attrs: object) -> xr.Dataset:
    """By category the exact matches of its questions; the other scores are the same, the log-probability half of it."""
    rows = [(name, value) for name, column in values.items() for value in column]
    exact = np.array([float(value) for _, value in rows])
    table = np.stack([exact] * len(SCORES), axis=1)
    table[:, SCORES.index("logprob")] = exact / 2 - 1
    ids = [f"q{i}" for i in range(len(rows))]
    coords = {
        "fact_id": ids,
        "score": list(SCORES),
        "category": ("fact_id", [name for name, _ in rows]),
    }
    for name in ("prompt", "dataset", "prediction"):
        coords[name] = ("fact_id", ids)
    coords["rank"] = ("fact_id", np.ones(len(ids), dtype=int))
    told = {
        "method": "sweep.evaluate", "model": "m", "weights": "w", "config": "{}", "max_new_tokens": 4,
        "changes": '{"edits":[],"cuts":[]}', "versions": "{}", "failed": 0, "skipped": 0, **attrs,
    }  # fmt: skip
    return xr.Dataset({"value": (("fact_id", "score"), table)}, coords, told)
