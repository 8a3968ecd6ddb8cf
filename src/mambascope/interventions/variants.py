"""Variants: counterfactual worlds of one base run, each a set of edits, run together and read by one metric.

Every causal method makes variants and hands them to `run_variants`; none has a forward loop of its own.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from mambascope.errors import ModelError
from mambascope.interventions.metrics import Metric
from mambascope.models.language_model import LanguageModel
from mambascope.sites import Edit

TOKENS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class BaseRun:
    """What the variants vary: one prompt, run `rows` times (once per noise sample) with these edits."""

    ids: list[int]
    rows: int = 1
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, eq=False)
class Variant:
    """One counterfactual world: these edits are made after those of the base run."""

    edits: tuple[Edit, ...]


@torch.no_grad()
def run_variants(
    model: LanguageModel,
    base: BaseRun,
    variants: Sequence[Variant],
    metric: Metric,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "variants rows"]:
    """The metric of each variant in each row of the base run.

    Variants run in batches of full forward passes; where CUDA memory does not suffice, the batch is halved and tried
    again with a warning. `progress(done, total)` is told after each batch.
    """
    scores = np.empty((len(variants), base.rows))
    at_once = max(1, TOKENS_AT_ONCE // (len(base.ids) * base.rows))
    done = 0
    while done < len(variants):
        batch = variants[done : done + at_once]
        try:
            scores[done : done + len(batch)] = _run_batch(model, base, batch, metric)
        except torch.cuda.OutOfMemoryError as error:
            if len(batch) == 1:
                raise ModelError(
                    f"CUDA memory does not suffice for one variant of {base.rows} rows; take fewer samples or another device"
                ) from error
            at_once = len(batch) // 2
            torch.cuda.empty_cache()
            warnings.warn(
                f"out of CUDA memory: going on with {at_once} variants at once", stacklevel=2
            )
            continue
        done += len(batch)
        if progress is not None:
            progress(done, len(variants))
    return scores


def _run_batch(
    model: LanguageModel, base: BaseRun, batch: Sequence[Variant], metric: Metric
) -> Float[np.ndarray, "variants rows"]:
    edits = [
        _moved(edit, base.rows, first=number * base.rows)
        for number, variant in enumerate(batch)
        for edit in (*base.edits, *variant.edits)
    ]
    run = model.run([base.ids] * (base.rows * len(batch)), edits=edits, logits="last")
    assert run.logits is not None
    return metric(run.logits).view(len(batch), base.rows).cpu().numpy()


def _moved(edit: Edit, rows: int, first: int) -> Edit:
    """The edit of a base run's rows, on the rows from `first` on."""
    own = range(rows) if edit.rows is None else edit.rows
    return replace(edit, rows=[first + row for row in own])
