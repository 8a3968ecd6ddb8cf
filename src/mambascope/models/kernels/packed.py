"""Weights in the order in which a backend of linear.py reads them: copies that are never stale and go with their weight.

A copy goes when the weight goes, is made anew when the weight changes, and `release_packed_weights` drops them all. A change
is seen by the weight's version counter, which every in-place operation raises, training steps included; an edit through
`.data` does not, so a sample of the numbers is compared as well. Edits of a few numbers should go through `torch.no_grad()`
instead.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

_SAMPLE = 128


@dataclass(frozen=True, eq=False)
class Packing:
    """A backend that multiplies with a copy of the weight.

    pack:      weight (O, I) to the copy and its bytes
    multiply:  x (tokens, I), copy, bias (O,) or None to (tokens, O)
    available: whether this machine and this PyTorch have it
    """

    name: str
    pack: Callable[[Tensor], tuple[Any, int]]
    multiply: Callable[[Tensor, Any, Tensor | None], Tensor]
    available: Callable[[], bool]


def packed(weight: Tensor, packing: Packing) -> Any:
    """The weight's copy, made now if there is none that fits; None if there is none and none may be made."""
    key = id(weight), packing.name
    copy = _copies.get(key)
    if copy is None and not _may_copy.get():
        return None
    if copy is None or not copy.fits(weight):
        copy = _copies[key] = _copy(weight, packing)
    return copy.packed


@contextmanager
def without_new_copies() -> Iterator[None]:
    """Inside, products use packed copies that are there already and make none: for a single run that must stay small."""
    token = _may_copy.set(False)
    try:
        yield
    finally:
        _may_copy.reset(token)


def release_packed_weights() -> None:
    """Forget all packed copies; the next products make those anew that they need."""
    _copies.clear()


def packed_bytes() -> int:
    """The memory that packed copies take now."""
    return sum(copy.bytes for copy in _copies.values())


@dataclass(frozen=True, eq=False)
class _Copy:
    """A packed weight, with what tells whether it is still that of the weight."""

    of: "weakref.ref[Tensor]"
    version: int
    address: int
    sample: np.ndarray
    seen: bytes
    packed: Any
    bytes: int

    def fits(self, weight: Tensor) -> bool:
        """True if the weight has not changed since it was packed."""
        return (
            self.of() is weight
            and self.version == weight._version
            and self.address == weight.data_ptr()
            and self.sample.tobytes() == self.seen
        )


_Key = tuple[int, str]
_copies: dict[_Key, _Copy] = {}
_may_copy: ContextVar[bool] = ContextVar("_may_copy", default=True)


def _copy(weight: Tensor, packing: Packing) -> _Copy:
    key = id(weight), packing.name
    plain = weight.detach()
    sample = plain.reshape(-1).numpy()[:: max(1, weight.numel() // _SAMPLE)]
    made, size = packing.pack(plain)
    return _Copy(
        of=weakref.ref(weight, lambda gone: _forget(key, gone)),
        version=weight._version,
        address=weight.data_ptr(),
        sample=sample,
        seen=sample.tobytes(),
        packed=made,
        bytes=size,
    )


def _forget(key: _Key, gone: "weakref.ref[Tensor]") -> None:
    """Drop the copy of a weight that died, unless its key belongs to another weight by now."""
    if key in _copies and _copies[key].of is gone:
        del _copies[key]
