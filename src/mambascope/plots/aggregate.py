"""What figures of an aggregate over facts show, on paper and on screen alike.

Colours are centred on zero, purple above it and orange below, and as strong on either side. A cell is significant where its q,
corrected over all cells of the aggregate, is below one minus the confidence of the intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.results.schema import EFFECT, conform

COLOURS = "PuOr"
COLUMNS = ("role", "route")
# Okabe & Ito's palette, which people with any colour vision can tell apart, in the order of a prompt.
ROLE_COLOURS = {
    "before": "#999999",
    "subject_first": "#e69f00",
    "subject_middle": "#cc79a7",
    "subject_last": "#d55e00",
    "after": "#009e73",
    "last": "#0072b2",
    "subject": "#d55e00",
    "all": "#000000",
}
OTHER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True)
class Effects:
    """One site's aggregate: arrays are (layers, columns), the columns being roles or routes that any fact has."""

    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    q: np.ndarray
    layers: list[int]
    columns: list[str]
    kind: str
    title: str
    about: str
    quantity: str
    level: float

    @property
    def significant(self) -> np.ndarray:
        """Cells whose q is below the level."""
        return self.q < self.level

    @property
    def counts(self) -> list[str]:
        """For each column how many facts it is a mean of, a range where layers differ."""
        ends = zip(self.n.min(0).tolist(), self.n.max(0).tolist(), strict=True)
        return [f"n = {low}" if low == high else f"n = {low} to {high}" for low, high in ends]

    @property
    def names(self) -> list[str]:
        """The columns as words."""
        return [name.replace("_", " ") for name in self.columns]

    @property
    def colours(self) -> list[str]:
        """A colour for each column, always the same for a role."""
        others = iter(OTHER_COLOURS * len(self.columns))
        return [ROLE_COLOURS.get(name) or next(others) for name in self.columns]


def read_effects(result: xr.Dataset) -> Effects:
    """The effects by layer and role, or by layer and route, of one site.

    Raises OutputError if this is no aggregate, or if more dims are left, saying what to select.
    """
    plain = result.squeeze([dim for dim in result.dims if dim == "site" and result.sizes[dim] == 1])
    kind = next((name for name in COLUMNS if name in plain.dims), "role")
    _check(plain, kind)
    there = plain["n"].max("layer") > 0
    if not there.any():
        raise OutputError("no fact has any of these cells, so there is nothing to draw")
    plain = plain.isel({kind: np.flatnonzero(there)}).transpose("layer", kind)
    return Effects(
        **{name: plain[name].values for name in ("effect", "low", "high", "n", "q")},
        layers=plain["layer"].values.tolist(),
        columns=plain[kind].values.tolist(),
        kind=kind,
        title=": ".join([*_fixed(plain), plain.attrs["title"]]),
        about=_about(plain),
        quantity=f"mean {plain.attrs['quantity']}\n({plain.attrs['unit']})",
        level=round(1 - plain.attrs["confidence"], 6),
    )


def common_limit(panels: Sequence[Effects]) -> float:
    """The largest effect of all panels either way: the end of the one colour scale on which they can be compared."""
    largest = max(float(np.nanmax(np.abs(panel.effect))) for panel in panels)
    return largest or 1e-6


def _check(result: xr.Dataset, kind: str) -> None:
    if "layer" not in result.dims and result.attrs.get("method") == EFFECT.method:
        raise OutputError("this aggregate has no layers; only one by layer can be drawn")
    more = [str(dim) for dim in result.dims if dim not in ("layer", kind)]
    if more and result.attrs.get("method") == EFFECT.method:
        chosen = ", ".join(f"{dim}={result[dim].values.tolist()[0]!r}" for dim in more)
        raise OutputError(f"one {' and '.join(more)} can be drawn at a time: result.sel({chosen})")
    if kind == "route":  # one role seen by route has the form of one route seen by role
        result = result.drop_vars("role", errors="ignore").rename(route="role")
    conform(result.transpose("layer", ...), EFFECT)


def _fixed(result: xr.Dataset) -> list[str]:
    """What was selected on the way to one grid: site, role or route."""
    names = [name for name in ("site", *COLUMNS) if name in result.coords]
    chosen = [str(result[name].item()) for name in names if not result[name].dims]
    if "window" in result.coords and int(result["window"]) > 1:
        chosen[0] += f" over {int(result['window'])} layers"
    return [", ".join(chosen)] if chosen else []


def _about(result: xr.Dataset) -> str:
    facts, left_out = result.attrs["facts"], result.attrs.get("left_out", 0)
    without = f" ({left_out} more left out)" if left_out else ""
    return f"{facts} facts{without}, {100 * result.attrs['confidence']:g} % intervals over facts"
