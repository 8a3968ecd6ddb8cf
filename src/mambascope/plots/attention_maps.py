"""What figures of effective attention show, on paper and on screen alike: one panel per layer, targets down, sources across.

The rows of a Mamba's map have no common sum, so each layer has a scale of its own, to its largest value, and says what that is.
Maps with negative values are centred on zero, orange above it and purple below; others go from white to dark.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.plots.labels import model_label, shortened, token_label
from mambascope.results.schema import ATTENTION, conform

SIGNED, UNSIGNED = "PuOr_r", "Purples"
LONGEST_PROMPT = 200
QUANTITIES = {
    "mean_abs": "mean |attention|",
    "contribution": "norm of the contribution",
    "share": "share of the mixer's output",
    "frobenius": "Frobenius norm of the mixer's map",
}


@dataclass(frozen=True)
class Panel:
    """One layer's map, (targets, sources), NaN where the source comes after the target; the scale is low to high."""

    layer: int
    values: np.ndarray
    low: float
    high: float


@dataclass(frozen=True)
class AttentionMaps:
    """What both kinds of figure show."""

    panels: list[Panel]
    tokens: list[str]
    prompt: str
    what: str
    quantity: str
    colours: str

    @property
    def labels(self) -> list[str]:
        """Each token's label."""
        return [token_label(token) for token in self.tokens]


def read_attention(result: xr.Dataset) -> AttentionMaps:
    """The maps of a result of effective attention; of one unit, if the result has been narrowed to it (`result.isel(head=3)`).

    Raises OutputError if the result is none, or still has a map for each of several units.
    """
    conform(result, ATTENTION)
    attrs = result.attrs
    values = result["attention"].values
    behind = np.arange(values.shape[2]) > np.arange(values.shape[1])[:, None]
    signed = bool((values < 0).any())
    rollout = "rollout of the " if attrs["rollout"] else ""
    quantity = QUANTITIES.get(attrs["reduce"], "attention")
    return AttentionMaps(
        panels=[
            _panel(int(layer), np.where(behind, np.nan, map), signed)
            for layer, map in zip(result["layer"].values, values, strict=True)
        ],
        tokens=[str(token) for token in result["source_token"].values],
        prompt=shortened(" ".join(attrs["prompt"].split()), LONGEST_PROMPT),
        what=f"{rollout}{quantity}{_unit(result)}, {model_label(attrs['model'])}",
        quantity=quantity,
        colours=SIGNED if signed else UNSIGNED,
    )


def _panel(layer: int, values: np.ndarray, signed: bool) -> Panel:
    largest = float(np.nanmax(np.abs(values))) or 1e-6
    return Panel(layer, values, -largest if signed else 0.0, largest)


def _unit(result: xr.Dataset) -> str:
    """Which channel or head, if the result has been narrowed to one."""
    named = [
        f" of {name} {int(result[name])}" for name in ("channel", "head") if name in result.coords
    ]
    return "".join(named)
