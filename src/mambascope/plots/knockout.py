"""Knockouts as figures: a curve for each source over windows of layers, or a heatmap of windows by token or role."""

import io
import textwrap
import warnings
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mambascope.errors import OutputError
from mambascope.plots.aggregate import COLOURS, OTHER_COLOURS
from mambascope.plots.heatmap import tick_step
from mambascope.plots.knockout_curves import Curves, read_knockout

BAND = 0.18  # opacity
TITLE = 100  # characters of a line
MARK_COLOUR = "0.35"
MOST_WINDOWS = 32
PANELS = 3


def knockout_figure(result: xr.Dataset) -> Figure:
    """Curves where sources were cut, with bands where there are intervals; a heatmap where every position was cut."""
    curves = read_knockout(result)
    return _heatmap(curves) if curves.grid else _lines(curves)


def knockout_png(result: xr.Dataset, dpi: int = 150) -> bytes:
    """The figure as a PNG file's content."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks shows as a box; the HTML figure has it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        knockout_figure(result).savefig(written, format="png", dpi=dpi)
    return written.getvalue()


def models_figure(*results: xr.Dataset, apart: str = "model") -> Figure:
    """One panel for each source, one curve for each model, over relative depth: where the middle of the window lies.

    results: aggregates of sources over the same facts (`shared_facts`, `mean_flow`), one for each model
    apart:   what tells the curves apart, where it is not the model: sweeps of one model by route, say
    """
    models = [read_knockout(result) for result in results]
    names = [name for name in models[0].names if all(name in each.names for each in models)]
    if any(each.grid for each in models) or not names:
        raise OutputError("models are compared by sources that all of them have")
    across = min(len(names), PANELS)
    down = -(-len(names) // across)
    figure = Figure(figsize=(4.1 * across + 2.4, 3.2 * down + 1.4), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, sharex=True, squeeze=False)
    for axes in panels.ravel()[len(names) :]:
        axes.set_axis_off()
    palette = (OTHER_COLOURS * len(models))[: len(models)]
    for number, (axes, name) in enumerate(zip(panels.ravel(), names, strict=False)):
        for colour, curves in zip(palette, models, strict=True):
            row = curves.names.index(name)
            label = None if number else curves.model
            axes.axhline(curves.clean, color=colour, linewidth=0.7, linestyle=":", zorder=0)
            _curve(axes, _depths(curves), curves, row, colour, label)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.xaxis.set_tick_params(labelbottom=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supylabel(models[0].quantity, fontsize=10)
    figure.supxlabel("depth of the window's middle (0 first layer, 1 last)", fontsize=10)
    about = f"{models[0].about.split(',')[0].split(';')[0]}; dotted: nothing cut"
    title = _common_title(models)
    figure.suptitle(f"{title}\n{about}", fontsize=10, parse_math=False)
    figure.legend(loc="outside right center", fontsize=9, title=apart, frameon=False)
    return figure


def _lines(curves: Curves) -> Figure:
    figure = Figure(figsize=(8.8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(
        curves.clean, color="0.6", linewidth=0.9, linestyle=":", zorder=0, label="nothing cut"
    )
    for row, (label, colour) in enumerate(zip(curves.labels, curves.colours, strict=True)):
        _curve(axes, curves.starts, curves, row, colour, label)
    _titles(figure, axes, curves)
    tested = "" if curves.q is None else f" (filled: q < {curves.level:g}, hollow: not significant)"
    axes.set_xlabel(f"start of the window of layers{tested}")
    axes.set_ylabel(curves.quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", fontsize=9, title=curves.across, frameon=False)
    return figure


def _curve(
    axes: Any, places: Any, curves: Curves, row: int, colour: str, label: str | None
) -> None:
    if curves.low is not None and curves.high is not None:
        low, high = curves.low[row], curves.high[row]
        axes.fill_between(places, low, high, color=colour, alpha=BAND, linewidth=0)
    style = "--" if curves.is_control[row] else "-"
    axes.plot(places, curves.value[row], color=colour, linewidth=1.6, linestyle=style, label=label)
    faces = [colour if real else "white" for real in curves.significant[row]]
    axes.scatter(
        places, curves.value[row], s=20, c=faces, edgecolors=colour, linewidths=1.0, zorder=3
    )


def _heatmap(curves: Curves) -> Figure:
    change, (count, windows) = curves.change.T, curves.value.shape
    size = (
        float(np.clip(0.5 * count + 3.4, 6.8, 26)),
        float(np.clip(0.3 * windows + 2.6, 4.0, 16)),
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    limit = float(np.nanmax(np.abs(change))) or 1e-6
    image = axes.pcolormesh(change, cmap=COLOURS, vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axes, label=curves.quantity, pad=0.015)
    rows, columns = np.nonzero(np.isfinite(change) & ~curves.significant.T)
    axes.scatter(columns + 0.5, rows + 0.5, marker="x", s=18, c=MARK_COLOUR, linewidths=0.8)
    step = tick_step(windows, MOST_WINDOWS)
    shown = range(0, windows, step)
    axes.set_yticks([place + 0.5 for place in shown], [curves.layers[place] for place in shown])
    axes.set_ylabel("layers that are cut")
    labels = axes.set_xticks(
        np.arange(count) + 0.5, curves.labels, rotation=45, ha="right", rotation_mode="anchor"
    )
    for tick in labels:
        tick.label1.set_parse_math(False)
    note = "" if curves.q is None else f"; × not significant (q ≥ {curves.level:g})"
    axes.set_xlabel(f"{curves.across}{note}")
    _titles(figure, axes, curves)
    return figure


def _titles(figure: Figure, axes: Any, curves: Curves) -> None:
    wide = int(TITLE * figure.get_figwidth() / 9)
    title, about = (
        textwrap.fill(text, width)
        for text, width in ((curves.title, int(wide * 0.75)), (curves.about, wide))
    )
    figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
    axes.set_title(about, fontsize=9, parse_math=False)


def _depths(curves: Curves) -> np.ndarray:
    """The middle of each window, 0 being the first layer and 1 the last."""
    ends = [[int(end) for end in span.split(" to ")] for span in curves.layers]
    middles = np.array([(each[0] + each[-1]) / 2 for each in ends])
    return middles / max(curves.depth - 1, 1)


def _common_title(models: list[Curves]) -> str:
    """What was cut, as far as it is the same in all."""
    parts = [each.title.split(", ") for each in models]
    return ", ".join(part for part in parts[0] if all(part in other for other in parts))
