"""Knockouts as one HTML page, where hovering tells each window's layers, source, value, interval and q."""

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mambascope.plots.aggregate import COLOURS
from mambascope.plots.band import band
from mambascope.plots.knockout_curves import Curves, read_knockout

HOVER = "layers %{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>"


def knockout_html(result: xr.Dataset) -> str:
    """The figure of a knockout as one HTML page that needs nothing else."""
    return plotly_knockout(result).to_html(include_plotlyjs=True, config={"responsive": True})


def plotly_knockout(result: xr.Dataset) -> go.Figure:
    """The figure of a knockout, interactive."""
    curves = read_knockout(result)
    figure = go.Figure(_heatmap(curves) if curves.grid else _lines(curves))
    figure.update_layout(
        title={"text": html.escape(curves.title), "subtitle": {"text": html.escape(curves.about)}},
        height=int(np.clip(26 * len(curves.layers) + 260, 480, 1400)),
        margin={"t": 110},
        template="simple_white",
        legend={"title": curves.across},
    )
    if curves.grid:
        places = list(range(len(curves.names)))
        texts = [html.escape(label) for label in curves.labels]
        figure.update_xaxes(title=curves.across, tickvals=places, ticktext=texts, tickangle=-45)
        figure.update_yaxes(
            title="layers that are cut",
            tickvals=list(range(len(curves.layers))),
            ticktext=curves.layers,
        )
    else:
        figure.add_hline(curves.clean, line={"dash": "dot", "color": "gray"})
        figure.update_xaxes(title="start of the window of layers", dtick=1)
        figure.update_yaxes(title=html.escape(curves.quantity))
    return figure


def _heatmap(curves: Curves) -> list[go.Heatmap]:
    change = curves.change.T
    limit = float(np.nanmax(np.abs(change))) or 1e-6
    marks = np.where(curves.significant.T | ~np.isfinite(change), "", "×")
    told = [_told(curves, row) for row in range(len(curves.names))]
    return [
        go.Heatmap(
            z=change,
            x=list(range(len(curves.names))),
            y=list(range(len(curves.layers))),
            text=marks,
            texttemplate="%{text}",
            customdata=np.array(told, dtype=object).swapaxes(0, 1),
            hovertemplate=HOVER,
            colorscale=COLOURS,
            zmin=-limit,
            zmax=limit,
            colorbar={"title": {"text": html.escape(curves.quantity), "side": "right"}},
        )
    ]


def _lines(curves: Curves) -> list[go.Scatter]:
    found: list[go.Scatter] = []
    for row, (label, colour) in enumerate(zip(curves.labels, curves.colours, strict=True)):
        if curves.low is not None and curves.high is not None:
            found.append(band(curves.starts, curves.low[row], curves.high[row], colour, label))
        symbols = np.where(curves.significant[row], "circle", "circle-open").tolist()
        found.append(
            go.Scatter(
                x=curves.starts,
                y=curves.value[row],
                name=label,
                legendgroup=label,
                mode="lines+markers",
                marker={"symbol": symbols, "size": 7},
                line={"color": colour, "dash": "dash" if curves.is_control[row] else "solid"},
                customdata=_told(curves, row),
                hovertemplate=HOVER,
            )
        )
    return found


def _told(curves: Curves, row: int) -> list[list[Any]]:
    """What hovering over each window of a source tells."""
    label = html.escape(curves.labels[row])
    return [
        [layers, label, _numbers(curves, row, window)]
        for window, layers in enumerate(curves.layers)
    ]


def _numbers(curves: Curves, row: int, window: int) -> str:
    text = f"{curves.value[row, window]:.4f} (nothing cut: {curves.clean:.4f})"
    if curves.low is None or curves.high is None or curves.q is None:
        return text
    low, high = curves.low[row, window], curves.high[row, window]
    return f"{text}<br>[{low:.4f}, {high:.4f}]<br>q {curves.q[row, window]:.3g}"
