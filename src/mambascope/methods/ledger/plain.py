"""The run in which nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.interventions import Metric, answer_log_probability, answer_probability
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.methods.ledger.question import Question
from mambascope.methods.ledger.streams import SITES, Streams, at_places, read_streams
from mambascope.models.language_model import LanguageModel

MEASURES = {"log_probability": answer_log_probability, "probability": answer_probability}


@dataclass(frozen=True, eq=False)
class Plain:
    """Each row's target: its streams, and the residual behind each layer; the answers, the top tokens and the answers' scores."""

    streams: Streams
    left: Float[Tensor, "layers rows D"]
    answers: list[int]
    tops: list[int]
    metric: Metric
    score: Float[np.ndarray, " rows"]


def plain_run(model: LanguageModel, questions: Sequence[Question], config: LedgerConfig) -> Plain:
    """Run the questions' prompts; an answer that is not given is the model's own."""
    prompts = [question.asked.ids for question in questions]
    run = model.run(prompts, record=[*SITES, "resid_post"], logits="last")
    assert run.logits is not None
    tops = run.logits.argmax(-1).tolist()
    answers = [
        top if question.answer is None else question.answer
        for question, top in zip(questions, tops, strict=True)
    ]
    metric = MEASURES[config.measure](answers)
    targets = [question.target for question in questions]
    every = torch.arange(len(prompts), device=model.device)
    return Plain(
        read_streams(model, run, targets),
        at_places(run, "resid_post", np.array(targets)[:, None])[:, :, 0],
        answers,
        tops,
        metric,
        metric(run.logits, every).double().cpu().numpy(),
    )
