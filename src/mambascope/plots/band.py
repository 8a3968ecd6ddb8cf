"""The interval around a line, on an HTML page."""

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

OPACITY = 0.18


def band(x: list[int], low: np.ndarray, high: np.ndarray, colour: str, line: str) -> go.Scatter:
    """The area from low to high in the line's colour (#rrggbb), shown and hidden together with the line of that name."""
    red, green, blue = hex_to_rgb(colour)
    return go.Scatter(
        x=x + x[::-1],
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{OPACITY})",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=line,
    )
