"""What `mambascope show` tells of a sweep: counts, the mean effect by role, the best layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console

from mambascope.cli.printing import headed_sweep, json_object, probability, table

BEST = 5


def by_role(effects: xr.Dataset) -> list[dict[str, Any]]:
    """For each role that any fact has: the mean effect over all layers, and the layer where it is largest."""
    found = []
    for role in effects["role"].values.tolist():
        own = effects.sel(role=role)
        if np.isfinite(own["effect"]).any():
            peak = own.isel(layer=int(np.nanargmax(own["effect"])))
            found.append({"mean": float(own["effect"].mean()), **_cell(peak)})
    return found


def best_layers(effects: xr.Dataset, count: int = BEST) -> list[dict[str, Any]]:
    """The layers and roles with the largest mean effect, best first."""
    flat = effects.stack(cell=("layer", "role")).dropna("cell", subset=["effect"])
    order = np.argsort(-flat["effect"].values, kind="stable")[:count]
    return [_cell(flat.isel(cell=int(place))) for place in order]


def print_summary(result: xr.Dataset, effects: xr.Dataset, folder: Path) -> None:
    """Counts, scores, and for each site the mean effect by role and the best layers, on stdout."""
    attrs, traced = result.attrs, result.sizes["fact_id"]
    done = "restored" if attrs["direction"] == "restore" else "exchanged"
    lines = {
        "model": attrs["model"],
        done: ", ".join(result["site"].values.tolist()),
        "facts": f"{traced} traced, {attrs['skipped']} skipped, {attrs['failed']} failed",
        "clean": f"{probability(float(result['clean_score'].mean()))} (mean)",
        "corrupted": f"{probability(float(result['corrupted_score'].mean()))} (mean)",
    }
    console = headed_sweep(lines, folder)
    interval = f"{100 * effects.attrs['confidence']:g} % interval"
    for site in effects["site"].values.tolist():
        _print_site(console, effects.sel(site=site), interval, site)


def as_json(result: xr.Dataset, effects: xr.Dataset, files: Sequence[Path]) -> str:
    """Attributes, counts, effects by role, best layers and the files written, as one JSON object."""
    sites = {
        site: {
            "by_role": by_role(effects.sel(site=site)),
            "best": best_layers(effects.sel(site=site)),
        }
        for site in effects["site"].values.tolist()
    }
    described = {
        **result.attrs,
        "traced": result.sizes["fact_id"],
        "clean_score": float(result["clean_score"].mean()),
        "corrupted_score": float(result["corrupted_score"].mean()),
        "unit": effects.attrs["unit"],
        "confidence": effects.attrs["confidence"],
        "sites": sites,
        "files": [str(path) for path in files],
    }
    return json_object(described)


def _print_site(console: Console, effects: xr.Dataset, interval: str, site: str) -> None:
    roles = table("role", "facts", "all layers", "best layer", "effect", interval)
    for row in by_role(effects):
        mean, effect = f"{row['mean']:.3f}", f"{row['effect']:.3f}"
        roles.add_row(row["role"], str(row["n"]), mean, str(row["layer"]), effect, _ends(row))
    best = table("layer", "role", "effect", interval, "q")
    for row in best_layers(effects):
        effect, q = f"{row['effect']:.3f}", f"{row['q']:.2g}"
        best.add_row(str(row["layer"]), row["role"], effect, _ends(row), q)
    unit = effects.attrs["unit"]
    console.print(f"\nmean effect of {site} by role ({unit})", roles, sep="\n")
    console.print(f"\nbest layers of {site}", best, sep="\n")


def _cell(cell: xr.Dataset) -> dict[str, Any]:
    numbers = {name: float(cell[name]) for name in ("effect", "low", "high", "q")}
    return {
        "layer": int(cell["layer"]),
        "role": str(cell["role"].item()),
        **numbers,
        "n": int(cell["n"]),
    }


def _ends(row: dict[str, Any]) -> str:
    return f"{row['low']:.3f} to {row['high']:.3f}"
