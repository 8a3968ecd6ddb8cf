"""What figures of knockouts show, on paper and on screen alike: of one prompt, or the mean over facts with its intervals.

Sources become curves of a quantity over windows of layers. Where every position was cut, the change at each token (of one prompt)
or role (over facts) becomes a heatmap, purple where the answer rose and orange where it fell.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.plots.aggregate import OTHER_COLOURS, ROLE_COLOURS
from mambascope.plots.heatmap import LONGEST_PROMPT
from mambascope.plots.labels import model_label, shortened, token_label
from mambascope.results.schema import CONTROL, FLOW, KNOCKOUT, conform, with_sources
from mambascope.results.wording import cut_in_words

SOURCE_COLOURS = {
    **ROLE_COLOURS,
    "first": "#8c564b",
    "subject": "#000000",
    "all": "#7f7f7f",
    "context": "#999999",
    "relation": "#009e73",
    "relation_minus_last": "#56b4e9",
}
CONTROL_COLOUR = "#555555"


@dataclass(frozen=True)
class Curves:
    """One panel: arrays are (sources, windows). Without intervals, facts and q where it is of one prompt.

    clean: the quantity before anything is cut; grid: whether it is drawn as a heatmap of the change, sources to the right
    """

    value: np.ndarray
    clean: float
    starts: list[int]
    layers: list[str]
    depth: int
    names: list[str]
    title: str
    about: str
    quantity: str
    grid: bool
    model: str
    across: str = ""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    n: np.ndarray | None = None
    q: np.ndarray | None = None
    level: float = 0.05

    @property
    def change(self) -> np.ndarray:
        """How far the quantity is from what it is before anything is cut."""
        return self.value - self.clean

    @property
    def significant(self) -> np.ndarray:
        """Cells whose q is below the level; all where there is no test."""
        return np.ones(self.value.shape, dtype=bool) if self.q is None else self.q < self.level

    @property
    def labels(self) -> list[str]:
        """The sources as words, with the number of their facts."""
        named = [name.replace("_", " ") for name in self.names]
        if self.n is None:
            return named
        return [f"{name} (n = {n})" for name, n in zip(named, self.n.max(1), strict=True)]

    @property
    def colours(self) -> list[str]:
        """A colour for each source, always the same for a role; of several controls each has that of its role."""
        others = iter(OTHER_COLOURS * len(self.names))
        alone = sum(self.is_control) == 1
        return [
            CONTROL_COLOUR
            if alone and name.startswith(CONTROL)
            else SOURCE_COLOURS.get(name.removeprefix(CONTROL)) or next(others)
            for name in self.names
        ]

    @property
    def is_control(self) -> list[bool]:
        """Which sources are random controls; they are dashed."""
        return [name.startswith(CONTROL) for name in self.names]


def read_knockout(result: xr.Dataset) -> Curves:
    """A knockout of one prompt, or an aggregate over facts. OutputError if it is neither."""
    if result.attrs.get("method") == FLOW.method:
        return _flow(result)
    return _single(result)


def _single(result: xr.Dataset) -> Curves:
    plain = with_sources(result)
    conform(plain, KNOCKOUT)
    attrs, grid = result.attrs, "position" in result.dims
    answer = repr(attrs["answer"].strip() or attrs["answer"])
    names = plain["source"].values.tolist()
    if grid:
        names = [
            _marked(*pair) for pair in zip(plain["token"].values, plain["role"].values, strict=True)
        ]
    what = cut_in_words({**attrs, "model": model_label(attrs["model"])})
    return Curves(
        value=plain["score"].values,
        clean=attrs["clean_score"],
        names=names,
        title=shortened(" ".join(attrs["prompt"].split()), LONGEST_PROMPT),
        about=f"{what}; probability of {answer} {attrs['clean_score']:.3f} clean",
        quantity=f"{'change of the ' if grid else ''}probability of {answer}",
        grid=grid,
        across="token that is not read (* subject)" if grid else "source",
        **_windows(plain),
        model=model_label(attrs["model"]),
    )


def _flow(result: xr.Dataset) -> Curves:
    grid = "role" in result.dims
    plain = result.rename(role="source") if grid else result
    conform(plain, FLOW)
    attrs = result.attrs
    there = plain["n"].max("start") > 0
    if not there.any():
        raise OutputError("no fact has any of these cells, so there is nothing to draw")
    plain = plain.isel(source=np.flatnonzero(there))
    clean = "" if attrs["quantity"] == "change" else f", {attrs['clean']:.3f} clean"
    known = "" if attrs["rank"] == "any" else f" of rank {attrs['rank']}"
    interval = f"{100 * attrs['confidence']:g} % intervals over facts"
    return Curves(
        value=plain["effect"].values,
        clean=attrs["clean"],
        names=plain["source"].values.tolist(),
        title=attrs["title"],
        about=f"{attrs['facts']} facts{known}{clean}; {interval}",
        quantity=f"mean {'change, ' if grid or attrs['quantity'] == 'change' else ''}{attrs['unit']}",
        grid=grid,
        across="role of the token that is not read" if grid else "source",
        **{name: plain[name].values for name in ("low", "high", "n", "q")},
        **_windows(plain),
        level=round(1 - attrs["confidence"], 6),
        model=model_label(attrs["model"]),
    )


def _windows(result: xr.Dataset) -> dict[str, Any]:
    first, last = result["first_layer"].values, result["last_layer"].values
    spans = [f"{a} to {b}" if a != b else f"{a}" for a, b in zip(first, last, strict=True)]
    return {
        "starts": result["start"].values.tolist(),
        "layers": spans,
        "depth": int(last.max()) + 1,
    }


def _marked(token: str, role: str) -> str:
    return token_label(str(token)) + ("*" if str(role).startswith("subject") else "")
