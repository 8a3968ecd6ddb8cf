"""The ledger of one fact as one HTML page: the heatmaps of plots/ledger.py, where hovering tells each cell's numbers."""

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from mambascope.plots.heatmap import tick_step
from mambascope.plots.ledger_values import COLOURS, LedgerValues, headings, read_ledger

HOVER = (
    "layer %{y}<br>%{customdata[0]}: %{z:.4f} %{customdata[1]}<br>total %{customdata[2]:.4f}"
    "<br>with all layers source-free %{customdata[3]:.4f}<extra></extra>"
)


def ledger_html(result: xr.Dataset, *, form: str = "single") -> str:
    """The figure as one HTML page that needs nothing else."""
    return plotly_ledger(result, form=form).to_html(
        include_plotlyjs=True, config={"responsive": True}
    )


def plotly_ledger(result: xr.Dataset, *, form: str = "single") -> go.Figure:
    """The figure, interactive."""
    ledger = read_ledger(result, form)
    count = len(ledger.terms)
    titles = headings(ledger.terms)
    figure = make_subplots(
        rows=1, cols=count, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.012
    )
    for number in range(count):
        figure.add_trace(_heatmap(ledger, number), row=1, col=number + 1)
    places = list(range(len(ledger.sources)))
    labels = [html.escape(label) for label in ledger.labels]
    figure.update_xaxes(tickvals=places, ticktext=labels, tickangle=-45)
    figure.update_yaxes(title="layer", dtick=tick_step(len(ledger.layers), 32), row=1, col=1)
    note = "; × screened only, not confirmed" if ledger.estimated.any() else ""
    figure.update_layout(
        title={
            "text": html.escape(ledger.prompt),
            "subtitle": {"text": html.escape(ledger.about + note)},
        },
        height=int(np.clip(24 * len(ledger.layers) + 300, 460, 1600)),
        margin={"t": 130},
        template="simple_white",
    )
    return figure


def _heatmap(ledger: LedgerValues, number: int) -> go.Heatmap:
    marks = np.where(ledger.estimated, "×", "")
    bar = {"title": {"text": html.escape(ledger.bar), "side": "right"}}
    return go.Heatmap(
        z=ledger.values[:, :, number],
        x=list(range(len(ledger.sources))),
        y=ledger.layers,
        text=marks,
        texttemplate="%{text}",
        customdata=np.array(_told(ledger), dtype=object),
        hovertemplate=HOVER,
        colorscale=COLOURS,
        zmin=-ledger.limit,
        zmax=ledger.limit,
        colorbar=bar,
        showscale=number == len(ledger.terms) - 1,
    )


def _told(ledger: LedgerValues) -> list[list[list[Any]]]:
    """For each layer and source what hovering tells beside the cell's own value."""
    return [
        [
            [
                html.escape(ledger.labels[source]),
                "(estimate)" if ledger.estimated[layer, source] else "",
                ledger.values[layer, source, -1],
                ledger.whole[source],
            ]
            for source in range(len(ledger.sources))
        ]
        for layer in range(len(ledger.layers))
    ]
