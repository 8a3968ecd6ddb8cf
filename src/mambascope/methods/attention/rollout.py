"""Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3): maps of single layers multiplied up.

Each target's row of absolute values is scaled to sum to 1 and averaged with the identity, which stands for the residual
stream; the product over the layers says what reaches a target at layer l from the tokens below the first. A row of a
Mamba's map has no sum by itself, so the scaling is what makes it comparable with a transformer's. A target that reads nothing
at all keeps what it has.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def rolled(
    below: Float[Tensor, "targets sources"] | None, layer: Float[Tensor, "targets sources"]
) -> Float[Tensor, "targets sources"]:
    """One more layer on the rollout of those below it (None: it is the first)."""
    identity = torch.eye(len(layer), dtype=layer.dtype, device=layer.device)
    weights = layer.abs()
    sums = weights.sum(1, keepdim=True)
    mixed = torch.where(sums > 0, (weights / sums + identity) / 2, identity)
    return mixed if below is None else mixed @ below
