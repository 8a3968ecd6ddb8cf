"""The mean ledger of many facts: a row for each source, a panel for each term, over the layers in the band of its interval.

Where the ledgers have a source's random control, it is drawn beside it in grey, and significance is that of the difference.
"""

import io
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mambascope.plots.labels import model_label
from mambascope.plots.ledger_values import FORMS, MEASURES, TERM_COLOURS, headings, in_words
from mambascope.results.ledger import MEAN_LEDGER
from mambascope.results.schema import CONTROL, conform

BAND = 0.2  # opacity
CONTROL_COLOUR = "0.45"


def mean_ledger_figure(result: xr.Dataset) -> Figure:
    """The panels; those of a row share their scale. A filled point is significant after correction over all cells.

    Raises OutputError if this is no mean of ledgers.
    """
    conform(result, MEAN_LEDGER)
    known, terms = result["source"].values.tolist(), result["term"].values.tolist()
    sources = [name for name in known if not _drawn_beside(name, known)]
    size = (1.65 * len(terms) + 1.2, 1.5 * len(sources) + 1.7)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(sources), len(terms), sharex=True, sharey="row", squeeze=False)
    for row, source in zip(panels, sources, strict=True):
        control = CONTROL + source if CONTROL + source in known else None
        for axes, term in zip(row, terms, strict=True):
            _panel(axes, result.sel(term=term), source, control)
        facts = int(np.max(result["n"].sel(source=source).values))
        row[0].set_ylabel(f"{in_words(source)}\n(n = {facts})", fontsize=9)
    for axes, heading in zip(panels[0], headings(terms), strict=True):
        axes.set_title(heading, fontsize=10)
    _titles(figure, result.attrs, beside=len(sources) < len(known))
    return figure


def mean_ledger_png(result: xr.Dataset, dpi: int = 110) -> bytes:
    """The figure as a PNG file's content."""
    written = io.BytesIO()
    mean_ledger_figure(result).savefig(written, format="png", dpi=dpi)
    return written.getvalue()


def _drawn_beside(name: str, known: list[str]) -> bool:
    """Whether this is the control of a source that is shown."""
    return name.startswith(CONTROL) and name.removeprefix(CONTROL) in known


def _panel(axes: Any, term: xr.Dataset, source: str, control: str | None) -> None:
    """One source and term: dims (layer, source)."""
    line = term.sel(source=source)
    colour, layers = TERM_COLOURS[str(line["term"].values)], line["layer"].values
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    if control is not None:
        _band(axes, term.sel(source=control), CONTROL_COLOUR, "--")
    _band(axes, line, colour, "-")
    q = line["q"] if control is None else line["above_q"]
    real = q.values < 1 - line.attrs["confidence"]
    faces = [colour if each else "white" for each in real]
    axes.scatter(layers, line["effect"], s=11, c=faces, edgecolors=colour, linewidths=0.8, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Any, line: xr.Dataset, colour: str, style: str) -> None:
    low, middle, high = (line[name].values for name in ("low", "effect", "high"))
    axes.fill_between(line["layer"].values, low, high, color=colour, alpha=BAND, linewidth=0)
    axes.plot(line["layer"].values, middle, color=colour, linewidth=1.3, linestyle=style)


def _titles(figure: Figure, attrs: dict[str, Any], *, beside: bool) -> None:
    level = round(1 - attrs["confidence"], 6)
    unit = " (nats)" if attrs["unit"] == "nats" else ""
    figure.supylabel(f"mean fall of the answer's {MEASURES[attrs['measure']]}{unit}", fontsize=10)
    control = "; grey: as many random other positions, the test is of the difference"
    note = f"layer (filled: q < {level:g}, hollow: not significant{control * beside})"
    figure.supxlabel(note, fontsize=10)
    facts = f"{attrs['facts']} facts, {100 * attrs['confidence']:g} % intervals over facts"
    title = f"{model_label(attrs['model'])}: {FORMS[attrs['form']]}\n{facts}"
    figure.suptitle(title, fontsize=10, parse_math=False)
