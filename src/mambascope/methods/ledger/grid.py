"""The ledgers of several questions together: screened, confirmed where it matters, and labelled."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from mambascope.interventions import BaseRun, Variant, replay
from mambascope.interventions.prompt import token_texts
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.plain import Plain, plain_run
from mambascope.methods.ledger.question import Question
from mambascope.methods.ledger.screen import screened, slope_of
from mambascope.methods.ledger.shapley import shapley_values, single_effects, total
from mambascope.methods.ledger.world import EVERY, World, outputs, source_free
from mambascope.models.language_model import LanguageModel
from mambascope.results.ledger import ROUTES
from mambascope.sites import Edit

Progress = Callable[[int, int], None]
Changed = Float[Tensor, "coalitions layers some D"]
UNITS = {"log_probability": "nats", "probability": "probability"}
FEWEST = 3  # cells that a correlation needs


def ledgers(
    model: LanguageModel,
    questions: Sequence[Question],
    config: LedgerConfig,
    origin: Mapping[str, object],
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> list[xr.Dataset]:
    """One dataset per question, as `ledger` describes it.

    origin: attrs that all share; memory: see `replay`; progress: told (coalitions replayed, coalitions in all)
    """
    plain = plain_run(model, questions, config)
    slope = slope_of(model, questions, plain.answers)
    size = (len(ROUTES) + 1, model.config.n_layers, len(config.sources), len(questions))
    guesses = np.full(size, np.nan)
    worlds: dict[int, tuple[World, Changed]] = {}
    for number, source in enumerate(config.sources):
        world = source_free(model, questions, source, plain)
        if world is None:
            continue
        changed = outputs(model, questions, world, memory)
        worlds[number] = world, changed
        guesses[:, :, number, world.rows] = screened(
            model, questions, world, changed, plain, slope, config.measure
        )
    chosen = np.stack([_chosen(guesses[..., row], config) for row in range(len(questions))], -1)
    worths = _worths(model, questions, worlds, chosen, plain, memory, progress)
    whole = np.full(size[2:], np.nan)
    for number, (world, _) in worlds.items():
        whole[number, world.rows] = plain.score[world.rows] - world.whole
    found: list[xr.Dataset] = []
    for row, question in enumerate(questions):
        own = [number for number, name in enumerate(config.sources) if name in question.sources]
        parts = (worths[:, :, own, row], guesses[:, :, own, row], whole[own, row])
        attrs = {**_attrs(model, question, config, plain, row), **origin}
        found.append(_dataset(question, *parts).assign_attrs(attrs))
    return found


def _chosen(
    guess: Float[np.ndarray, "terms layers sources"], config: LedgerConfig
) -> Bool[np.ndarray, "layers sources"]:
    """The cells of one question that are replayed: those with the largest screened term, and some of the others."""
    largest = np.abs(guess).max(0)
    there = np.flatnonzero(np.isfinite(largest))
    order = there[np.argsort(-largest.ravel()[there], kind="stable")]
    rest = order[config.confirm :]
    drawn = np.random.default_rng(config.seed).permutation(len(rest))[: config.audit]
    chosen = np.zeros(largest.shape, dtype=bool)
    chosen.ravel()[[*order[: config.confirm], *rest[drawn]]] = True
    return chosen


def _worths(
    model: LanguageModel,
    questions: Sequence[Question],
    worlds: Mapping[int, tuple[World, Changed]],
    chosen: Bool[np.ndarray, "layers sources rows"],
    plain: Plain,
    memory: int | None,
    progress: Progress | None,
) -> Float[np.ndarray, "coalitions layers sources rows"]:
    """By how much the score falls with each coalition's output of the mixer; NaN in the cells that are not replayed."""
    cells = [
        (layer, number, rows)
        for number in worlds
        for layer in range(len(chosen))
        if len(rows := np.flatnonzero(chosen[layer, number]))
    ]
    variants = [v for layer, number, rows in cells for v in _variants(*worlds[number], layer, rows)]
    base = BaseRun([question.asked.ids for question in questions])
    metrics = {"score": plain.metric}
    found = replay(model, base, variants, metrics, memory=memory, progress=progress)
    fall = (found.base["score"] - found.scores["score"]).reshape(len(cells), -1, len(questions))
    worths = np.full((EVERY + 1, *chosen.shape), np.nan)
    for (layer, number, rows), of_cell in zip(cells, fall, strict=True):
        worths[0, layer, number, rows] = 0.0
        worths[1:, layer, number, rows] = of_cell[:, rows]
    return worths


def _variants(world: World, changed: Changed, layer: int, rows: np.ndarray) -> list[Variant]:
    """The mixer's output of each coalition but the empty one, in one layer and these prompts."""
    among = np.searchsorted(world.rows, rows)
    values = changed[1:, layer, torch.from_numpy(among).to(changed.device), None]
    where = {"layers": layer, "rows": rows, "positions": world.targets[among]}
    return [Variant((Edit(site="mixer_out", value=value, **where),)) for value in values]


def _dataset(
    question: Question,
    worths: Float[np.ndarray, "coalitions layers sources"],
    guesses: Float[np.ndarray, "terms layers sources"],
    whole: Float[np.ndarray, " sources"],
) -> xr.Dataset:
    single, everything = single_effects(worths), total(worths)
    agreements = [_agreement(guesses[i], single[i]) for i in range(len(ROUTES))]
    by_route, by_cell = ("layer", "source", "route"), ("layer", "source")
    return xr.Dataset(
        {
            "single": (by_route, np.moveaxis(single, 0, -1)),
            "shapley": (by_route, np.moveaxis(shapley_values(worths), 0, -1)),
            "screened": (by_route, np.moveaxis(guesses[:-1], 0, -1)),
            "total": (by_cell, everything),
            "interaction": (by_cell, everything - single.sum(0)),
            "screened_total": (by_cell, guesses[-1]),
            "confirmed": (by_cell, np.isfinite(everything)),
            "whole": ("source", whole),
            "agreement": ("route", agreements),
        },
        coords={
            "layer": np.arange(worths.shape[1]),
            "source": [*question.sources],
            "route": list(ROUTES),
            "positions": ("source", [", ".join(map(str, s)) for s in question.sources.values()]),
        },
        attrs={"agreement_total": _agreement(guesses[-1], everything)},
    )


def _agreement(guess: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's correlation over the cells that were replayed; NaN below three cells, or where one side is constant."""
    there = np.isfinite(truth)
    x, y = guess[there], truth[there]
    if there.sum() < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _attrs(
    model: LanguageModel, question: Question, config: LedgerConfig, plain: Plain, row: int
) -> dict[str, object]:
    """What was asked, and the answer without any change."""
    asked, prompt = question.asked, question.prompt
    answer, top = token_texts(model, [plain.answers[row], plain.tops[row]])
    return {
        "method": "ledger",
        "prompt": prompt if isinstance(prompt, str) else json.dumps(asked.ids),
        "answer": answer,
        "answer_id": plain.answers[row],
        "top_answer": top,
        "clean_score": float(plain.score[row]),
        "tokens": asked.tokens,
        "subject_start": asked.start,
        "subject_stop": asked.stop,
        "target": question.target,
        "measure": config.measure,
        "unit": UNITS[config.measure],
        "config": config.model_dump_json(),
        "seed": config.seed,
    }
