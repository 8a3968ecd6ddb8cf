"""What `mambascope trace` prints: a short summary for people, or all of the result as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mambascope.cli.printing import headed, json_object, probability, table
from mambascope.plots.labels import token_label
from mambascope.results.schema import ROLES, by_site

BEST = 5


def best_cells(result: xr.Dataset, count: int = BEST) -> list[dict[str, Any]]:
    """The cells where the exchange did most, best first: the highest scores after restoring, the lowest after corrupting.

    Among equals the lower layer, then the earlier position; cells without a score never.
    """
    score = result["score"].values
    sign = -1 if result.attrs["direction"] == "restore" else 1
    order = np.argsort(sign * score, axis=None, kind="stable")[:count]
    order = order[~np.isnan(score.flat[order])]
    layers, positions = np.unravel_index(order, score.shape)
    return [
        {
            "layer": int(result["layer"][layer]),
            "position": int(position),
            "token": str(result["token"].values[position]),
            "role": str(result["role"].values[position]),
            "score": float(score[layer, position]),
        }
        for layer, position in zip(layers, positions, strict=True)
    ]


def mean_by_role(result: xr.Dataset) -> dict[str, float]:
    """The mean score over all layers and all positions of each role, in the order of the prompt."""
    role = result["role"].values
    score = result["score"].values
    return {
        name: float(np.nanmean(score[:, role == name]))
        for name in ROLES
        if np.isfinite(score[:, role == name]).any()
    }


def print_summary(result: xr.Dataset) -> None:
    """Prompt, answer, clean and corrupted score, and for each site the best cells and the mean by role, on stdout."""
    attrs = result.attrs
    done = "restored" if attrs["direction"] == "restore" else "exchanged"
    lines = {
        "prompt": attrs["prompt"],
        "answer": attrs["answer"].strip() or repr(attrs["answer"]),
        done: f"{attrs['site']} in {attrs['model']}",
        "clean": probability(attrs["clean_score"]),
        "corrupted": probability(attrs["corrupted_score"]),
    }
    console = headed(lines)
    parts = by_site(result)
    for part in parts:
        best = table("layer", "token", "role", "score")
        for cell in best_cells(part):
            token, score = token_label(cell["token"]), probability(cell["score"])
            best.add_row(str(cell["layer"]), token, cell["role"], score)
        means = table("role", "score")
        for role, mean in mean_by_role(part).items():
            means.add_row(role, probability(mean))
        of = f" of {part.attrs['site']}" if len(parts) > 1 else ""
        console.print(f"\nbest cells{of}", best, "\nmean by role", means, sep="\n")


def as_json(result: xr.Dataset, files: Sequence[Path]) -> str:
    """The whole result, its best cells and means, and the files written, as one JSON object."""
    several = "site" in result.dims
    parts = {part.attrs["site"]: _scores(part) for part in by_site(result)}
    described = {
        **result.attrs,
        "tokens": result["token"].values.tolist(),
        "roles": result["role"].values.tolist(),
        "layers": result["layer"].values.tolist(),
        **({"sites": parts} if several else parts[result.attrs["site"]]),
        "files": [str(path) for path in files],
    }
    return json_object(described)


def _scores(part: xr.Dataset) -> dict[str, Any]:
    return {
        "score": part["score"].values.tolist(),
        "best": best_cells(part),
        "mean_by_role": mean_by_role(part),
    }


def other_answer(result: xr.Dataset) -> str:
    """The warning that the model would say something else."""
    attrs = result.attrs
    return (
        f"mambascope: warning: the model answers {attrs['top_answer']!r} here, not {attrs['answer']!r} "
        f"(probability {probability(attrs['clean_score'])})"
    )
