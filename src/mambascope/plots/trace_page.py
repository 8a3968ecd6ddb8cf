"""A causal trace as one HTML page: the heatmap of plots/trace.py, where hovering tells each cell's score."""

import html
import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mambascope.plots.heatmap import SUBJECT_COLOUR, Heatmap, read_trace, tick_step


def trace_html(result: xr.Dataset) -> str:
    """The heatmap as one HTML page that needs nothing else; hovering tells token, layer, role and score."""
    return plotly_trace(result).to_html(include_plotlyjs=True, config={"responsive": True})


def plotly_trace(result: xr.Dataset) -> go.Figure:
    """The heatmap as an interactive figure."""
    heatmap = read_trace(result)
    n_layers, n_tokens = heatmap.score.shape
    labels = [_marked(text) if own else html.escape(text) for text, own in _labelled(heatmap)]
    hover = [[html.escape(repr(t)), r] for t, r in zip(heatmap.tokens, heatmap.roles, strict=True)]
    trace = go.Heatmap(
        z=heatmap.score,
        x=list(range(n_tokens)),
        y=heatmap.layers,
        customdata=[hover] * n_layers,
        hovertemplate="token %{customdata[0]} at position %{x}<br>layer %{y}<br>role %{customdata[1]}"
        "<br>score %{z:.4f}<extra></extra>",
        colorscale=heatmap.colours,
        zmin=heatmap.low,
        zmax=heatmap.high,
        colorbar={"title": {"text": html.escape(heatmap.bar), "side": "right"}},
    )
    figure = go.Figure(trace)
    figure.update_layout(**_layout(heatmap))
    places = list(range(n_tokens))
    title = "token (* subject)"
    figure.update_xaxes(title=title, tickvals=places, ticktext=labels, tickangle=-45)
    figure.update_yaxes(title="layer", dtick=tick_step(n_layers, 32))
    return figure


def _labelled(heatmap: Heatmap) -> list[tuple[str, bool]]:
    return list(zip(heatmap.labels, heatmap.subject, strict=True))


def _marked(label: str) -> str:
    return f'<b style="color:{SUBJECT_COLOUR}">{html.escape(label)}</b>'


def _layout(heatmap: Heatmap) -> dict[str, Any]:
    lines = textwrap.wrap(heatmap.prompt, 100)
    return {
        "title": {
            "text": "<br>".join(html.escape(line) for line in lines),
            "subtitle": {"text": html.escape(f"{heatmap.what}; {heatmap.scores}")},
        },
        "height": int(np.clip(24 * len(heatmap.layers) + 240, 420, 1600)),
        "margin": {"t": 80 + 24 * len(lines)},
        "template": "simple_white",
    }
