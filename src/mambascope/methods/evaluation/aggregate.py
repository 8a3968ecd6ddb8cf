"""What a model can do: means of the scores by category, with intervals over questions; and paired tests between two evaluations.

Where made prompts and questions of data sets were asked together, the categories of the latter are called "qa ...": two
steps in four short facts and two steps in a page are not one ability.

Intervals: Wilson's (1927) for scores that are 0 or 1, which also says something of a category where nothing was right; the
bootstrap over questions for the others. Tests: sign flips of the differences on the questions that both have, corrected over all
categories and scores (results/statistics.py).
"""

import json
from typing import Any, Unpack

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from mambascope.data.prompts import CUSTOM, ORIGINAL
from mambascope.errors import OutputError
from mambascope.results.schema import CAPABILITY, EVALUATION_SWEEP, conform
from mambascope.results.statistics import (
    StatisticsConfig,
    StatisticsOptions,
    bootstrap_interval,
    statistics_config,
    summarise,
)

ALL = "all"
UNCLASSIFIED = "unclassified"
PUBLISHED = "qa "
ORDER = (
    "simple_recall", "two_hop", "three_hop", "long_context", "reasoning_memory", "stress", "query", UNCLASSIFIED,
)  # fmt: skip


def by_category(result: xr.Dataset, **statistics: Unpack[StatisticsOptions]) -> xr.Dataset:
    """The means of an evaluation (`open_results`) by category, and over all questions.

    Returns dims (category, score): `mean`, its interval `low`, `high`, and `n` questions.
    """
    config = statistics_config(**statistics)
    conform(result, EVALUATION_SWEEP)
    names, groups = _groups(result)
    cells = [_means(result["value"].values[chosen], config) for chosen in groups]
    variables = {
        name: (("category", "score"), np.stack([cell[i] for cell in cells]))
        for i, name in enumerate(("mean", "low", "high", "n"))
    }
    coords = {"category": names, "score": result["score"].values}
    return xr.Dataset(variables, coords, _attrs(result, config))


def paired(
    first: xr.Dataset, second: xr.Dataset, **statistics: Unpack[StatisticsOptions]
) -> xr.Dataset:
    """Second minus first on the questions that both evaluations have, by category and over all.

    Returns dims (category, score): `effect`, its interval `low`, `high`, `n`, `p` and `q`; attrs `first` and `second`.
    Raises OutputError if they share no question.
    """
    config = statistics_config(**statistics)
    for result in (first, second):
        conform(result, EVALUATION_SWEEP)
    shared = [
        i for i in first["fact_id"].values.tolist() if i in set(second["fact_id"].values.tolist())
    ]
    if not shared:
        raise OutputError(
            "the two evaluations have no question in common, so nothing can be paired"
        )
    one, other = first.sel(fact_id=shared), second.sel(fact_id=shared)
    if (one["prompt"].values != other["prompt"].values).any():
        raise OutputError("the two evaluations ask other things under the same ids")
    difference = other["value"].values - one["value"].values
    names, groups = _groups(one)
    # One table of cells, NaN where a question is of another category, so that q is over all cells.
    table = np.full((len(shared), len(names), difference.shape[1]), np.nan)
    for column, chosen in enumerate(groups):
        table[chosen, column] = difference[chosen]
    found = summarise(table, config)
    parts = ("effect", "low", "high", "n", "p", "q")
    return xr.Dataset(
        {name: (("category", "score"), getattr(found, name)) for name in parts},
        {"category": names, "score": first["score"].values},
        {
            "method": "compare.evaluate",
            "first": label(first),
            "second": label(second),
            "questions": len(shared),
            "statistics": config.model_dump_json(),
            "confidence": config.confidence,
        },
    )


def label(result: xr.Dataset) -> str:
    """What an evaluation is of: the model, and whether it was changed."""
    return f"{result.attrs['model']}{' (edited)' if _changed(result) else ''}"


def _changed(result: xr.Dataset) -> bool:
    return any(json.loads(result.attrs["changes"]).values())


def _groups(result: xr.Dataset) -> tuple[list[str], list[np.ndarray]]:
    """The categories that there are, and the questions of each; all of them at the end."""
    category = np.array([name or UNCLASSIFIED for name in result["category"].values.tolist()])
    published = ~np.isin(result["dataset"].values, (CUSTOM, ORIGINAL))
    if published.any() and not published.all():
        category = np.where(published, np.char.add(PUBLISHED, category), category)
    names = [before + name for before in ("", PUBLISHED) for name in ORDER]
    there = [name for name in names if name in set(category.tolist())]
    groups = [np.flatnonzero(category == name) for name in there]
    return [*there, ALL], [*groups, np.arange(len(category))]


def _means(values: np.ndarray, config: StatisticsConfig) -> tuple[np.ndarray, ...]:
    """Mean, interval and number over questions of (questions, scores)."""
    low, high = bootstrap_interval(values, np.ones_like(values), config)
    for column in range(values.shape[1]):
        own = values[:, column]
        if np.isin(own, (0.0, 1.0)).all():
            share = binomtest(int(own.sum()), len(own)).proportion_ci(config.confidence, "wilson")
            low[column], high[column] = share.low, share.high
    return values.mean(0), low, high, np.full(values.shape[1], len(values))


def _attrs(result: xr.Dataset, config: StatisticsConfig) -> dict[str, Any]:
    told = ("model", "weights", "max_new_tokens", "changes", "versions", "failed", "skipped")
    return {
        "method": CAPABILITY.method,
        "label": label(result),
        "changed": int(_changed(result)),
        "questions": result.sizes["fact_id"],
        "confidence": config.confidence,
        "statistics": config.model_dump_json(),
        **{name: result.attrs[name] for name in told},
    }
