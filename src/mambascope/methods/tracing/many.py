"""Tracing many facts together: their prompts share the forward passes, and one replay runs the cells of all of them.

Each fact's dataset is what `trace` finds for it alone, to rounding; what is saved is the cost of every edit and operator, paid
once for a batch. Which facts share a replay follows from the list given, the configuration and `memory` alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import ConfigError
from mambascope.interventions.budget import Budget, bytes_of
from mambascope.interventions.facts import asked_or_failed, in_order, packed
from mambascope.interventions.origin import origin_of
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import SubjectStatistics
from mambascope.methods.tracing.grid import traced
from mambascope.methods.tracing.question import Question, ask
from mambascope.methods.tracing.windows import check_sites, severed_sites
from mambascope.models.language_model import LanguageModel

RECORDED_SHARE = 4  # of the memory for a replay, what may be recorded beside it


@torch.no_grad()
def trace_many(
    model: LanguageModel,
    facts: Sequence[FactPrompt],
    config: TracingConfig,
    *,
    statistics: SubjectStatistics | None = None,
    swaps: Mapping[str, Sequence[str]] | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[xr.Dataset | FactFailure]:
    """One entry per fact, in the order given: the dataset of `trace` for it alone, or why there is none.

    statistics: of the whole fact set's subjects, for noise and mean; the facts of this batch are not enough to know them
    swaps:      for corruption "swap" the other subjects by fact_id (see `swap_subjects`)
    memory:     bytes for the replay, by default a quarter of what is free; a quarter as much again may be recorded beside it.
                How the work is split, and so how results are rounded, depends on it: give a number to have the same each time
    progress:   told (cells done, cells in all)

    Each dataset has dims (site, layer, position), also for one site, and attrs `fact_id`, `relation` ("" for none) and
    `subject` beside those of `trace`. What is wrong with one fact (its subject is not in its prompt, the prompt is empty or
    too long, no swapped subject fits) is its FactFailure; what would be wrong with every fact raises, as in `trace`.
    """
    if swaps is not None and config.corruption != "swap":
        raise ConfigError(
            f"other subjects (swaps) are for corruption 'swap', not {config.corruption!r}"
        )
    config = config.model_copy(update={"site": config.sites})
    check_sites(model, config)
    asked = asked_or_failed(
        facts, lambda fact: _ask(model, fact, _own(config, fact, swaps), statistics)
    )
    questions = [question for question in asked if isinstance(question, Question)]
    total = sum(_cells(model, question) for question in questions)
    origin = origin_of(model) if questions else {}
    done: list[xr.Dataset] = []
    for batch in _batches(model, questions, config, memory):
        before = sum(_cells(model, question) for question in questions[: len(done)])
        done += traced(
            model, batch, config, origin,
            memory=memory, progress=_from(progress, before, total),
        )  # fmt: skip
    return in_order(facts, asked, done)


def _own(
    config: TracingConfig, fact: FactPrompt, swaps: Mapping[str, Sequence[str]] | None
) -> TracingConfig:
    """The configuration with the subjects that are swapped in for this fact."""
    if swaps is None:
        return config
    return config.model_copy(update={"swap": tuple(swaps.get(fact.fact_id, ()))})


def _ask(
    model: LanguageModel,
    fact: FactPrompt,
    config: TracingConfig,
    statistics: SubjectStatistics | None,
) -> Question | FactFailure:
    if config.corruption == "swap" and not config.swap:
        return FactFailure(fact.fact_id, "no other subject was given to swap in")
    return ask(model, fact.prompt, fact.subject, fact.answer, config, statistics)


def _batches(
    model: LanguageModel, questions: Sequence[Question], config: TracingConfig, memory: int | None
) -> Iterator[list[Question]]:
    """Neighbours whose base run is one call of a block, and whose recorded sites fit."""
    budget = Budget.of(model, memory, (*config.sites, *config.sever))
    return packed(
        questions,
        lambda question: (_corrupted_tokens(question), _recorded(model, question, config)),
        (budget.tokens, budget.memory // RECORDED_SHARE),
    )


def _recorded(model: LanguageModel, question: Question, config: TracingConfig) -> int:
    """Bytes of the sites that are recorded for a question."""
    given, stay = (
        model.config.n_layers * sum(bytes_of(model, name) for name in names)
        for names in (config.sites, severed_sites(model, config))
    )
    clean, corrupted = len(question.asked.ids), _corrupted_tokens(question)
    restoring = config.direction == "restore"
    return given * (clean if restoring else corrupted) + stay * (corrupted if restoring else clean)


def _corrupted_tokens(question: Question) -> int:
    return sum(map(len, question.corrupted.prompts))


def _cells(model: LanguageModel, question: Question) -> int:
    return len(question.config.sites) * model.config.n_layers * question.cells


def _from(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """The same, counted from what earlier batches did."""
    return None if progress is None else lambda done, _: progress(before + done, total)
