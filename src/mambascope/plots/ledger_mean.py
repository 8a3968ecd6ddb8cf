"""The mean ledger of many facts: a row for each source, a panel for each term, over the layers in the band of its interval."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mambascope.plots.ledger_values import FORMS, MEASURES, TERM_COLOURS, headings, in_words
from mambascope.results.ledger import MEAN_LEDGER
from mambascope.results.schema import conform

BAND = 0.2  # opacity


def mean_ledger_figure(result: xr.Dataset) -> Figure:
    """The panels; those of a row share their scale. A filled point is significant after correction over all cells.

    Raises OutputError if this is no mean of ledgers.
    """
    conform(result, MEAN_LEDGER)
    sources, terms = result["source"].values.tolist(), result["term"].values.tolist()
    size = (1.65 * len(terms) + 1.2, 1.5 * len(sources) + 1.7)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(sources), len(terms), sharex=True, sharey="row", squeeze=False)
    for row, source in zip(panels, sources, strict=True):
        for axes, term in zip(row, terms, strict=True):
            _panel(axes, result.sel(source=source, term=term))
        facts = int(np.max(result["n"].sel(source=source).values))
        row[0].set_ylabel(f"{in_words(source)}\n(n = {facts})", fontsize=9)
    for axes, heading in zip(panels[0], headings(terms), strict=True):
        axes.set_title(heading, fontsize=10)
    _titles(figure, result.attrs)
    return figure


def _panel(axes: Any, line: xr.Dataset) -> None:
    """One source and term: dims (layer,)."""
    colour, layers = TERM_COLOURS[str(line["term"].values)], line["layer"].values
    low, middle, high = (line[name].values for name in ("low", "effect", "high"))
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.fill_between(layers, low, high, color=colour, alpha=BAND, linewidth=0)
    axes.plot(layers, middle, color=colour, linewidth=1.3)
    real = line["q"].values < 1 - line.attrs["confidence"]
    faces = [colour if each else "white" for each in real]
    axes.scatter(layers, middle, s=11, c=faces, edgecolors=colour, linewidths=0.8, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _titles(figure: Figure, attrs: dict[str, Any]) -> None:
    level = round(1 - attrs["confidence"], 6)
    unit = " (nats)" if attrs["unit"] == "nats" else ""
    figure.supylabel(f"mean fall of the answer's {MEASURES[attrs['measure']]}{unit}", fontsize=10)
    figure.supxlabel(f"layer (filled: q < {level:g}, hollow: not significant)", fontsize=10)
    facts = f"{attrs['facts']} facts, {100 * attrs['confidence']:g} % intervals over facts"
    title = f"{attrs['model']}: {FORMS[attrs['form']]}\n{facts}"
    figure.suptitle(title, fontsize=10, parse_math=False)
