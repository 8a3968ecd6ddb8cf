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
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"prompt     {attrs['prompt']}", soft_wrap=True)
    console.print(f"answer     {attrs['answer'].strip()}", soft_wrap=True)
    console.print(f"restored   {attrs['site']} in {attrs['model']}", soft_wrap=True)
    console.print(f"clean      {attrs['clean_score']:.3f}")
    console.print(f"corrupted  {attrs['corrupted_score']:.3f}\n")
    best = Table("layer", "token", "role", "score", title="best cells", title_justify="left")
    for cell in best_cells(result):
        token = token_label(cell["token"])
        best.add_row(str(cell["layer"]), token, cell["role"], f"{cell['score']:.3f}")
    console.print(best)
    means = Table("role", "mean score", title="mean by role", title_justify="left")
    for role, mean in mean_by_role(result).items():
        means.add_row(role, f"{mean:.3f}")
    console.print(means)


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
        f"(probability {attrs['clean_score']:.3f})"
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
