"""Where tensors lie, for a kernel that walks through all layers in one call."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Addresses:
    """The addresses of the weights of some layers: looked up once, and again when one of them has moved."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._table: np.ndarray | None = None
        self._held: list[Tensor] = []  # while these exist, nothing else comes to lie where they do

    def of(self, layers: Sequence[Sequence[Tensor | None]]) -> np.ndarray | None:
        """One row for each layer, 0 for what is None; None if a tensor is not contiguous float32 on CPU."""
        places = [-1 if x is None else x.data_ptr() for tensors in layers for x in tensors]
        if places != self._places:
            self._held = [x.detach() for tensors in layers for x in tensors if x is not None]
            plain = all(map(_is_plain, self._held))
            table = np.array(places).reshape(len(layers), -1).clip(min=0)
            self._table = table if plain else None
            self._places = places
        return self._table

    def __reduce__(self) -> tuple[type["Addresses"], tuple[()]]:
        """A copy of a model has weights of its own."""
        return Addresses, ()


def _is_plain(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
