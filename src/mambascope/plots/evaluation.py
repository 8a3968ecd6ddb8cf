"""Capability figure: what share of the questions of each category a model answers, as bars with intervals."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mambascope.errors import OutputError
from mambascope.results.schema import CAPABILITY, conform

TITLES = {
    "exact": "exact match",
    "f1": "F1",
    "contained": "answer contained",
    "first_token": "first token on top",
    "reciprocal_rank": "reciprocal rank of the first token",
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GROUP = 0.8  # of the space between two categories


def capability_figure(
    *evaluations: xr.Dataset, scores: Sequence[str] = ("exact", "f1", "contained")
) -> Figure:
    """One panel for each score, in it one bar for each category and evaluation; whiskers are the intervals.

    evaluations: what `by_category` gives
    Raises OutputError for scores that are not between 0 and 1.
    """
    for evaluation in evaluations:
        conform(evaluation, CAPABILITY)
    unknown = [score for score in scores if score not in TITLES]
    if unknown:
        raise OutputError(f"{unknown[0]!r} is no score to draw; these are: {', '.join(TITLES)}")
    names = list(dict.fromkeys(n for e in evaluations for n in e["category"].values.tolist()))
    names.sort(key=lambda name: name == "all")
    figure = Figure(
        figsize=(max(5.0, 1.25 * len(names)), 2.4 * len(scores) + 0.8), layout="constrained"
    )
    panels = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    for panel, score in zip(panels, scores, strict=True):
        for number, evaluation in enumerate(evaluations):
            _bars(panel, evaluation.sel(score=score), names, number, len(evaluations))
        panel.set(ylim=(0, 1), ylabel=TITLES[score])
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xticks(range(len(names)), [_tick(name, evaluations) for name in names])
    level = evaluations[0].attrs["confidence"]
    panels[0].set_title(f"mean over questions, {100 * level:g} % intervals", loc="left", fontsize=9)
    named = panels[0].get_legend_handles_labels()
    figure.legend(*named, frameon=False, fontsize=8, ncols=2, loc="outside upper right")
    return figure


def _bars(
    panel: Axes, evaluation: xr.Dataset, names: Sequence[str], number: int, count: int
) -> None:
    width = GROUP / count
    own = evaluation.reindex(category=list(names))
    mean, low, high = (own[part].values for part in ("mean", "low", "high"))
    places = np.arange(len(names)) - GROUP / 2 + width * (number + 0.5)
    whiskers = np.abs(np.stack([mean - low, high - mean]))
    panel.bar(
        places,
        np.nan_to_num(mean),
        width * 0.92,
        yerr=np.nan_to_num(whiskers),
        color=COLOURS[number % len(COLOURS)],
        error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "#444444"},
        label=evaluation.attrs["label"],
    )


def _tick(name: str, evaluations: Sequence[xr.Dataset]) -> str:
    counts = [
        int(e["n"].sel(category=name).max()) for e in evaluations if name in e["category"].values
    ]
    return f"{name.replace('_', chr(10))}\nn = {max(counts)}"
