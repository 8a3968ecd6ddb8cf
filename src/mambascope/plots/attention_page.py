"""Effective attention as one HTML page: one layer's map at a time, chosen by a slider; hovering tells tokens and value."""

import html
import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mambascope.plots.attention_maps import AttentionMaps, Panel, read_attention
from mambascope.plots.heatmap import tick_step

MOST_LABELS = 80


def attention_html(result: xr.Dataset) -> str:
    """The maps as one HTML page that needs nothing else; hovering tells target, source and value."""
    return plotly_attention(result).to_html(include_plotlyjs=True, config={"responsive": True})


def plotly_attention(result: xr.Dataset) -> go.Figure:
    """The maps as an interactive figure, the first layer shown."""
    maps = read_attention(result)
    panels = enumerate(maps.panels)
    figure = go.Figure([_heatmap(maps, panel, visible=number == 0) for number, panel in panels])
    figure.update_layout(**_layout(maps))
    places = list(range(0, len(maps.tokens), tick_step(len(maps.tokens), MOST_LABELS)))
    labels = [html.escape(maps.labels[place]) for place in places]
    figure.update_xaxes(
        title="source: the token that is read", tickvals=places, ticktext=labels, tickangle=-60
    )
    figure.update_yaxes(
        title="target: the token that reads",
        tickvals=places,
        ticktext=labels,
        autorange="reversed",
        scaleanchor="x",
    )
    return figure


def _heatmap(maps: AttentionMaps, panel: Panel, *, visible: bool) -> go.Heatmap:
    names = [html.escape(repr(token)) for token in maps.tokens]
    pairs = np.array([[f"{target} reads {source}" for source in names] for target in names])
    return go.Heatmap(
        z=panel.values,
        visible=visible,
        text=pairs,
        hovertemplate="%{text}<br>target %{y}, source %{x}<br>"
        + html.escape(maps.quantity)
        + f" %{{z:.4g}}<br>layer {panel.layer}<extra></extra>",
        hoverongaps=False,
        colorscale=maps.colours,
        zmin=panel.low,
        zmax=panel.high,
        colorbar={"title": {"text": html.escape(maps.quantity), "side": "right"}},
    )


def _layout(maps: AttentionMaps) -> dict[str, Any]:
    lines = textwrap.wrap(maps.prompt, 100)
    shown = [
        {
            "method": "update",
            "label": str(panel.layer),
            "args": [{"visible": [other == number for other in range(len(maps.panels))]}],
        }
        for number, panel in enumerate(maps.panels)
    ]
    return {
        "title": {
            "text": "<br>".join(html.escape(line) for line in lines),
            "subtitle": {"text": html.escape(maps.what)},
        },
        "sliders": [
            {"steps": shown, "active": 0, "currentvalue": {"prefix": "layer "}, "pad": {"t": 70}}
        ],
        "height": int(np.clip(18 * len(maps.tokens) + 380, 560, 1400)),
        "margin": {"t": 80 + 24 * len(lines)},
        "template": "simple_white",
    }
