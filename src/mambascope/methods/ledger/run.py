"""Route ledger: by which route through each layer's mixer does what the target knows of a source reach the answer?

At the target, a Mamba mixer's output is made of what the scan reads from the state, of the convolution's taps, of the skip and of
the gate. Each is given the value that it would have had the target read nothing of the source, in one layer alone; the answer's
fall is that route's effect there. All coalitions of routes are replayed exactly, one token per layer, so that the effects of the
routes alone and their interaction sum to the total, and so do their Shapley values (Shapley 1953). world.py defines the routes.
"""

from collections.abc import Callable, Sequence

import torch
import xarray as xr
from torch import Tensor

from mambascope.errors import ModelError, PromptError
from mambascope.interventions.origin import origin_of
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.grid import ledgers
from mambascope.methods.ledger.question import ask
from mambascope.models.language_model import LanguageModel
from mambascope.options import checked

DEFAULT = LedgerConfig()


@torch.no_grad()
def ledger(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    *,
    subject: str | slice,
    answer: str | int | None = None,
    source: str | Sequence[str] = DEFAULT.source,
    target: int = DEFAULT.target,
    measure: str = DEFAULT.measure,
    confirm: int = DEFAULT.confirm,
    audit: int = DEFAULT.audit,
    seed: int = DEFAULT.seed,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """By how much the answer falls when routes of one layer's mixer no longer carry the source to the target.

    prompt, subject, answer: as in `trace`
    source to seed: see LedgerConfig
    progress: told (coalitions replayed, coalitions in all)

    Returns dims (layer, source, route), in nats or in probability: `single`, the fall with that route alone source-free;
    `shapley`; `screened`, the first-order estimate of `single`; by layer and source `total`, all routes source-free,
    `interaction` = total minus the sum of `single`, `screened_total`, and `confirmed`, false where only the screened values are
    there and the others NaN; by source `whole`, the fall when the target reads nothing of the source in any layer; by route
    `agreement`, Pearson's correlation of screened and exact over the confirmed cells. attrs `agreement_total`, `clean_score`,
    `answer`, `answer_id`, `top_answer`, and provenance.
    Raises PromptError if the prompt lacks a source that is named, ConfigError for an impossible option, ModelError for a
    transformer.
    """
    config = checked(
        LedgerConfig,
        source=(source,) if isinstance(source, str) else tuple(source),
        target=target,
        measure=measure,
        confirm=confirm,
        audit=audit,
        seed=seed,
    )
    check_model(model)
    question = ask(model, prompt, subject, answer, config)
    if config.source and question.missing:
        raise PromptError("; ".join(question.missing))
    (found,) = ledgers(model, [question], config, origin_of(model), progress=progress)
    return found


def check_model(model: LanguageModel) -> None:
    """ModelError unless the model's mixers have the routes of a Mamba."""
    if "scan_out" not in model.sites:
        raise ModelError(
            f"{model.name} is a transformer, whose tokens reach each other by attention alone, so there are no routes to tell "
            "apart; use a Mamba, or `knockout` for attention"
        )
