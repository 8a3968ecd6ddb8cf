"""Sweeps of knockouts whose numbers are given, for the tests of aggregates and figures."""

import json

import numpy as np
import xarray as xr

ATTRS = {
    "method": "sweep.knockout",
    "model": "m",
    "weights": "w",
    "target": "last",
    "window": 2,
    "route": "scan",
    "mode": "zero",
    "features": "all",
    "seed": 0,
    "versions": "{}",
    "config": json.dumps({"window": 2}),
    "failed": 0,
    "skipped": 0,
}


def knockouts(
    score, clean, *, sources=None, roles=None, ranks=None, ids=None, **attrs
) -> xr.Dataset:
    """A sweep from scores (facts, sources, starts), NaN where a fact lacks one; with `roles` (facts, positions) by position.

    `change` and `hit` follow: a hit is a score of 0.5 at least.
    """
    score, clean = np.asarray(score, dtype=float), np.asarray(clean, dtype=float)
    facts, rows, starts = score.shape
    dim = "source" if roles is None else "position"
    there = np.isfinite(score)
    values = {
        "score": score,
        "change": 100 * (score / clean[:, None, None] - 1),
        "hit": np.where(there, score >= 0.5, np.nan),
    }
    names = [f"f{number}" for number in range(facts)] if ids is None else ids
    coords = {
        "fact_id": names,
        dim: sources or [f"s{i}" for i in range(rows)] if roles is None else np.arange(rows),
        "start": np.arange(starts),
        "first_layer": ("start", np.arange(starts)),
        "last_layer": ("start", np.arange(starts) + 1),
        "prompt": ("fact_id", [f"prompt {name}" for name in names]),
        "clean_score": ("fact_id", clean),
        "clean_rank": ("fact_id", [1] * facts if ranks is None else ranks),
        "length": ("fact_id", [rows] * facts),
    }
    if roles is not None:
        coords["role"] = (("fact_id", dim), np.asarray(roles))
        coords["token"] = (("fact_id", dim), np.full((facts, rows), "t"))
    variables = {name: (("fact_id", dim, "start"), each) for name, each in values.items()}
    return xr.Dataset(variables, coords, {**ATTRS, **attrs})
