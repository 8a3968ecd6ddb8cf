"""What a Mamba's states remember, as figures: what survives of each token, and how long entries of the state live."""

import io
import textwrap
import warnings
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mambascope.plots.heatmap import tick_step
from mambascope.plots.memory_values import read_retention, read_spectrum

MOST_LABELS = 48
COLOURS = "viridis"


def retention_figure(result: xr.Dataset) -> Figure:
    """One curve per layer: the norm of what survives of each token, in parts of the last state's norm, on a log axis."""
    read = read_retention(result)
    width = float(np.clip(0.34 * len(read.labels) + 3.0, 7.0, 24))
    figure = Figure(figsize=(width, 5.0), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps[COLOURS]
    scale = Normalize(min(read.layers), max(max(read.layers), min(read.layers) + 1))
    for layer, curve in zip(read.layers, read.relative, strict=True):
        axes.plot(curve, color=colours(scale(layer)), marker="o", markersize=3, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylim(read.floor, 2.0)
    axes.set_ylabel("norm of what survives at the end,\nin parts of the state's norm")
    places = range(0, len(read.labels), tick_step(len(read.labels), MOST_LABELS))
    labels = [read.labels[place] for place in places]
    axes.set_xticks(
        places, labels, rotation=60, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_xlabel("token that wrote it")
    axes.spines[["top", "right"]].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, label="layer", pad=0.01)
    bar.locator = MaxNLocator(integer=True)
    _title(figure, read.prompt, f"what the last state still holds of each token, {read.model}")
    return figure


def spectrum_figure(result: xr.Dataset) -> Figure:
    """Half-lives by layer as a histogram on a log axis; the line is the median, the dashed line the prompt's length."""
    read = read_spectrum(result)
    figure = Figure(
        figsize=(8.0, float(np.clip(0.27 * len(read.layers) + 2.4, 3.8, 16))), layout="constrained"
    )
    axes = figure.add_subplot()
    rows = np.arange(len(read.layers) + 1)
    image = axes.pcolormesh(read.edges, rows, read.shares, cmap="Purples", vmin=0)
    figure.colorbar(image, ax=axes, label=f"share of the layer's {read.unit}", pad=0.015)
    axes.plot(
        read.medians, rows[:-1] + 0.5, color="#d55e00", marker="o", markersize=3, linewidth=1.2
    )
    axes.axvline(read.tokens, color="0.25", linestyle="--", linewidth=1.0)
    axes.set_xscale("log")
    step = tick_step(len(read.layers), 32)
    axes.set_yticks(rows[:-1:step] + 0.5, [str(layer) for layer in read.layers[::step]])
    axes.set_ylabel("layer")
    axes.set_xlabel(
        "half-life in tokens at the prompt's mean dt (orange: median; dashed: the prompt's length)"
    )
    _title(figure, read.prompt, f"how long the state lives, {read.model}")
    return figure


def retention_png(result: xr.Dataset) -> bytes:
    """The curves as a PNG file's content."""
    return _png(retention_figure(result))


def spectrum_png(result: xr.Dataset) -> bytes:
    """The spectra as a PNG file's content."""
    return _png(spectrum_figure(result))


def _title(figure: Figure, prompt: str, what: str) -> None:
    wrapped = textwrap.fill(prompt, max(30, int(11 * figure.get_figwidth())))
    figure.suptitle(f"{wrapped}\n{what}", fontsize=11, parse_math=False)


def _png(figure: Figure) -> bytes:
    written: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="png", dpi=150)
    return written.getvalue()
