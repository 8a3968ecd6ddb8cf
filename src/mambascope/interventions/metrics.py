"""What is read from each row's last logits: (rows, V) to one number per row.

A metric is called with the logits and with the base row that each of them belongs to, so that every row can have its own
answer. Half-precision logits are widened to float32 first.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mambascope.models.kernels import log_sum_exp

Metric = Callable[[Float[Tensor, "n V"], Int64[Tensor, " n"]], Float[Tensor, " n"]]
Answers = int | Sequence[int]


def answer_probability(answers: Answers) -> Metric:
    """The probability, in [0, 1], of the answer: one token for all rows, or one per row."""
    return lambda logits, rows: _log_probability(logits, rows, answers).exp()


def answer_log_probability(answers: Answers) -> Metric:
    """The log-probability of the answer, in nats."""
    return lambda logits, rows: _log_probability(logits, rows, answers)


def logit_difference(answers: Answers, others: Answers) -> Metric:
    """The answer's logit minus that of another token (Wang et al. 2023, arXiv 2211.00593)."""

    def difference(logits: Float[Tensor, "n V"], rows: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        return _at(_wide(logits), rows, answers) - _at(_wide(logits), rows, others)

    return difference


def answer_rank(answers: Answers) -> Metric:
    """How many tokens have a higher logit than the answer; 0 is the top token."""

    def rank(logits: Float[Tensor, "n V"], rows: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        own = _at(logits, rows, answers)
        return (logits > own[:, None]).sum(-1).to(_wide(own).dtype)

    return rank


def top1_hit(answers: Answers) -> Metric:
    """1 where no token has a higher logit than the answer, else 0."""
    rank = answer_rank(answers)
    return lambda logits, rows: (r := rank(logits, rows)).eq(0).to(r.dtype)


def kl_from(clean: Float[Tensor, "R V"]) -> Metric:
    """KL(clean || row) in nats, from the clean run's last logits: one row for all, or one per base row."""
    reference = _wide(clean).log_softmax(-1)

    def divergence(logits: Float[Tensor, "n V"], rows: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        own = reference.expand(len(rows), -1) if len(reference) == 1 else reference[rows]
        return (own.exp() * (own - _wide(logits).log_softmax(-1))).sum(-1)

    return divergence


def _log_probability(
    logits: Float[Tensor, "n V"], rows: Int64[Tensor, " n"], answers: Answers
) -> Float[Tensor, " n"]:
    wide = _wide(logits)
    return _at(wide, rows, answers) - log_sum_exp(wide)


def _at(x: Float[Tensor, "n V"], rows: Int64[Tensor, " n"], tokens: Answers) -> Float[Tensor, " n"]:
    """The entry of each row's own token."""
    if isinstance(tokens, int):
        return x[:, tokens]
    own = torch.tensor(list(tokens), device=x.device)[rows]
    return x.gather(1, own[:, None])[:, 0]


def _wide(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return x.to(torch.promote_types(x.dtype, torch.float32))
