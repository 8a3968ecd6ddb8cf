"""The evaluations behind findings about what the models can answer, with their tables and the figure.

    python scripts/findings/evaluation.py runs --questions questions.parquet [--smollm2 FILE] [--figures docs/images]

Asks each model the 600 made prompts and the questions of a table (`mambascope dataset build`), into a folder of its own under
`runs` (one that is finished costs nothing), then prints the tables in Markdown and draws the figure.
"""

import argparse
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import xarray as xr
from _shared import run
from matplotlib.figure import Figure

import mambascope as ms
from mambascope.data.prompts import make_prompts
from mambascope.methods.evaluation.aggregate import by_category, paired
from mambascope.plots.effect_files import png
from mambascope.plots.evaluation import capability_figure

ATLAS = ("atlas-mamba1", "atlas-mamba2", "atlas-transformer")
SCORES = ("exact", "f1", "contained", "first_token")


def main() -> None:
    """Run what is missing, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--figures", type=Path)
    chosen = parser.parse_args()
    models = {name: (name, "line") for name in ATLAS}
    if chosen.smollm2:
        models["smollm2"] = (str(chosen.smollm2), "lines")
    asked = ["--prompts", "both", "--questions", str(chosen.questions)]
    for name, (model, form) in models.items():
        target = ["--form", form, "--out", str(chosen.runs / name)]
        run(["evaluate", "--model", model, *asked, *target], chosen.workers)
    found = {name: ms.open_results(chosen.runs / name).assign_attrs(model=name) for name in models}
    means = [by_category(result) for result in found.values()]
    print(*means_table(means, chance()), sep="\n")
    print("\n", *differences_table({name: found[name] for name in ATLAS}), sep="\n")
    if chosen.figures:
        path = chosen.figures / "findings-evaluation.png"
        path.write_bytes(png(figure(means, chance())))


def chance() -> dict[str, float]:
    """What naming any answer of the right kind in the prompt would get, by level."""
    shares: dict[str, list[float]] = {}
    for prompt in make_prompts():
        rivals = re.search(r"1 of (\d+) of its kind", prompt.reason or "")
        assert rivals is not None and prompt.category is not None
        shares.setdefault(prompt.category, []).append(1 / int(rivals[1]))
    return {name: float(np.mean(own)) for name, own in shares.items()}


def means_table(means: list[xr.Dataset], by_chance: dict[str, float]) -> Iterator[str]:
    """By category and model, the scores that lie between 0 and 1, the log-probability, and chance."""
    yield f"| category | n | model | {' | '.join(SCORES)} | logprob | chance |"
    yield "|---|---|---|" + "---|" * (len(SCORES) + 2)
    for category in means[0]["category"].values.tolist():
        guess = f"{by_chance[category]:.2f}" if category in by_chance else ""
        for mean in means:
            own = mean.sel(category=category)
            cells = [_cell(own.sel(score=score)) for score in (*SCORES, "logprob")]
            n = int(own["n"].max())
            yield f"| {category} | {n} | {mean.attrs['model']} | {' | '.join(cells)} | {guess} |"


def differences_table(found: dict[str, xr.Dataset]) -> Iterator[str]:
    """Each two models that were asked in one form, question by question, in exact match."""
    yield "| category | second minus first | n | exact (95 %) | q |"
    yield "|---|---|---|---|---|"
    for one, other in combinations(found, 2):
        difference = paired(found[one], found[other]).sel(score="exact")
        for category in difference["category"].values.tolist():
            own = difference.sel(category=category)
            effect, low, high = (float(own[part]) for part in ("effect", "low", "high"))
            shown = f"{effect:+.2f} ({low:+.2f} to {high:+.2f}) | {float(own['q']):.2g}"
            yield f"| {category} | {other} minus {one} | {int(own['n'])} | {shown} |"


def _cell(own: xr.Dataset) -> str:
    mean, low, high = (float(own[part]) for part in ("mean", "low", "high"))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def figure(means: list[xr.Dataset], by_chance: dict[str, float]) -> Figure:
    """Bars of exact match and containment on the made prompts, chance as a line across each group."""
    levels = [name for name in means[0]["category"].values.tolist() if name in by_chance]
    drawn = capability_figure(
        *(mean.sel(category=levels) for mean in means), scores=("exact", "contained")
    )
    for panel in drawn.axes:
        for place, name in enumerate(levels):
            panel.hlines(
                by_chance[name], place - 0.45, place + 0.45, color="black", linestyle=":", zorder=4
            )
    return drawn


if __name__ == "__main__":
    main()
