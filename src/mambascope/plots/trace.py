"""A causal trace as a heatmap: layers upwards, tokens to the right, the subject marked, dark where the exchange did most."""

import io
import textwrap
import warnings
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mambascope.plots.heatmap import SUBJECT_COLOUR, Heatmap, read_trace, tick_step

TITLE_WIDTH = 70
MOST_LABELS = 64
LETTER_WIDTH = 0.12  # inches, margins of the figure included


def trace_figure(result: xr.Dataset, *, normalise: bool = False) -> Figure:
    """The heatmap as a matplotlib figure, sized to its cells; `normalise`: 0 is the corrupted run's score, 1 the clean run's."""
    heatmap = read_trace(result, normalise=normalise)
    n_layers, n_tokens = heatmap.score.shape
    width = float(np.clip(0.42 * n_tokens + 3.0, 6.5, 26))
    height = float(np.clip(0.27 * n_layers + 2.4, 4.0, 16))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    image = axes.pcolormesh(
        heatmap.score, cmap=heatmap.colours, vmin=heatmap.low, vmax=heatmap.high
    )
    figure.colorbar(image, ax=axes, label=heatmap.bar, extend=_beyond(heatmap), pad=0.015)
    _layer_ticks(axes, heatmap)
    _token_ticks(axes, heatmap)
    title = _wrapped(heatmap.prompt, width)
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    axes.set_title(f"{heatmap.what}\n{heatmap.scores}", fontsize=9, parse_math=False)
    return figure


def trace_png(result: xr.Dataset, dpi: int = 150) -> bytes:
    """The heatmap as a PNG file's content."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks shows as a box; the HTML figure has it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        trace_figure(result).savefig(written, format="png", dpi=dpi)
    return written.getvalue()


def _beyond(heatmap: Heatmap) -> str:
    """Which end of the colour bar is pointed: a cell may lie below the corrupted run."""
    return "min" if np.nanmin(heatmap.score) < heatmap.low else "neither"


def _layer_ticks(axes: Any, heatmap: Heatmap) -> None:
    step = tick_step(len(heatmap.layers), 32)
    places = range(0, len(heatmap.layers), step)
    axes.set_yticks([place + 0.5 for place in places], [heatmap.layers[i] for i in places])
    axes.set_ylabel("layer")


def _token_ticks(axes: Any, heatmap: Heatmap) -> None:
    labels, subject = heatmap.labels, heatmap.subject
    step = tick_step(len(labels), MOST_LABELS)
    shown = [i for i in range(len(labels)) if i % step == 0 or subject[i]]
    room = axes.figure.get_figwidth() / len(labels)
    level = max(map(len, labels)) * LETTER_WIDTH < room
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xlabel("token (* subject)")
    axes.set_xticks([i + 0.5 for i in shown])
    drawn = axes.set_xticklabels([labels[i] for i in shown], **({} if level else turned))
    for place, text in zip(shown, drawn, strict=True):
        text.set_parse_math(False)
        if subject[place]:
            text.set(color=SUBJECT_COLOUR, fontweight="bold")


def _wrapped(text: str, width: float) -> str:
    return textwrap.fill(text, max(30, int(width * TITLE_WIDTH / 6.5)))
