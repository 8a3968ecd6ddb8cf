"""What is read from the last token's logits: (rows, V) to one number per row."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Metric = Callable[[Float[Tensor, "rows V"]], Float[Tensor, " rows"]]


def answer_probability(answer: int) -> Metric:
    """The probability, in [0, 1], of one token."""

    def probability(logits: Float[Tensor, "rows V"]) -> Float[Tensor, " rows"]:
        wide = torch.promote_types(logits.dtype, torch.float32)
        return logits.softmax(-1, dtype=wide)[:, answer]

    return probability
