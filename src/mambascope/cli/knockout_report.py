"""What `mambascope knockout` prints: for each source the window where the answer falls most, or all of the result as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mambascope.cli.printing import headed, json_object, probability, table
from mambascope.cli.trace_report import other_answer
from mambascope.plots.labels import token_label
from mambascope.results.schema import with_sources
from mambascope.results.wording import cut_in_words

__all__ = ["as_json", "deepest", "other_answer", "print_summary"]

VALUES = ("score", "change", "hit")


def deepest(result: xr.Dataset) -> list[dict[str, Any]]:
    """For each source, or each position, the window of layers where the answer's probability is lowest."""
    rows = with_sources(result)
    found: list[dict[str, Any]] = []
    for number, source in enumerate(rows["source"].values.tolist()):
        own = rows.isel(source=number)
        if not np.isfinite(own["score"]).any():
            continue
        lowest = own.isel(start=int(np.nanargmin(own["score"])))
        label = token_label(str(own["token"].item())) if "token" in own.coords else None
        found.append(
            {
                **({"position": int(source), "token": label} if label else {"source": source}),
                **{name: int(lowest[name]) for name in ("start", "first_layer", "last_layer")},
                **{name: float(lowest[name]) for name in VALUES},
            }
        )
    return found


def print_summary(result: xr.Dataset) -> None:
    """Prompt, answer, what was cut, and for each source the window where the answer falls most, on stdout."""
    attrs = result.attrs
    lines = {
        "prompt": attrs["prompt"],
        "answer": attrs["answer"].strip() or repr(attrs["answer"]),
        "cut": cut_in_words(attrs),
        "clean": f"{probability(attrs['clean_score'])}, rank {attrs['clean_rank']}",
    }
    console = headed(lines)
    best = table("source", "layers", "score", "change", "still on top")
    for row in deepest(result):
        name = row.get("source") or f"{row['position']} {row['token']}"
        layers = f"{row['first_layer']} to {row['last_layer']}"
        change, hit = f"{row['change']:+.1f} %", "yes" if row["hit"] else "no"
        best.add_row(name, layers, probability(row["score"]), change, hit)
    console.print("\nwhere the answer falls most", best, sep="\n")


def as_json(result: xr.Dataset, files: Sequence[Path]) -> str:
    """The whole result, its lowest windows, and the files written, as one JSON object."""
    coords = {str(name): array.values.tolist() for name, array in result.coords.items()}
    described = {
        **result.attrs,
        "dims": [str(dim) for dim in result["score"].dims],
        **({"sources": coords.pop("source")} if "source" in coords else {}),
        **coords,
        **{name: result[name].values.tolist() for name in VALUES},
        "deepest": deepest(result),
        "files": [str(path) for path in files],
    }
    return json_object(described)
