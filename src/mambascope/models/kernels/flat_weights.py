"""Weights as rows of numbers for a kernel that is called often: the rows lie where the weights lie, so nothing goes stale."""

import numpy as np
import torch
from torch import Tensor

from mambascope.models.kernels.blocks import flat


class FlatWeights:
    """The rows of some weights, looked up once, and again when one of them has moved."""

    def __init__(self) -> None:
        self._places: tuple[int, ...] = ()
        self._rows: tuple[np.ndarray, ...] = ()

    def of(self, *weights: Tensor | None) -> tuple[np.ndarray, ...]:
        """A row for each weight, an empty one for None; nothing at all if one is not contiguous float32 on CPU."""
        places = tuple(0 if weight is None else weight.data_ptr() for weight in weights)
        if places != self._places:
            plain = all(weight is None or _is_plain(weight) for weight in weights)
            self._rows = tuple(flat(weight) for weight in weights) if plain else ()
            self._places = places
        return self._rows

    def __reduce__(self) -> tuple[type["FlatWeights"], tuple[()]]:
        """A copy of a model has weights of its own."""
        return FlatWeights, ()


def _is_plain(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous()
