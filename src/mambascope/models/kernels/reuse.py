"""Memory for large results that is used again once nobody holds the result: a replay's states, layer after layer, and logits.

Fresh memory is cleared by the system, page by page at the first use of each, which takes twice as long as to compute the
states that go there.
"""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat

LARGE = 2**20  # numbers: below this, the system's allocator keeps what is freed by itself
MOST = (
    2**26
)  # numbers, 256 MB, that are held idle; what is beyond goes back to the system, the oldest first
_MOST_ROOM = 2  # times what is needed: larger memory is not held for a smaller result

_idle: list[np.ndarray] = []


class _Loan:
    """Memory that is idle again when the last array on it is gone."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__: dict[str, Any] = memory.__array_interface__
        self._memory = memory

    def __del__(self) -> None:
        _idle.append(self._memory)
        while sum(map(len, _idle)) > MOST:
            _idle.pop(0)


def reused_flat(*shape: int) -> tuple[Tensor, np.ndarray]:
    """As `empty_flat`: a float32 tensor with anything in it, and its elements as one row.

    From PyTorch, whose memory begins at a cache line; a vector that lies across two of them takes twice as long.
    """
    size = prod(shape)
    if size < LARGE:
        return empty_flat(*shape)
    fitting = (n for n, idle in enumerate(_idle) if size <= len(idle) <= _MOST_ROOM * size)
    found = min(fitting, key=lambda n: len(_idle[n]), default=None)
    memory = _fresh(size) if found is None else _idle.pop(found)
    row = np.asarray(_Loan(memory))[:size]
    return torch.from_numpy(row).view(shape), row


def _fresh(size: int) -> np.ndarray:
    """New memory; what is idle and too small goes, as results grow from layer to layer while variants begin."""
    _idle[:] = [idle for idle in _idle if len(idle) >= size]
    return torch.empty(size).numpy()
