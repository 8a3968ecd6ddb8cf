"""The average heatmap: layers upwards, roles to the right; several models or sites side by side on one colour scale."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mambascope.plots.aggregate import COLOURS, Effects, common_limit, read_effects
from mambascope.plots.heatmap import tick_step

MOST_LAYERS = 32
MARK_COLOUR = "0.35"


def effect_heatmap(result: xr.Dataset, *others: xr.Dataset) -> Figure:
    """One panel for each aggregate of one site; a cross marks a cell that is not significant after correction.

    Panels are equally high, so models of different depth are seen by relative depth; each has its own layers.
    """
    panels = [read_effects(each) for each in (result, *others)]
    limit = common_limit(panels)
    columns = [len(panel.columns) for panel in panels]
    deepest = max(len(panel.layers) for panel in panels)
    size = (
        sum(max(4.2, 0.85 * n + 0.9) for n in columns) + 1.2,
        np.clip(0.27 * deepest + 2.6, 4.2, 14),
    )
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=columns)[0]
    for axes, panel in zip(grid, panels, strict=True):
        axes.pcolormesh(panel.effect, cmap=COLOURS, vmin=-limit, vmax=limit)
        _mark(axes, panel)
        _label(axes, panel)
    quantity = " / ".join(dict.fromkeys(panel.quantity for panel in panels))
    figure.colorbar(grid[0].collections[0], ax=list(grid), label=quantity, pad=0.015)
    note = f"layers upwards; × not significant (q ≥ {panels[0].level:g})"
    figure.supxlabel(note, fontsize=9, color="0.3")
    return figure


def _mark(axes: Any, panel: Effects) -> None:
    there = np.isfinite(panel.effect)
    rows, columns = np.nonzero(there & ~panel.significant)
    size = float(np.clip(500 / len(panel.layers), 8, 30))
    axes.scatter(columns + 0.5, rows + 0.5, marker="x", s=size, c=MARK_COLOUR, linewidths=0.8)


def _label(axes: Any, panel: Effects) -> None:
    step = tick_step(len(panel.layers), MOST_LAYERS)
    shown = range(0, len(panel.layers), step)
    axes.set_yticks([i + 0.5 for i in shown], [panel.layers[i] for i in shown])
    axes.set_ylabel("layer")
    labels = [
        f"{name.replace(' ', chr(10))}\n{count}"
        for name, count in zip(panel.names, panel.counts, strict=True)
    ]
    axes.set_xticks(np.arange(len(labels)) + 0.5, labels, fontsize=8)
    axes.set_xlim(0, len(labels))
    axes.set_ylim(0, len(panel.layers))
    axes.set_title(f"{panel.title}\n{panel.about}", fontsize=9, parse_math=False)
