"""What a Mamba's states remember, as HTML pages whose hovering tells token, layer and numbers."""

import html
import textwrap
from typing import Any

import matplotlib
import numpy as np
import plotly.graph_objects as go
import xarray as xr
from matplotlib.colors import to_hex

from mambascope.plots.heatmap import tick_step
from mambascope.plots.memory import COLOURS
from mambascope.plots.memory_values import read_retention, read_spectrum

MOST_LABELS = 80


def retention_html(result: xr.Dataset) -> str:
    """The curves as one HTML page that needs nothing else."""
    return _page(plotly_retention(result))


def spectrum_html(result: xr.Dataset) -> str:
    """The spectra as one HTML page that needs nothing else."""
    return _page(plotly_spectrum(result))


def plotly_retention(result: xr.Dataset) -> go.Figure:
    """One curve per layer; a click in the legend hides or shows it."""
    read = read_retention(result)
    names = [html.escape(repr(token)) for token in read.tokens]
    colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, len(read.layers)))
    figure = go.Figure()
    for row, layer in enumerate(read.layers):
        told = [
            list(each) for each in zip(names, read.share[row], read.half_life[row], strict=True)
        ]
        figure.add_scatter(
            y=read.relative[row],
            customdata=told,
            name=f"layer {layer}",
            mode="lines+markers",
            line={"color": to_hex(colours[row])},
            hovertemplate=f"%{{customdata[0]}} at position %{{x}}, layer {layer}<br>surviving norm %{{y:.3g}} of the state's"
            "<br>signed share %{customdata[1]:.3g}<br>median half-life %{customdata[2]:.3g} tokens<extra></extra>",
        )
    places = list(range(0, len(names), tick_step(len(names), MOST_LABELS)))
    labels = [html.escape(read.labels[place]) for place in places]
    figure.update_xaxes(
        title="token that wrote it", tickvals=places, ticktext=labels, tickangle=-45
    )
    figure.update_yaxes(title="surviving norm, in parts of the state's norm", type="log")
    what = f"what the last state still holds of each token, {read.model}"
    figure.update_layout(**_layout(read.prompt, what), height=560)
    return figure


def plotly_spectrum(result: xr.Dataset) -> go.Figure:
    """Half-lives by layer, and their medians."""
    read = read_spectrum(result)
    middles = np.sqrt(read.edges[1:] * read.edges[:-1])
    ranges = [
        f"{low:.3g} to {high:.3g} tokens"
        for low, high in zip(read.edges, read.edges[1:], strict=False)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=read.shares,
            x=np.log10(middles),
            y=read.layers,
            text=[ranges] * len(read.layers),
            hovertemplate=f"layer %{{y}}<br>half-life %{{text}}<br>%{{z:.1%}} of the {read.unit}<extra></extra>",
            colorscale="Purples",
            zmin=0,
            colorbar={"title": {"text": f"share of the layer's {read.unit}", "side": "right"}},
        )
    )
    figure.add_scatter(
        x=np.log10(read.medians),
        y=read.layers,
        customdata=read.medians,
        mode="lines+markers",
        line={"color": "#d55e00"},
        hovertemplate="layer %{y}<br>median half-life %{customdata:.3g} tokens<extra></extra>",
        showlegend=False,
    )
    figure.add_vline(
        x=float(np.log10(read.tokens)), line_dash="dash", annotation_text="prompt's length"
    )
    powers = list(
        range(int(np.floor(np.log10(read.edges[0]))), int(np.ceil(np.log10(read.edges[-1]))) + 1)
    )
    figure.update_xaxes(
        title="half-life in tokens", tickvals=powers, ticktext=[f"{10.0**p:g}" for p in powers]
    )
    figure.update_yaxes(title="layer", dtick=tick_step(len(read.layers), 32))
    height = int(np.clip(24 * len(read.layers) + 260, 440, 1600))
    figure.update_layout(
        **_layout(read.prompt, f"how long the state lives, {read.model}"), height=height
    )
    return figure


def _layout(prompt: str, what: str) -> dict[str, Any]:
    lines = [html.escape(line) for line in textwrap.wrap(prompt, 100)]
    return {
        "title": {"text": "<br>".join(lines), "subtitle": {"text": html.escape(what)}},
        "margin": {"t": 80 + 24 * len(lines)},
        "template": "simple_white",
    }


def _page(figure: go.Figure) -> str:
    return figure.to_html(include_plotlyjs=True, config={"responsive": True})
