"""Screening: what each route and all of them would do to the answer if the rest of the model were linear.

What a route changes in the mixer's output is exact; what that does to the answer is taken from the gradient at the mixer's output
(attribution patching: Nanda 2023; Syed et al. 2023, arXiv 2310.10348). Two things differ from it, since a model that is sure of
its answer is flat where it stands. The gradient is the mean of two, with nothing changed and in the source-free run (trapezoidal
rule); and it is that of the answer's log-odds, log p / (1 - p), from which its probability follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.methods.ledger.plain import Plain
from mambascope.methods.ledger.question import Question
from mambascope.methods.ledger.world import CONV, EVERY, STATE, World
from mambascope.models.language_model import LanguageModel
from mambascope.results.ledger import ROUTES
from mambascope.sites import Cut, Edit


@dataclass(frozen=True, eq=False)
class Slope:
    """The log-odds of each row's answer in a run, and their gradient at each layer's mixer output at the target."""

    log_odds: Float[Tensor, " rows"]
    gradient: Float[Tensor, "layers rows D"]


def slope_of(
    model: LanguageModel,
    questions: Sequence[Question],
    answers: Sequence[int],
    cuts: Sequence[Cut] = (),
) -> Slope:
    """The slope of the run with these cuts."""
    size = (len(questions), 1, model.config.d_model)
    # A zero added to the site has the site's own gradient, whichever way the kernels take.
    zeros = [
        torch.zeros(size, dtype=model.dtype, device=model.device, requires_grad=True)
        for _ in range(model.config.n_layers)
    ]
    places = np.array([question.target for question in questions])[:, None]
    adding = [
        Edit(site="mixer_out", op="add", layers=layer, positions=places, value=zero)
        for layer, zero in enumerate(zeros)
    ]
    with torch.enable_grad():
        prompts = [question.asked.ids for question in questions]
        run = model.run(prompts, edits=adding, cuts=cuts, logits="last")
        assert run.logits is not None
        found = log_odds(run.logits, answers)
        gradients = torch.autograd.grad(found.sum(), zeros)
    gradient = torch.stack([each[:, 0] for each in gradients])
    return Slope(found.detach().double(), gradient.double())


def log_odds(logits: Float[Tensor, "rows V"], answers: Sequence[int]) -> Float[Tensor, " rows"]:
    """log p / (1 - p) of each row's answer, in nats: its logit less the log of the sum over all others."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = torch.tensor(list(answers), device=logits.device)[:, None]
    others = wide.scatter(1, own, -torch.inf).logsumexp(-1)
    return wide.gather(1, own)[:, 0] - others


def screened(
    model: LanguageModel,
    questions: Sequence[Question],
    world: World,
    changed: Float[Tensor, "coalitions layers rows D"],
    plain: Plain,
    slope: Slope,
    measure: str,
) -> Float[np.ndarray, "terms layers rows"]:
    """The estimated fall of the measure for each route alone and, last, for all of them, in the world's rows.

    changed: see `outputs`; slope: of the run in which nothing is changed
    """
    rows = torch.from_numpy(world.rows).to(model.device)
    free = slope_of(model, questions, plain.answers, [world.cuts[STATE | CONV]])
    gradient = (slope.gradient + free.gradient)[:, rows] / 2
    terms = [*(1 << route for route in range(len(ROUTES))), EVERY]
    change = (changed[terms] - changed[0]).double()
    before = slope.log_odds[rows]
    after = before + (gradient * change).sum(-1)
    of_odds = {"log_probability": F.logsigmoid, "probability": torch.sigmoid}[measure]
    return (of_odds(before) - of_odds(after)).cpu().numpy()
