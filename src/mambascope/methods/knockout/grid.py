"""The knockouts of several questions from one replay: every source and window, the answer's probability read."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from mambascope.interventions import BaseRun, answer_probability, answer_rank, replay
from mambascope.interventions.prompt import token_texts
from mambascope.methods.knockout.cuts import source_names, variants
from mambascope.methods.knockout.question import Question
from mambascope.methods.knockout.settings import Settings

Progress = Callable[[int, int], None]


def knocked_out(
    settings: Settings,
    questions: Sequence[Question],
    origin: Mapping[str, object],
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> list[xr.Dataset]:
    """One dataset per question, dims (source, start) or by position (position, start), as `knockout` describes it; NaN for a
    source that the prompt lacks.

    origin: attrs that all share; memory: see `replay`; progress: told (cuts done, cuts in all)
    """
    model = settings.model
    tops = _tops(settings, questions)
    answers = [
        top if question.answer is None else question.answer
        for question, top in zip(questions, tops, strict=True)
    ]
    found = replay(
        model,
        BaseRun([question.asked.ids for question in questions]),
        variants(settings, questions),
        {"score": answer_probability(answers), "rank": answer_rank(answers)},
        memory=memory,
        progress=progress,
    )
    names = source_names(settings, questions)
    shape = (len(names), len(settings.windows), len(questions))
    grids = {name: scores.reshape(shape) for name, scores in found.scores.items()}
    datasets: list[xr.Dataset] = []
    for row, (question, top) in enumerate(zip(questions, tops, strict=True)):
        clean, rank = float(found.base["score"][row]), int(found.base["rank"][row])
        attrs = {
            **_answers(settings, question, answers[row], top),
            "clean_score": clean,
            "clean_rank": rank + 1,
            **origin,
        }
        grid = _grid(settings, question, names, grids["score"][..., row], grids["rank"][..., row])
        grid["change"] = 100 * (grid["score"] - clean) / (clean or np.nan)
        datasets.append(grid.assign_attrs(attrs))
    return datasets


def _tops(settings: Settings, questions: Sequence[Question]) -> list[int]:
    """Each prompt's top token."""
    run = settings.model.run([question.asked.ids for question in questions], logits="last")
    assert run.logits is not None
    return run.logits.argmax(-1).tolist()


def _grid(
    settings: Settings, question: Question, names: list[str], score: np.ndarray, rank: np.ndarray
) -> xr.Dataset:
    """`score` and `hit` of one question from (sources, starts), labelled."""
    there = np.array([name in question.sources for name in names])[:, None]
    dim = "position" if settings.config.by_position else "source"
    windows = settings.windows
    coords: dict[str, object] = {
        dim: [*settings.config.sources],
        "start": [*windows],
        "first_layer": ("start", [layers.start for layers in windows.values()]),
        "last_layer": ("start", [layers[-1] for layers in windows.values()]),
    }
    if settings.config.by_position:
        asked = question.asked
        coords[dim] = np.arange(len(asked.ids))
        coords |= {"token": (dim, asked.tokens), "role": (dim, asked.roles)}
    else:
        cut = (question.sources.get(name, []) for name in names)
        coords["positions"] = (dim, [", ".join(map(str, places)) for places in cut])
    own = len(question.asked.ids) if settings.config.by_position else len(names)
    values = {"score": score, "hit": (rank == 0).astype(float)}
    return xr.Dataset(
        {
            name: ((dim, "start"), np.where(there, each, np.nan)[:own])
            for name, each in values.items()
        },
        coords,
    )


def _answers(settings: Settings, question: Question, answer: int, top: int) -> dict[str, object]:
    """The attrs that say what was asked."""
    model, config, asked = settings.model, settings.config, question.asked
    return {
        "method": "knockout",
        "prompt": question.prompt if isinstance(question.prompt, str) else json.dumps(asked.ids),
        "answer": token_texts(model, [answer])[0],
        "answer_id": answer,
        "top_answer": token_texts(model, [top])[0],
        "tokens": asked.tokens,
        "subject_start": asked.start,
        "subject_stop": asked.stop,
        "target": config.target,
        "target_positions": question.targets,
        "window": config.window,
        "route": settings.route,
        "mode": config.mode,
        "features": config.features,
        "config": config.model_dump_json(),
        "seed": config.seed,
    }
