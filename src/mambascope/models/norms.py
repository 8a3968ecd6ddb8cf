"""Layer norms, computed in float32 for half-precision inputs."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mambascope.models.kernels import rms_norm


class RMSNorm(nn.Module):
    """x / rms(x) * weight (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "tokens D"]) -> Float[Tensor, "tokens D"]:
        """The normalised rows, in the weight's dtype."""
        return rms_norm(x, self.weight, self.eps)


class LayerNorm(nn.LayerNorm):
    """(x - mean) / std * weight + bias."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps=eps)

    def forward(self, input: Float[Tensor, "tokens D"]) -> Float[Tensor, "tokens D"]:
        """The normalised rows, in the weight's dtype."""
        return F.layer_norm(
            input.to(self.weight.dtype), self.normalized_shape, self.weight, self.bias, self.eps
        )
