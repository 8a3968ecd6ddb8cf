"""Many questions put to a model: greedy answers, scored, and how likely the accepted answers are.

A question's result does not depend on the others but for rounding. Which of them share a pass follows from the list given, the
model and `memory` alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import torch
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, QuestionPrompt
from mambascope.errors import PromptError, SiteError
from mambascope.interventions.budget import Budget
from mambascope.interventions.facts import packed
from mambascope.interventions.origin import origin_of
from mambascope.methods.evaluation import scores
from mambascope.methods.evaluation.answers import Likeliness, likeliness
from mambascope.methods.evaluation.config import EvaluationConfig
from mambascope.models.decoding import decode, lasting
from mambascope.models.language_model import LanguageModel
from mambascope.models.prompts import to_ids
from mambascope.results.schema import SCORES
from mambascope.sites import Cut, Edit

METHOD = "evaluation"
Asked = tuple[QuestionPrompt, list[int]]
Made = tuple[Sequence[Edit], Sequence[Cut]]


@torch.no_grad()
def evaluate_many(
    model: LanguageModel,
    questions: Sequence[QuestionPrompt],
    config: EvaluationConfig,
    *,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[xr.Dataset | FactFailure]:
    """One entry per question, in the order given: its scores, or why there are none.

    memory:   bytes for a pass over the prompts, by default a quarter of what is free
    progress: told (questions done, questions in all)

    Each dataset has the variable `value` with dim `score` (results/schema.py: SCORES), and attrs `prediction` (what was judged),
    `continuation` (all that was decoded), `answer` (the accepted one that the model finds likeliest), `top_answer` (the token on
    top), `rank` (the best of an accepted answer's first token), `length` of the prompt in tokens, those of the question, and what
    made it. Edits and cuts hold as models/decoding.py says.
    Raises SiteError for an edit that does not fit the model, whatever the question.
    """
    changes = config.changes.made()
    lasting(model, changes[0])
    read = [_read(model, question) for question in questions]
    asked = [found for found in read if not isinstance(found, FactFailure)]
    shared = {
        **origin_of(model),
        "max_new_tokens": config.max_new_tokens,
        "changes": config.changes.model_dump_json(),
    }
    done: list[xr.Dataset | FactFailure] = []
    for batch in _batches(model, asked, memory):
        done += _answered(model, batch, config.max_new_tokens, changes, shared)
        if progress is not None:
            progress(len(done), len(asked))
    left = iter(done)
    return [found if isinstance(found, FactFailure) else next(left) for found in read]


def _read(model: LanguageModel, question: QuestionPrompt) -> Asked | FactFailure:
    if not question.answers:
        return FactFailure(question.fact_id, "no accepted answer is known")
    try:
        ids = to_ids(question.prompt, model.tokenizer, model.config.vocab_size)[0]
        model.check_length(len(ids))
    except PromptError as error:
        return FactFailure(question.fact_id, str(error))
    return question, ids


def _answered(
    model: LanguageModel,
    batch: Sequence[Asked],
    count: int,
    changes: Made,
    shared: dict[str, object],
) -> list[xr.Dataset | FactFailure]:
    """What is wrong with one question is its own failure, not that of those beside it."""
    try:
        return [*_together(model, batch, count, changes, shared)]
    except (PromptError, SiteError) as error:
        if len(batch) == 1:
            return [FactFailure(batch[0][0].fact_id, str(error))]
        return [
            result
            for asked in batch
            for result in _answered(model, [asked], count, changes, shared)
        ]


def _together(
    model: LanguageModel,
    batch: Sequence[Asked],
    count: int,
    changes: Made,
    shared: dict[str, object],
) -> list[xr.Dataset]:
    edits, cuts = changes
    rows = [ids for _, ids in batch]
    run = model.run(rows, edits=edits, cuts=cuts, logits="last", keep_carry=True)
    if len(run.ids) != len(rows):
        raise SiteError("an edit's value has several rows, but a question has one; give one row")
    questions = [question for question, _ in batch]
    assert run.logits is not None

    def ended(made: list[int]) -> bool:
        return scores.answered(model.tokenizer.decode(made))

    likely = likeliness(model, questions, run, edits)
    # Last, because decoding takes the run's carry over.
    made = decode(model, run, count, edits=edits, ended=ended, last_use=True)
    tops = run.logits.argmax(-1).tolist()
    return [
        _result(
            question,
            len(ids),
            model.tokenizer.decode(more),
            best,
            model.tokenizer.decode([top]),
            shared,
        )
        for (question, ids), more, best, top in zip(batch, made, likely, tops, strict=True)
    ]


def _result(
    question: QuestionPrompt,
    length: int,
    continuation: str,
    best: Likeliness,
    top: str,
    shared: dict[str, object],
) -> xr.Dataset:
    prediction = scores.first_answer(continuation)
    values = {
        "exact": scores.exact(prediction, question.answers),
        "f1": scores.f1(prediction, question.answers),
        "contained": scores.contained(continuation, question.answers),
        "first_token": float(best.rank == 1),
        "reciprocal_rank": 1 / best.rank,
        "logprob": best.logprob,
    }
    attrs = {
        "method": METHOD,
        "fact_id": question.fact_id,
        "category": question.relation or "",
        "dataset": question.dataset,
        "prompt": question.prompt,
        "answers": json.dumps(question.answers, ensure_ascii=False),
        "prediction": prediction,
        "continuation": continuation,
        "answer": best.answer,
        "top_answer": top,
        "rank": best.rank,
        "length": length,
        **shared,
    }
    value = [values[name] for name in SCORES]
    return xr.Dataset({"value": ("score", value)}, {"score": list(SCORES)}, attrs)


def _batches(
    model: LanguageModel, asked: Sequence[Asked], memory: int | None
) -> Iterator[list[Asked]]:
    """Neighbours whose prompts one call of a block takes."""
    return packed(asked, lambda one: (len(one[1]),), (Budget.of(model, memory).tokens,))
