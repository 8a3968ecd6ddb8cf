"""Memory for large results that is used again once nobody holds the result: a replay's states, layer after layer, and logits.

Fresh memory is cleared by the system, page by page at the first use of each, which takes twice as long as to compute the
states that go there.
"""

from math import prod
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat

LARGE = 2**20  # numbers: below this, the system's allocator keeps what is freed by itself
# Numbers, 256 MB, that are held idle; beyond, they go back to the system, the oldest first.
MOST = 2**26
_MOST_ROOM = 2  # times what is needed: larger memory is not held for a smaller result
_LINE = 16  # numbers in a line of the cache

_idle: list[np.ndarray] = []
_lock = RLock()  # a loan may end while another one begins, in the same thread too


class _Loan:
    """Memory that is idle again when the last array on it is gone."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__: dict[str, Any] = memory.__array_interface__
        self._memory = memory

    def __del__(self) -> None:
        with _lock:
            _idle.append(self._memory)
            while sum(map(len, _idle)) > MOST:
                _idle.pop(0)


def reused_flat(*shape: int) -> tuple[Tensor, np.ndarray]:
    """As `empty_flat`: a float32 tensor with anything in it, and its elements as one row.

    It begins at a cache line, since a vector that lies across two of them takes twice as long.
    """
    size = prod(shape)
    if size < LARGE:
        return empty_flat(*shape)
    with _lock:
        fitting = [idle for idle in _idle if size <= len(idle) <= _MOST_ROOM * size]
        memory = min(fitting, key=len) if fitting else _fresh(size)
        _idle[:] = [idle for idle in _idle if idle is not memory]
    row = np.asarray(_Loan(memory))[:size]
    return torch.from_numpy(row).view(shape), row


def _fresh(size: int) -> np.ndarray:
    """New memory; what is idle and too small goes, as results grow from layer to layer while variants begin."""
    _idle[:] = [idle for idle in _idle if len(idle) >= size]
    room = np.empty(size + _LINE, dtype=np.float32)
    first = -room.ctypes.data % (_LINE * room.itemsize) // room.itemsize
    return room[first : first + size]
