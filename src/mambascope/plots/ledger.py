"""The ledger of one fact as a row of heatmaps, layers upwards and sources to the right: term + term + ... = total."""

import io
import textwrap
import warnings
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mambascope.plots.heatmap import tick_step
from mambascope.plots.ledger_values import COLOURS, LedgerValues, headings, read_ledger

MARK_COLOUR = "0.35"
MOST_LAYERS = 32
TITLE_WIDTH = 11  # characters of an inch


def ledger_figure(result: xr.Dataset, *, form: str = "single") -> Figure:
    """The ledger as a matplotlib figure; `form`: "single" effects and their interaction, or "shapley" values."""
    ledger = read_ledger(result, form)
    count, sources = len(ledger.terms), len(ledger.sources)
    width = float(np.clip(count * (0.3 * sources + 0.75) + 1.6, 8.0, 26))
    height = float(np.clip(0.25 * len(ledger.layers) + 2.7, 4.2, 16))
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    images = [_panel(axes, ledger, number) for number, axes in enumerate(panels)]
    panels[0].set_ylabel("layer")
    figure.colorbar(images[-1], ax=panels.tolist(), label=ledger.bar, pad=0.01)
    figure.supxlabel(_note(ledger), fontsize=9)
    title = textwrap.fill(ledger.prompt, int(width * TITLE_WIDTH))
    about = textwrap.fill(ledger.about, int(width * TITLE_WIDTH))
    figure.suptitle(f"{title}\n{about}", fontsize=10, parse_math=False)
    return figure


def ledger_png(result: xr.Dataset, dpi: int = 150, *, form: str = "single") -> bytes:
    """The figure as a PNG file's content."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks shows as a box; the HTML figure has it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        ledger_figure(result, form=form).savefig(written, format="png", dpi=dpi)
    return written.getvalue()


def _panel(axes: Any, ledger: LedgerValues, number: int) -> Any:
    """One term."""
    values = ledger.values[:, :, number]
    image = axes.pcolormesh(values, cmap=COLOURS, vmin=-ledger.limit, vmax=ledger.limit)
    rows, columns = np.nonzero(ledger.estimated)
    axes.scatter(columns + 0.5, rows + 0.5, marker="x", s=14, c=MARK_COLOUR, linewidths=0.8)
    axes.set_title(headings(ledger.terms)[number], fontsize=10)
    places = range(0, len(ledger.layers), tick_step(len(ledger.layers), MOST_LAYERS))
    axes.set_yticks([place + 0.5 for place in places], [ledger.layers[i] for i in places])
    axes.set_xticks(
        np.arange(len(ledger.sources)) + 0.5,
        ledger.labels,
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        fontsize=9,
    )
    return image


def _note(ledger: LedgerValues) -> str:
    note = "source that the target reads"
    return note + ("; × screened only, not confirmed" if ledger.estimated.any() else "")
