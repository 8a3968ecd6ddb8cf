"""Where tensors lie, for a kernel that walks through all layers in one call."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def addresses(layers: Sequence[Sequence[Tensor | None]]) -> np.ndarray | None:
    """One row for each layer, 0 for what is None; None if a tensor is not contiguous float32 on CPU.

    They hold as long as the tensors do and are not kept: a weight may move, or be laid out anew where it lies.
    """
    if not all(x is None or _is_plain(x) for tensors in layers for x in tensors):
        return None
    places = [0 if x is None else x.data_ptr() for tensors in layers for x in tensors]
    return np.array(places).reshape(len(layers), -1)


def _is_plain(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
