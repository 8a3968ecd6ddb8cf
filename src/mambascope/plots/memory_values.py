"""What figures of memory show, on paper and on screen alike."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.plots.labels import model_label, shortened, token_label
from mambascope.results.schema import RETENTION, conform

LONGEST_PROMPT = 200
LOWEST = 1e-6  # of the state's norm: below it a curve is at the floor of the figure
BINS_PER_DECADE = 8


@dataclass(frozen=True)
class Retention:
    """relative: (layers, tokens), what survives in parts of the state's norm; `floor`: the lowest value drawn."""

    layers: list[int]
    tokens: list[str]
    relative: np.ndarray
    share: np.ndarray
    half_life: np.ndarray
    floor: float
    prompt: str
    model: str

    @property
    def labels(self) -> list[str]:
        """Each token's label."""
        return [token_label(token) for token in self.tokens]


@dataclass(frozen=True)
class Spectrum:
    """shares: (layers, bins), each row summing to 1; edges: (bins + 1,), in tokens; medians: (layers,)."""

    layers: list[int]
    edges: np.ndarray
    shares: np.ndarray
    medians: np.ndarray
    tokens: int
    unit: str
    prompt: str
    model: str


def read_retention(result: xr.Dataset) -> Retention:
    """The curves of a result of `retention`; OutputError if it is none."""
    conform(result, RETENTION)
    relative = (result["surviving"] / result["state_norm"]).transpose("layer", "position").values
    lowest = float(relative.min())
    relative = np.maximum(relative, LOWEST)
    return Retention(
        layers=result["layer"].values.tolist(),
        tokens=[str(token) for token in result["token"].values],
        relative=relative,
        share=result["share"].values,
        half_life=result["half_life"].values,
        floor=max(LOWEST, lowest / 2),
        prompt=shortened(" ".join(result.attrs["prompt"].split()), LONGEST_PROMPT),
        model=model_label(result.attrs["model"]),
    )


def read_spectrum(result: xr.Dataset) -> Spectrum:
    """The histograms of a result of `half_life_spectrum`; OutputError if it is none, or one by token."""
    found = result.attrs.get("method")
    if found != "half_lives":
        raise OutputError(f"this is a result of {found!r}, but one of 'half_lives' is needed")
    if "position" in result.dims:
        raise OutputError("these are half-lives by token; the spectrum is that of the whole prompt")
    lives = result["half_life"].values.reshape(result.sizes["layer"], -1)
    edges = _edges(lives)
    counts = np.array([np.histogram(row, edges)[0] for row in lives])
    return Spectrum(
        layers=result["layer"].values.tolist(),
        edges=edges,
        shares=counts / lives.shape[1],
        medians=np.median(lives, axis=1),
        tokens=int(result.attrs["tokens"]),
        unit="entries of the state" if "state" in result.dims else "heads",
        prompt=shortened(" ".join(result.attrs["prompt"].split()), LONGEST_PROMPT),
        model=model_label(result.attrs["model"]),
    )


def _edges(lives: np.ndarray) -> np.ndarray:
    """Bins of equal width in log10 that hold all finite half-lives."""
    finite = lives[np.isfinite(lives)]
    low, high = np.floor(np.log10([finite.min(), finite.max() * 1.001]) * BINS_PER_DECADE)
    return 10 ** (np.arange(low, high + 2) / BINS_PER_DECADE)
