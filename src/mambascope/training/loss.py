"""Next-token cross-entropy over packed documents."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from mambascope.sites import Segments

NO_TARGET = -100


def next_token_loss(
    logits: Float[Tensor, "tokens V"],
    ids: Int64[Tensor, " tokens"],
    segments: Segments,
    weights: Float32[Tensor, " tokens"] | None = None,
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood in nats of every token but each document's first, by `weights` of the tokens."""
    # Unwanted rows are marked, not left out: a copy of all other logits costs more than their losses.
    last = torch.from_numpy(segments.last).to(ids.device)
    following = ids.roll(-1).index_fill(0, last, NO_TARGET)
    losses = F.cross_entropy(logits.float(), following, ignore_index=NO_TARGET, reduction="none")
    if weights is None:
        weights = torch.ones(len(ids))
    scale = weights.to(logits.device).roll(-1).index_fill(0, last, 0.0)
    return losses @ (scale / scale.sum())
