"""What `mambascope show` tells of a sweep of ledgers: for each source the layer of the largest total, and of each route."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console

from mambascope.cli.ledger_report import clean_probability
from mambascope.cli.printing import headed_sweep, json_object, probability, table
from mambascope.results.schema import CONTROL


def largest(mean: xr.Dataset) -> list[dict[str, Any]]:
    """For each source and term the layer where its mean is largest either way, with all that is known of that cell."""
    found: list[dict[str, Any]] = []
    for source in mean["source"].values.tolist():
        for term in mean["term"].values.tolist():
            own = mean.sel(source=source, term=term)
            cell = own.isel(layer=int(np.nanargmax(np.abs(own["effect"].values))))
            numbers = {str(name): value.item() for name, value in cell.data_vars.items()}
            found.append({"source": source, "term": term, "layer": int(cell["layer"]), **numbers})
    return found


def print_summary(result: xr.Dataset, mean: xr.Dataset, folder: Path) -> None:
    """Counts, and the largest layers with their controls, on stdout."""
    attrs = result.attrs
    measure = attrs["measure"].replace("_", "-")
    lines = {
        "model": attrs["model"],
        "facts": f"{result.sizes['fact_id']} entered, {attrs['skipped']} skipped, {attrs['failed']} failed",
        "clean": f"{probability(_clean(result))} (mean)",
        "measure": f"fall of the answer's {measure}, in {attrs['unit']}",
    }
    console = headed_sweep(lines, folder)
    _print_totals(console, mean)
    _print_terms(console, mean)


def as_json(result: xr.Dataset, mean: xr.Dataset, files: Sequence[Path]) -> str:
    """Attributes, counts, the whole mean ledger, its largest layers and the files written, as one JSON object."""
    arrays = {str(name): array.values.tolist() for name, array in mean.variables.items()}
    described = {
        **result.attrs,
        "entered": result.sizes["fact_id"],
        "clean": _clean(result),
        "confidence": mean.attrs["confidence"],
        "mean": arrays,
        "largest": largest(mean),
        "files": [str(path) for path in files],
    }
    return json_object(described)


def _print_totals(console: Console, mean: xr.Dataset) -> None:
    """All routes of one layer together, beside as many random other positions."""
    interval = f"{100 * mean.attrs['confidence']:g} % interval"
    totals = table("source", "facts", "layer", "total", interval, "q", "- random", "q")
    totals.padding = (0, 1, 0, 0)
    for row in largest(mean):
        if row["term"] == "total" and not row["source"].startswith(CONTROL):
            beside = [f"{row['above_effect']:.3f}", f"{row['above_q']:.2g}"]
            told = [row["source"], str(row["n"]), str(row["layer"]), f"{row['effect']:.3f}"]
            ends = f"{row['low']:.3f} to {row['high']:.3f}"
            known = beside if row["above_n"] else ["", ""]
            totals.add_row(*told, ends, f"{row['q']:.2g}", *known)
    console.print("\nthe largest mean total of each source", totals, sep="\n")


def _print_terms(console: Console, mean: xr.Dataset) -> None:
    """Each term of each source in the layer where it is largest."""
    names = mean["term"].values.tolist()
    terms = table("source", *names)
    terms.padding = (0, 1, 0, 0)
    cells = {(row["source"], row["term"]): row for row in largest(mean)}
    for source in dict.fromkeys(source for source, _ in cells if not source.startswith(CONTROL)):
        own = [cells[source, name] for name in names]
        terms.add_row(source, *(f"{row['effect']:.2f} @{row['layer']}" for row in own))
    console.print("\nthe largest mean of each term, @ its layer", terms, sep="\n")


def _clean(result: xr.Dataset) -> float:
    """The mean over facts of the answer's probability with nothing changed, whatever the ledgers measure."""
    facts = result["clean_score"].values.tolist()
    return float(
        np.mean([clean_probability(result.assign_attrs(clean_score=score)) for score in facts])
    )
