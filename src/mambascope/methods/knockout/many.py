"""Knockouts of many facts together: their prompts are rows of one base run, and one cut serves all of them.

Each fact's dataset is what `knockout` finds for it alone, to rounding. Which facts share a replay follows from the list given,
the configuration and `memory` alone.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.interventions.budget import Budget
from mambascope.interventions.facts import asked_or_failed, in_order, packed
from mambascope.interventions.origin import origin_of
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.knockout.grid import knocked_out
from mambascope.methods.knockout.question import Question, ask
from mambascope.methods.knockout.settings import Settings
from mambascope.models.language_model import LanguageModel


@torch.no_grad()
def knockout_many(
    model: LanguageModel,
    facts: Sequence[FactPrompt],
    config: KnockoutConfig,
    *,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[xr.Dataset | FactFailure]:
    """One entry per fact, in the order given: the dataset of `knockout` for it alone, or why there is none.

    memory:   bytes for the replay, by default a quarter of what is free. How the work is split, and so how results are rounded,
              depends on it: give a number to have the same each time
    progress: told (facts done, facts in all)

    Each dataset has dims (source, start), also for one source, or (position, start); and attrs `fact_id`, `relation` ("" for
    none), `subject` and `missing` beside those of `knockout`. A source that a prompt does not have is NaN, and `missing` says
    why; a fact that has none of the sources, or with which something else is wrong, is its FactFailure. What would be wrong with
    every fact raises, as in `knockout`.
    """
    settings = Settings(model, config)
    asked = asked_or_failed(
        facts, lambda fact: ask(settings, fact.prompt, fact.subject, fact.answer)
    )
    questions = [question for question in asked if isinstance(question, Question)]
    origin = origin_of(model) if questions else {}
    done: list[xr.Dataset] = []
    for batch in _batches(model, questions, memory):
        found = knocked_out(settings, batch, origin, memory=memory)
        done += [
            each.assign_attrs(missing="; ".join(question.missing.values()))
            for each, question in zip(found, batch, strict=True)
        ]
        if progress is not None:
            progress(len(done), len(questions))
    return in_order(facts, asked, done)


def _batches(
    model: LanguageModel, questions: Sequence[Question], memory: int | None
) -> Iterator[list[Question]]:
    """Neighbours whose base run is one call of a block."""
    most = Budget.of(model, memory).tokens
    return packed(questions, lambda question: (len(question.asked.ids),), (most,))
