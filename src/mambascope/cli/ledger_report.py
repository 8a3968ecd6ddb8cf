"""What `mambascope ledger` prints: the cells with the largest total, term by term, or all of the result as JSON."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mambascope.cli import trace_report
from mambascope.cli.printing import headed, json_object, probability, table
from mambascope.results.ledger import terms

BEST = 8


def largest_cells(result: xr.Dataset, count: int = BEST) -> list[dict[str, Any]]:
    """The confirmed cells whose total is largest either way, each with its terms; among equals the lower layer first."""
    parts = terms(result, "single")
    total = np.abs(result["total"].values).ravel()
    order = np.argsort(-total, kind="stable")[:count]
    order = order[np.isfinite(total[order])]
    return [
        {
            "layer": int(result["layer"][layer]),
            "source": str(result["source"].values[source]),
            **{str(term): float(parts.values[layer, source, i]) for i, term in enumerate(parts.term.values)},
        }
        for layer, source in zip(*np.unravel_index(order, result["total"].shape), strict=True)
    ]  # fmt: skip


def clean_probability(result: xr.Dataset) -> float:
    """The answer's probability with nothing changed, whatever the ledger measures."""
    score = result.attrs["clean_score"]
    return math.exp(score) if result.attrs["measure"] == "log_probability" else score


def other_answer(result: xr.Dataset) -> str:
    """The warning that the model would say something else."""
    return trace_report.other_answer(result.assign_attrs(clean_score=clean_probability(result)))


def print_summary(result: xr.Dataset) -> None:
    """Prompt, answer, what each source is worth in all layers, and the cells with the largest total, on stdout."""
    attrs = result.attrs
    lines = {
        "prompt": attrs["prompt"],
        "answer": attrs["answer"].strip() or repr(attrs["answer"]),
        "model": attrs["model"],
        "clean": probability(clean_probability(result)),
        "measure": f"fall of the answer's {attrs['measure'].replace('_', '-')}, in {attrs['unit']}",
    }
    console = headed(lines)
    whole = table("source", "positions", "fall")
    for part in (result.isel(source=number) for number in range(result.sizes["source"])):
        source, positions = (str(part[name].values) for name in ("source", "positions"))
        whole.add_row(source, positions, f"{part['whole'].item():.3f}")
    console.print("\nthe target reads nothing of the source in any layer", whole, sep="\n")
    cells = largest_cells(result)
    best = table(*cells[0])
    best.padding = (0, 1, 0, 0)  # all terms within 80 columns
    for cell in cells:
        best.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in cell.values()))
    console.print("\nlargest cells, route by route", best, sep="\n")
    confirmed, agreement = result["confirmed"].values, attrs["agreement_total"]
    known = (
        "" if math.isnan(agreement) else f"; screened and exact totals correlate at {agreement:.2f}"
    )
    console.print(f"\n{confirmed.sum()} of {confirmed.size} cells confirmed{known}")


def as_json(result: xr.Dataset, files: Sequence[Path]) -> str:
    """The whole result, its largest cells, and the files written, as one JSON object."""
    described = {
        **result.attrs,
        **{f"{name}s": result[name].values.tolist() for name in ("layer", "source", "route")},
        "positions": result["positions"].values.tolist(),
        **{str(name): values.values.tolist() for name, values in result.data_vars.items()},
        "largest": largest_cells(result),
        "files": [str(path) for path in files],
    }
    return json_object(described)
