"""The residual after a mixer."""

import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.sites import LayerTap


def added(
    resid: Float[Tensor, "tokens D"], out: Float[Tensor, "tokens D"], tap: LayerTap
) -> Float[Tensor, "tokens D"]:
    """resid + out, in the memory of `out` where nothing else looks at that."""
    if tap.idle and out.dtype == resid.dtype and not torch.is_grad_enabled():
        return out.add_(resid)
    return resid + out
