"""Statistics over facts: the mean of many cells at once, its interval, its test, and the correction for the number of cells.

Facts are what is drawn at random, so they alone are resampled, each with all of its cells: cells stay comparable, and the
dependence between them is kept. Values are (facts, *cells); NaN where a fact lacks the cell.

- interval: bias-corrected and accelerated bootstrap (Efron 1987; DiCiccio & Efron 1996), as scipy.stats.bootstrap has it
- test: two-sided sign-flip permutation test of the mean (Fisher 1935, section 21), with the observed sample counted among
  the permutations (Phipson & Smyth 2010); exact where the values are symmetric around zero under the null, and asymptotically
  otherwise. The smallest p is 1 / (flips + 1)
- correction: Benjamini & Hochberg 1995
"""

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtr, ndtri
from scipy.stats import false_discovery_control

from mambascope.options import checked

CHUNK = 1 << 22  # numbers drawn at a time


class StatisticsConfig(BaseModel):
    """How means over facts are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of the intervals; a cell is significant where q < 1 - confidence."""
    resamples: int = Field(default=2000, ge=1)
    """Bootstrap resamples of the facts."""
    flips: int = Field(default=9999, ge=1)
    """Sign flips of the facts that the test draws."""
    seed: int = Field(default=0, ge=0)
    """Seed of resamples and flips."""


class StatisticsOptions(TypedDict, total=False):
    """The fields of StatisticsConfig, as keywords."""

    confidence: float
    resamples: int
    flips: int
    seed: int


@dataclass(frozen=True)
class Summary:
    """Each array has the shape of the cells: mean effect, interval, facts that have the cell, p, and q over all cells."""

    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    p: np.ndarray
    q: np.ndarray


def statistics_config(**options: Any) -> StatisticsConfig:
    """The checked options; ConfigError says which one is wrong."""
    return checked(StatisticsConfig, **options)


def summarise(values: np.ndarray, config: StatisticsConfig) -> Summary:
    """Mean over facts of each cell, with its interval, n, p and q; NaN where no fact has the cell.

    values: (facts, *cells). The interval needs two facts.
    """
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    n = present.sum(0)
    low, high = bootstrap_interval(filled, present.astype(float), config)
    p = sign_flip_p(values, config)
    return Summary(_ratio(filled.sum(0), n), low, high, n, p, corrected(p))


def bootstrap_interval(
    above: np.ndarray, below: np.ndarray, config: StatisticsConfig
) -> tuple[np.ndarray, np.ndarray]:
    """BCa interval of sum(above) / sum(below) over facts, both (facts, *cells); NaN with fewer than two facts.

    A mean over those facts that have the cell is the case where `below` is 1 for them and 0 for the others.
    """
    shape, n = above.shape[1:], len(above)
    above, below = above.reshape(n, -1), below.reshape(n, -1)
    estimate = _ratio(above.sum(0), below.sum(0))
    drawn = np.sort(_resampled(above, below, config), axis=0)  # NaN last
    usable = np.isfinite(drawn).sum(0)
    smaller, equal = (drawn < estimate).sum(0), (drawn == estimate).sum(0)
    fraction = _ratio(smaller + equal / 2, usable)
    margin = 0.5 / config.resamples  # keeps the bias finite where all resamples lie on one side
    bias = ndtri(np.clip(fraction, margin, 1 - margin))
    bend = _acceleration(above, below)
    enough = (below != 0).sum(0) > 1
    bounds = []
    for level in ((1 - config.confidence) / 2, (1 + config.confidence) / 2):
        shift = bias + ndtri(level)
        at = ndtr(bias + shift / (1 - bend * shift))
        bounds.append(np.where(enough, _quantile(drawn, at, usable), np.nan).reshape(shape))
    return bounds[0], bounds[1]


def sign_flip_p(values: np.ndarray, config: StatisticsConfig) -> np.ndarray:
    """Two-sided p of the hypothesis that the cell's mean is zero: (facts, *cells) to (*cells); NaN where no fact has it."""
    n = len(values)
    flat = np.where(np.isfinite(values), values, 0.0).reshape(n, -1)
    # Flips that give the same sum but for rounding are as extreme as what was observed.
    observed = np.abs(flat.sum(0)) - 1e-10 * np.abs(flat).sum(0)
    random = np.random.default_rng(config.seed)
    extreme = np.zeros(flat.shape[1], dtype=int)
    for rows in _chunks(config.flips, n):
        signs = 2.0 * random.integers(0, 2, (rows, n)) - 1.0
        extreme += (np.abs(signs @ flat) >= observed).sum(0)
    p = ((1 + extreme) / (1 + config.flips)).reshape(values.shape[1:])
    return np.where(np.isfinite(values).any(0), p, np.nan)


def corrected(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q over all cells that have a p."""
    q = np.full(p.shape, np.nan)
    there = np.isfinite(p)
    if there.any():
        q[there] = false_discovery_control(p[there])
    return q


def _resampled(above: np.ndarray, below: np.ndarray, config: StatisticsConfig) -> np.ndarray:
    """The estimate of each resample: (resamples, cells). How often each fact was drawn, times the facts' values."""
    n, random = len(above), np.random.default_rng(config.seed)
    found = []
    for rows in _chunks(config.resamples, n):
        drawn = random.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
        found.append(_ratio(times @ above, times @ below))
    return np.concatenate(found)


def _acceleration(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The skewness of the jackknife, over six; 0 where all facts are alike."""
    without = _ratio(above.sum(0) - above, below.sum(0) - below)
    there = np.isfinite(without)
    centre = _ratio(np.where(there, without, 0.0).sum(0), there.sum(0))
    away = np.where(there, centre - without, 0.0)
    spread = 6 * (away**2).sum(0) ** 1.5
    return np.nan_to_num(_ratio((away**3).sum(0), spread))


def _quantile(ordered: np.ndarray, at: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Quantile `at` (cells) of each column's first `usable` values, between neighbours by linear interpolation."""
    place = np.clip(np.nan_to_num(at), 0, 1) * np.maximum(usable - 1, 0)
    under = np.floor(place).astype(int)
    over = np.minimum(under + 1, np.maximum(usable - 1, 0))
    columns = np.arange(ordered.shape[1])
    low, high = ordered[under, columns], ordered[over, columns]
    return low + (place - under) * (high - low)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    nothing = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), np.nan)
    return np.divide(above, below, out=nothing, where=np.asarray(below) != 0)


def _chunks(count: int, n: int) -> list[int]:
    """`count` rows of n draws in parts of bounded size; the draws do not depend on the parts."""
    rows = max(1, CHUNK // max(n, 1))
    return [min(rows, count - begin) for begin in range(0, count, rows)]
