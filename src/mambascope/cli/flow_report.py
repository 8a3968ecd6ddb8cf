"""What `mambascope show` tells of a sweep of knockouts, and `mambascope compare` of several: where the answer falls most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table

from mambascope.cli.printing import headed_sweep, json_object, probability, table
from mambascope.results.wording import cut_in_words


def lowest(flow: xr.Dataset) -> list[dict[str, Any]]:
    """For each source, or role, the window where the mean is lowest, with its interval; of a difference, where it is largest."""
    dim = "role" if "role" in flow.dims else "source"
    found: list[dict[str, Any]] = []
    for name in flow[dim].values.tolist():
        own = flow.sel({dim: name})
        if not np.isfinite(own["effect"]).any():
            continue
        far = flow.attrs["statistic"] == "model_difference"
        order = -np.abs(own["effect"]) if far else own["effect"]
        cell = own.isel(start=int(np.nanargmin(order)))
        numbers = {part: float(cell[part]) for part in ("effect", "low", "high", "q")}
        layers = {part: int(cell[part]) for part in ("start", "first_layer", "last_layer")}
        found.append({dim: name, **layers, **numbers, "n": int(cell["n"])})
    return found


def print_summary(result: xr.Dataset, flow: xr.Dataset, folder: Path) -> None:
    """Counts, what was cut, and for each source the window where the answer falls most, on stdout."""
    attrs = result.attrs
    counts = f"{result.sizes['fact_id']} cut, {attrs['skipped']} skipped, {attrs['failed']} failed"
    known = (
        ""
        if flow.attrs["rank"] == "any"
        else f"; {flow.attrs['facts']} of rank {flow.attrs['rank']}"
    )
    lines = {
        "cut": cut_in_words(attrs),
        "facts": counts + known,
        "clean": f"{probability(float(result['clean_score'].mean()))} (mean)",
    }
    console = headed_sweep(lines, folder)
    console.print(
        f"\nwhere the answer falls most ({flow.attrs['unit']})", lowest_table(flow), sep="\n"
    )


def lowest_table(flow: xr.Dataset) -> Table:
    """`lowest` as a table."""
    interval = f"{100 * flow.attrs['confidence']:g} % interval"
    found = table("source", "facts", "layers", "mean", interval, "q")
    for row in lowest(flow):
        name = row.get("source") or row["role"]
        layers, ends = (
            f"{row['first_layer']} to {row['last_layer']}",
            f"{row['low']:.3f} to {row['high']:.3f}",
        )
        found.add_row(name, str(row["n"]), layers, f"{row['effect']:.3f}", ends, f"{row['q']:.2g}")
    return found


def as_json(result: xr.Dataset, flow: xr.Dataset, files: Sequence[Path]) -> str:
    """Attributes, counts, the whole curves, their lowest windows and the files written, as one JSON object."""
    described = {
        **result.attrs,
        "cut": result.sizes["fact_id"],
        "clean_score": float(result["clean_score"].mean()),
        "flow": curves(flow),
        "files": [str(path) for path in files],
    }
    return json_object(described)


def curves(flow: xr.Dataset) -> dict[str, Any]:
    """An aggregate as plain values."""
    arrays = {str(name): array.values.tolist() for name, array in flow.variables.items()}
    told = {name: flow.attrs[name] for name in ("quantity", "unit", "facts", "clean", "rank")}
    return {**told, **arrays, "confidence": flow.attrs["confidence"], "lowest": lowest(flow)}
