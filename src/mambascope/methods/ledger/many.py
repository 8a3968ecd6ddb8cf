"""Ledgers of many facts together: their prompts are rows of one base run, and one variant serves all of them.

Each fact's dataset is what `ledger` finds for it alone, to rounding. Which facts share a replay follows from the list given, the
configuration and `memory` alone.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.interventions.budget import Budget, bytes_of
from mambascope.interventions.facts import asked_or_failed, in_order, packed
from mambascope.interventions.origin import origin_of
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.grid import ledgers
from mambascope.methods.ledger.question import Question, ask
from mambascope.methods.ledger.run import check_model
from mambascope.methods.ledger.streams import SITES
from mambascope.methods.ledger.world import RECORDED_SHARE
from mambascope.models.language_model import LanguageModel


@torch.no_grad()
def ledger_many(
    model: LanguageModel,
    facts: Sequence[FactPrompt],
    config: LedgerConfig,
    *,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[xr.Dataset | FactFailure]:
    """One entry per fact, in the order given: the dataset of `ledger` for it alone, or why there is none.

    memory:   bytes for the replay, by default a quarter of what is free. How the work is split, and so how results are rounded,
              depends on it: give a number to have the same each time
    progress: told (facts done, facts in all)

    Each dataset has the sources that its prompt has, and attrs `fact_id`, `relation` ("" for none) and `subject` beside those of
    `ledger`. What is wrong with one fact is its FactFailure; what would be wrong with every fact raises, as in `ledger`.
    """
    check_model(model)
    asked = asked_or_failed(
        facts, lambda fact: ask(model, fact.prompt, fact.subject, fact.answer, config)
    )
    questions = [question for question in asked if isinstance(question, Question)]
    origin = origin_of(model) if questions else {}
    done: list[xr.Dataset] = []
    for batch in _batches(model, questions, memory):
        done += ledgers(model, batch, config, origin, memory=memory)
        if progress is not None:
            progress(len(done), len(questions))
    return in_order(facts, asked, done)


def _batches(
    model: LanguageModel, questions: Sequence[Question], memory: int | None
) -> Iterator[list[Question]]:
    """Neighbours whose base run is one call of a block, and whose recorded sites fit."""
    budget = Budget.of(model, memory)
    sites = (*SITES, "resid_post")
    of_token = model.config.n_layers * sum(bytes_of(model, name) for name in sites)
    most = min(budget.tokens, budget.memory // RECORDED_SHARE // of_token)
    return packed(questions, lambda question: (len(question.asked.ids),), (most,))
