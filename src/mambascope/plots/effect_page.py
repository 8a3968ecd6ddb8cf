"""An aggregate as one HTML page: the heatmap and the lines; hovering tells effect, interval, facts and q."""

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from mambascope.plots.aggregate import COLOURS, Effects, common_limit, read_effects
from mambascope.plots.band import band

LINES_HEIGHT = 420  # pixels
SPACING = 0.16
HOVER = (
    "layer %{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]:.4f} [%{customdata[3]:.4f}, %{customdata[4]:.4f}]"
    "<br>n %{customdata[5]}<br>q %{customdata[6]:.3g} %{customdata[7]}<extra></extra>"
)


def effect_html(result: xr.Dataset) -> str:
    """One site's aggregate as one HTML page that needs nothing else."""
    return plotly_effects(result).to_html(include_plotlyjs=True, config={"responsive": True})


def plotly_effects(result: xr.Dataset) -> go.Figure:
    """Heatmap above, lines with their intervals below."""
    effects = read_effects(result)
    height = int(np.clip(20 * len(effects.layers) + 180, 320, 900))
    share = height / (height + LINES_HEIGHT)
    figure = make_subplots(rows=2, row_heights=[share, 1 - share], vertical_spacing=SPACING)
    figure.add_trace(_heatmap(effects, share), row=1, col=1)
    for column in range(len(effects.columns)):
        figure.add_traces(_line(effects, column), rows=2, cols=1)
    labels = [f"{n}<br>{c}" for n, c in zip(effects.names, effects.counts, strict=True)]
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels, row=1, col=1)
    figure.update_yaxes(title="layer", row=1, col=1)
    figure.update_xaxes(title="layer", row=2, col=1)
    figure.update_yaxes(title=effects.quantity.replace("\n", "<br>"), row=2, col=1)
    figure.update_layout(
        title={
            "text": html.escape(effects.title),
            "subtitle": {"text": html.escape(effects.about)},
        },
        height=height + LINES_HEIGHT + 140,
        template="simple_white",
        legend={"title": effects.kind, "y": 0.0, "yanchor": "bottom"},
    )
    return figure


def _heatmap(effects: Effects, share: float) -> go.Heatmap:
    limit = common_limit([effects])
    told = [_told(effects, column) for column in range(len(effects.columns))]
    marks = np.where(effects.significant | ~np.isfinite(effects.effect), "", "×")
    return go.Heatmap(
        z=effects.effect,
        x=list(range(len(effects.columns))),
        y=effects.layers,
        text=marks,
        texttemplate="%{text}",
        customdata=np.array(told, dtype=object).swapaxes(0, 1),
        hovertemplate=HOVER,
        colorscale=COLOURS,
        zmin=-limit,
        zmax=limit,
        colorbar={
            "title": {"text": effects.quantity.replace("\n", "<br>"), "side": "right"},
            "len": share * (1 - SPACING),
            "y": 1.0,
            "yanchor": "top",
        },
    )


def _line(effects: Effects, column: int) -> list[go.Scatter]:
    colour, name = effects.colours[column], effects.names[column]
    low, high = effects.low[:, column], effects.high[:, column]
    symbols = np.where(effects.significant[:, column], "circle", "circle-open").tolist()
    line = go.Scatter(
        x=effects.layers,
        y=effects.effect[:, column],
        name=f"{name} ({effects.counts[column]})",
        legendgroup=name,
        mode="lines+markers",
        marker={"symbol": symbols, "size": 7},
        line={"color": colour},
        customdata=_told(effects, column),
        hovertemplate=HOVER,
    )
    return [band(effects.layers, low, high, colour, name), line]


def _told(effects: Effects, column: int) -> list[list[Any]]:
    """What hovering over each layer of a column tells."""
    kept = (effects.effect, effects.low, effects.high, effects.n, effects.q)
    numbers = zip(*(part[:, column].tolist() for part in kept), strict=True)
    marks = np.where(effects.significant[:, column], "", "(not significant)").tolist()
    return [
        [layer, effects.names[column], *row, mark]
        for layer, row, mark in zip(effects.layers, numbers, marks, strict=True)
    ]
