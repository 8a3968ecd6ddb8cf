"""What `mambascope trace` prints: a short summary for people, or all of the result as JSON."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from mambascope.plots.labels import token_label

BEST = 5
ROLES = ("before", "subject_first", "subject_middle", "subject_last", "after", "last")


def best_cells(result: xr.Dataset, count: int = BEST) -> list[dict[str, Any]]:
    """The cells with the highest scores, best first; among equals the lower layer, then the earlier position."""
    score = result["score"].values
    order = np.argsort(-score, axis=None, kind="stable")[:count]
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
    return {name: float(score[:, role == name].mean()) for name in ROLES if (role == name).any()}


def print_summary(result: xr.Dataset) -> None:
    """Prompt, answer, clean and corrupted score, the best cells and the mean by role, on stdout."""
    attrs = result.attrs
    lines = {
        "prompt": attrs["prompt"],
        "answer": attrs["answer"].strip() or repr(attrs["answer"]),
        "restored": f"{attrs['site']} in {attrs['model']}",
        "clean": probability(attrs["clean_score"]),
        "corrupted": probability(attrs["corrupted_score"]),
    }
    console = Console(markup=False, emoji=False, highlight=False)
    for name, value in lines.items():
        console.print(f"{name:<11}{value}", soft_wrap=True)
    best = _table("layer", "token", "role", "score")
    for cell in best_cells(result):
        token, score = token_label(cell["token"]), probability(cell["score"])
        best.add_row(str(cell["layer"]), token, cell["role"], score)
    means = _table("role", "score")
    for role, mean in mean_by_role(result).items():
        means.add_row(role, probability(mean))
    console.print("\nbest cells", best, "\nmean by role", means, sep="\n")


def probability(value: float) -> str:
    """Three decimals, or two digits where those would all be zero."""
    return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1e}"


def as_json(result: xr.Dataset, files: Sequence[Path]) -> str:
    """The whole result, its best cells and means, and the files written, as one JSON object."""
    described = {
        **result.attrs,
        "tokens": result["token"].values.tolist(),
        "roles": result["role"].values.tolist(),
        "layers": result["layer"].values.tolist(),
        "score": result["score"].values.tolist(),
        "best": best_cells(result),
        "mean_by_role": mean_by_role(result),
        "files": [str(path) for path in files],
    }
    return json.dumps(_plain(described), ensure_ascii=False, allow_nan=False)


def other_answer(result: xr.Dataset) -> str:
    """The warning that the model would say something else."""
    attrs = result.attrs
    return (
        f"mambascope: warning: the model answers {attrs['top_answer']!r} here, not {attrs['answer']!r} "
        f"(probability {probability(attrs['clean_score'])})"
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, padding=(0, 3, 0, 0), header_style="dim")
