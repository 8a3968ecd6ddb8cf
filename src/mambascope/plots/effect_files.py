"""All figures of an aggregate over facts as the content of files, by name."""

import io

import xarray as xr
from matplotlib.figure import Figure

from mambascope.plots.effect_heatmap import effect_heatmap
from mambascope.plots.effect_lines import effect_lines
from mambascope.plots.effect_page import effect_html


def effect_files(result: xr.Dataset, dpi: int = 150) -> dict[str, bytes]:
    """For each site of an aggregate by layer and role its heatmap and lines (PNG), and both on one page (HTML).

    The names are effect-SITE.png, effect-SITE-lines.png and effect-SITE.html.
    """
    files: dict[str, bytes] = {}
    for site in result["site"].values.tolist():
        part = result.sel(site=site)
        name = f"effect-{site.replace(' / ', '-and-')}"
        files[f"{name}.png"] = png(effect_heatmap(part), dpi)
        files[f"{name}-lines.png"] = png(effect_lines(part), dpi)
        files[f"{name}.html"] = effect_html(part).encode()
    return files


def png(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as a PNG file's content."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=dpi)
    return written.getvalue()
