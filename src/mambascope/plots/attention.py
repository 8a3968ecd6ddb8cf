"""Effective attention as heatmaps: a panel per layer, what is read across, who reads it down."""

import io
import textwrap
import warnings
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mambascope.plots.attention_maps import AttentionMaps, Panel, read_attention
from mambascope.plots.heatmap import tick_step

COLUMNS = 4
MOST_LABELS = 40
CELL, SMALLEST, LARGEST = 0.2, 2.6, 7.0  # inches: of a token, and of a panel's side


def attention_figure(result: xr.Dataset) -> Figure:
    """The panels as a matplotlib figure, sized to the prompt."""
    maps = read_attention(result)
    columns = min(COLUMNS, len(maps.panels))
    rows = -(-len(maps.panels) // columns)
    side = float(np.clip(CELL * len(maps.tokens), SMALLEST, LARGEST))
    figure = Figure(
        figsize=((side + 0.6) * columns + 0.8, (side + 0.5) * rows + 1.6), layout="constrained"
    )
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(maps.panels):
            axes.set_axis_off()
            continue
        lowest = number + columns >= len(maps.panels)
        _draw(figure, axes, maps, maps.panels[number], left=number % columns == 0, lowest=lowest)
    title = textwrap.fill(maps.prompt, max(30, int(11 * figure.get_figwidth())))
    figure.suptitle(f"{title}\n{maps.what}", fontsize=11, parse_math=False)
    figure.supxlabel("source: the token that is read", fontsize=10)
    figure.supylabel("target: the token that reads", fontsize=10)
    return figure


def attention_png(result: xr.Dataset, dpi: int = 130) -> bytes:
    """The panels as a PNG file's content."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks shows as a box; the HTML figure has it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        attention_figure(result).savefig(written, format="png", dpi=dpi)
    return written.getvalue()


def _draw(
    figure: Figure, axes: Any, maps: AttentionMaps, panel: Panel, *, left: bool, lowest: bool
) -> None:
    image = axes.imshow(
        panel.values,
        cmap=maps.colours,
        vmin=panel.low,
        vmax=panel.high,
        interpolation="nearest",
        aspect="equal",
    )
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).ax.tick_params(labelsize=6)
    axes.set_title(f"layer {panel.layer}", fontsize=9)
    axes.set_facecolor("0.96")
    places = range(0, len(maps.tokens), tick_step(len(maps.tokens), MOST_LABELS))
    labels = [maps.labels[place] for place in places]
    axes.set_xticks(places, labels if lowest else [], rotation=90, fontsize=7, parse_math=False)
    axes.set_yticks(places, labels if left else [], fontsize=7, parse_math=False)
    axes.tick_params(length=2)
