"""The effect by layer, one line for each role or route, in the band of its interval."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mambascope.plots.aggregate import Effects, read_effects

BAND = 0.18  # opacity


def effect_lines(result: xr.Dataset) -> Figure:
    """The lines of one site's aggregate; a filled point is significant after correction, a hollow one is not."""
    effects = read_effects(result)
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    for column in range(len(effects.columns)):
        _line(axes, effects, column)
    axes.set_title(f"{effects.title}\n{effects.about}", fontsize=10, parse_math=False)
    axes.set_xlabel(f"layer (filled: q < {effects.level:g}, hollow: not significant)")
    axes.set_ylabel(effects.quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", fontsize=9, title=effects.kind, frameon=False)
    return figure


def _line(axes: Any, effects: Effects, column: int) -> None:
    colour, layers = effects.colours[column], effects.layers
    low, middle, high = (part[:, column] for part in (effects.low, effects.effect, effects.high))
    label = f"{effects.names[column]} ({effects.counts[column]})"
    axes.fill_between(layers, low, high, color=colour, alpha=BAND, linewidth=0)
    axes.plot(layers, middle, color=colour, linewidth=1.6, label=label)
    faces = [colour if is_real else "white" for is_real in effects.significant[:, column]]
    axes.scatter(layers, middle, s=20, c=faces, edgecolors=colour, linewidths=1.0, zorder=3)
