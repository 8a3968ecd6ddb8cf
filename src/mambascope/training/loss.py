"""Next-token cross-entropy over packed documents."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from mambascope.sites import Segments


def next_token_loss(
    logits: Float[Tensor, "tokens V"], ids: Int64[Tensor, " tokens"], segments: Segments
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood in nats of every token but each document's first."""
    has_next = np.ones(segments.tokens, dtype=bool)
    has_next[segments.last] = False
    here = torch.from_numpy(np.flatnonzero(has_next)).to(logits.device)
    return F.cross_entropy(logits[here].float(), ids[here + 1])
