"""The grids of several questions from one replay: every (site, layer, position) exchanged, the answer's probability read."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr

from mambascope.interventions import Variant, answer_probability, replay
from mambascope.interventions.prompt import token_texts
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.question import Question
from mambascope.methods.tracing.windows import window_size
from mambascope.methods.tracing.worlds import Worlds
from mambascope.models.language_model import LanguageModel

Progress = Callable[[int, int], None]


def traced(
    model: LanguageModel,
    questions: Sequence[Question],
    config: TracingConfig,
    origin: Mapping[str, object],
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> list[xr.Dataset]:
    """One dataset per question: `score` with dims (site, layer, position), as `trace` describes it.

    config: the sites, windows and severed routes, the same for all questions; `origin`: attrs that all share
    memory: see `replay`; progress: told (cells done, cells in all)
    """
    worlds = Worlds(model, questions, config)
    windows = [window_size(model, name, config.window) for name in config.sites]
    n_layers, backs = model.config.n_layers, max(question.cells for question in questions)
    places = [worlds.places(back) for back in range(backs)]
    variants = [
        Variant(tuple(worlds.exchange(site, window, layer, there)))
        for (site, window), layer, there in product(
            zip(config.sites, windows, strict=True), range(n_layers), places
        )
    ]
    found = replay(
        model,
        worlds.base,
        variants,
        {"score": answer_probability(worlds.row_targets)},
        memory=memory,
        progress=_in_cells(progress, [q.cells for q in questions], len(variants) // backs, backs),
    )
    scores = found.scores["score"].reshape(len(windows), n_layers, backs, -1)
    other = worlds.exchanged_scores()
    datasets: list[xr.Dataset] = []
    for number, (question, top) in enumerate(zip(questions, worlds.tops, strict=True)):
        rows = worlds.rows_of(number)
        unchanged = float(found.base["score"][rows].mean())
        clean, corrupted = float(other[number]), unchanged
        if not worlds.restoring:
            clean, corrupted = corrupted, clean
        attrs = {
            **_answers(model, question, worlds.targets[number], top),
            "clean_score": clean,
            "corrupted_score": corrupted,
            "window": windows,
            **origin,
        }
        grid = _grid(question, scores[:, :, : question.cells, rows][:, :, ::-1], unchanged)
        datasets.append(_dataset(grid, question, attrs))
    return datasets


def _in_cells(
    progress: Progress | None, cells: Sequence[int], grids: int, backs: int
) -> Progress | None:
    """Counts cells of all questions where a replay counts variants, each of which serves the questions that are so long."""
    if progress is None:
        return None
    served = (np.arange(backs)[:, None] < np.array(cells)).sum(1)
    done = np.concatenate([[0], np.cumsum(np.tile(served, grids))])
    return lambda number, _: progress(int(done[number]), int(done[-1]))


def _grid(question: Question, scores: np.ndarray, unchanged: float) -> np.ndarray:
    """(sites, layers, T): the mean over the rows in which each position has a partner, NaN where none has.

    scores: (sites, layers, positions from the subject on, rows). Positions before the subject are the same in both runs,
    so exchanging them changes nothing.
    """
    there = question.corrupted.partners.T[question.asked.start :] >= 0
    total = np.where(there, scores, 0.0).sum(-1)
    with np.errstate(invalid="ignore"):
        mean = total / there.sum(-1)
    before = np.full((*scores.shape[:2], question.asked.start), unchanged)
    return np.concatenate([before, mean], axis=2)


def _answers(model: LanguageModel, question: Question, target: int, top: int) -> dict[str, object]:
    """The attrs that say what was asked."""
    asked, config = question.asked, question.config
    prompt = question.prompt
    return {
        "method": "trace",
        "prompt": prompt if isinstance(prompt, str) else json.dumps(asked.ids),
        "answer": token_texts(model, [target])[0],
        "answer_id": target,
        "top_answer": token_texts(model, [top])[0],
        "site": ", ".join(config.sites),
        "direction": config.direction,
        "subject_start": asked.start,
        "subject_stop": asked.stop,
        "config": config.model_dump_json(),
        "seed": config.seed,
    }


def _dataset(grid: np.ndarray, question: Question, attrs: dict[str, object]) -> xr.Dataset:
    asked = question.asked
    return xr.Dataset(
        {"score": (("site", "layer", "position"), grid)},
        coords={
            "site": list(question.config.sites),
            "layer": np.arange(grid.shape[1]),
            "position": np.arange(len(asked.ids)),
            "token": ("position", asked.tokens),
            "role": ("position", asked.roles),
        },
        attrs=attrs,
    )
