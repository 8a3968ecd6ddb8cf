"""Traces of many facts as one dataset, padded to the longest prompt: what a sweep over facts leaves, and what aggregates take.

A score past a prompt's end is NaN, and token and role there are "". What all traces share becomes attributes; what differs by
fact becomes a coordinate of `fact_id`.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from mambascope.errors import OutputError

METHOD = "sweep.trace"
SHARED = ("model", "weights", "direction", "seed", "versions")
BY_FACT = ("prompt", "answer", "top_answer", "clean_score", "corrupted_score")


def stack_traces(traces: Sequence[xr.Dataset], *, failed: int = 0, skipped: int = 0) -> xr.Dataset:
    """One dataset of the traces of several facts, in the order given.

    traces:  dims (layer, position) or (site, layer, position), as `ms.trace` gives them; attrs `fact_id`, `relation` and
             `subject` where there are any (else: the trace's number, "", and the subject's tokens)
    failed, skipped: how many facts have no trace, kept as attributes

    Returns dims (fact_id, site, layer, position): `score`; coords `token` and `role` by fact and position; `prompt`,
    `subject`, `answer`, `top_answer`, `relation`, `clean_score`, `corrupted_score`, `length` by fact.
    Raises OutputError for no traces, for two of one fact, and for traces of different models, sites or configurations.
    """
    if not traces:
        raise OutputError("there are no traces to stack; at least one is needed")
    parts = [_with_sites(trace) for trace in traces]
    attrs = _shared_attrs(parts)
    ids = [str(part.attrs.get("fact_id", number)) for number, part in enumerate(parts)]
    twice = (
        sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    )
    if twice:
        raise OutputError(f"fact {twice[0]!r} has more than one trace; each may have one")
    longest = max(part.sizes["position"] for part in parts)
    coords: dict[str, Any] = {
        "fact_id": ids,
        "site": parts[0]["site"].values,
        "layer": parts[0]["layer"].values,
        "position": np.arange(longest),
        **{name: ("fact_id", [part.attrs[name] for part in parts]) for name in BY_FACT},
        "subject": ("fact_id", [_subject(part) for part in parts]),
        "relation": ("fact_id", [str(part.attrs.get("relation", "")) for part in parts]),
        "length": ("fact_id", [part.sizes["position"] for part in parts]),
        "token": (("fact_id", "position"), _texts(parts, "token", longest)),
        "role": (("fact_id", "position"), _texts(parts, "role", longest)),
    }
    score = np.full((len(parts), *parts[0]["score"].shape[:2], longest), np.nan)
    for row, part in zip(score, parts, strict=True):
        row[..., : part.sizes["position"]] = part["score"].values
    dims = ("fact_id", "site", "layer", "position")
    counts = {"failed": failed, "skipped": skipped}
    return xr.Dataset({"score": (dims, score)}, coords, {**attrs, **counts})


def _with_sites(trace: xr.Dataset) -> xr.Dataset:
    """A trace with dim `site` and a window by site, also if it is of one site only."""
    if trace.attrs.get("method") != "trace":
        found = trace.attrs.get("method")
        raise OutputError(f"only traces can be stacked, but a result of {found!r} was given")
    if "site" in trace.dims:
        return trace.transpose("site", "layer", "position")
    one = trace.expand_dims(site=[trace.attrs["site"]])
    return one.assign_attrs(window=[trace.attrs["window"]])


def _shared_attrs(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    first = parts[0]
    for part in parts[1:]:
        for name in ("site", "layer"):
            _same(name, first[name].values.tolist(), part[name].values.tolist())
        for name in (*SHARED, "window"):
            _same(name, first.attrs[name], part.attrs[name])
    shared = {name: first.attrs[name] for name in SHARED}
    return {
        "method": METHOD,
        **shared,
        "window": list(first.attrs["window"]),
        "config": _shared_config([part.attrs["config"] for part in parts]),
    }


def _shared_config(texts: Sequence[str]) -> str:
    """The configuration of all; the subjects that were swapped in belong to each fact, and are left out if they differ."""
    if len(set(texts)) == 1:
        return texts[0]
    configs = [json.loads(text) for text in dict.fromkeys(texts)]
    for config in configs:
        config.pop("swap", None)
        for name in configs[0].keys() | config.keys():
            _same(f"config {name}", configs[0].get(name), config.get(name))
    return json.dumps(configs[0])


def _same(name: str, first: Any, other: Any) -> None:
    if first != other:
        raise OutputError(
            f"the traces differ in {name}: {first!r} and {other!r}; stack like with like"
        )


def _subject(part: xr.Dataset) -> str:
    if "subject" in part.attrs:
        return str(part.attrs["subject"])
    start, stop = part.attrs["subject_start"], part.attrs["subject_stop"]
    return "".join(part["token"].values[start:stop].tolist()).strip()


def _texts(parts: Sequence[xr.Dataset], name: str, longest: int) -> list[list[str]]:
    rows = [part[name].values.tolist() for part in parts]
    return [row + [""] * (longest - len(row)) for row in rows]
