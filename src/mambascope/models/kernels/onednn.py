"""oneDNN's float32 product with a packed weight: the operators that PyTorch's compiler emits, float32 all the way."""

from functools import cache

import torch
from torch import Tensor

from mambascope.models.kernels.packed import Packing


def _pack(weight: Tensor) -> tuple[Tensor, int]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
    return packed, weight.numel() * weight.element_size()


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), packed, bias, "none", [], "")


@cache
def _operators_exist() -> bool:
    """True if this PyTorch has the operators and they work on this machine."""
    try:
        copy, _ = _pack(torch.ones(16, 16))
        return bool((_multiply(torch.ones(2, 16), copy, None) == 16).all())
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


ONEDNN = Packing("onednn", _pack, _multiply, _operators_exist)
