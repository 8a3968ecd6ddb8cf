"""What `mambascope attention` prints: a short summary for people, or all of the result as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mambascope.cli.printing import headed, json_object, table
from mambascope.plots.labels import token_label

MOST_READ = 3


def most_read(result: xr.Dataset, count: int = MOST_READ) -> list[dict[str, Any]]:
    """By layer, what the last token reads most of other tokens: the largest absolute values, of the mean over units if there
    are several; with the sign where there is one map.
    """
    last = result["attention"].isel(target=-1)
    if last.ndim == 3:
        last = abs(last).mean(str(last.dims[-1]))
    tokens = result["source_token"].values
    found = []
    for layer, row in zip(result["layer"].values, last.values, strict=True):
        order = np.argsort(-np.abs(row[:-1]), kind="stable")[:count]
        found += [
            {
                "layer": int(layer),
                "position": int(place),
                "token": str(tokens[place]),
                "value": float(row[place]),
            }
            for place in order
        ]
    return found


def held(retention: xr.Dataset, spectrum: xr.Dataset) -> list[dict[str, Any]]:
    """By layer: the median half-life, and the token of which most survives, with its part of the last state's norm."""
    surviving = retention["surviving"].values / retention["state_norm"].values[:, None]
    lives = np.median(spectrum["half_life"].values.reshape(len(surviving), -1), axis=1)
    best = surviving.argmax(1)
    return [
        {
            "layer": int(layer),
            "half_life": float(life),
            "position": int(place),
            "token": str(retention["token"].values[place]),
            "surviving": float(row[place]),
        }
        for layer, life, place, row in zip(
            retention["layer"].values, lives, best, surviving, strict=True
        )
    ]


def print_summary(result: xr.Dataset, memory: Mapping[str, xr.Dataset]) -> None:
    """Prompt and model, what the last token reads in each layer, and what each layer's state holds, on stdout."""
    attrs = result.attrs
    rollout = ", rollout" if attrs["rollout"] else ""
    lines = {
        "prompt": attrs["prompt"],
        "model": attrs["model"],
        "map": f"{attrs['span']}, {attrs['reduce']}{rollout}",
    }
    console = headed(lines)
    reads = table("layer", "token", "position", "value")
    for row in most_read(result):
        reads.add_row(
            str(row["layer"]),
            token_label(row["token"]),
            str(row["position"]),
            f"{row['value']:.3g}",
        )
    console.print("\nwhat the last token reads most of the others", reads, sep="\n")
    if memory:
        holds = table("layer", "half-life", "holds most of", "position", "part of the state's norm")
        for row in held(memory["retention"], memory["half_lives"]):
            life, label = f"{row['half_life']:.3g}", token_label(row["token"])
            holds.add_row(
                str(row["layer"]), life, label, str(row["position"]), f"{row['surviving']:.3g}"
            )
        console.print("\nwhat the last state holds (median half-life in tokens)", holds, sep="\n")


def as_json(result: xr.Dataset, memory: Mapping[str, xr.Dataset], files: Sequence[Path]) -> str:
    """The maps, what the last token reads, what the states hold, and the files written, as one JSON object."""
    retention = memory.get("retention")
    described: dict[str, Any] = {
        **result.attrs,
        "tokens": result["source_token"].values.tolist(),
        "layers": result["layer"].values.tolist(),
        "dims": [str(dim) for dim in result["attention"].dims],
        "attention": result["attention"].values.tolist(),
        "most_read": most_read(result),
    }
    if retention is not None:
        names = ("surviving", "written", "share", "half_life", "state_norm")
        described["retention"] = {name: retention[name].values.tolist() for name in names}
        described["held"] = held(retention, memory["half_lives"])
    described["files"] = [str(path) for path in files]
    return json_object(described)
