"""Matrix products: the one owner of the choice between PyTorch's own, oneDNN with a packed weight, and ours for few rows.

In float32 on CPU PyTorch's `F.linear` goes through MKL, which on some processors reaches a fraction of their speed; the
operators that PyTorch's compiler emits (`mkldnn._reorder_linear_weight`, `_linear_pointwise`) reach oneDNN, float32 all the
way. With few rows, as in decoding, reading the weights is most of the work, which few_rows_numba.py does without a copy.
Which is fastest depends on the machine and on the number of rows: measured once per process and class of row counts (some
hundredths of a second each), or set by MAMBASCOPE_LINEAR=mkl, onednn or numba; what is set but cannot compute a product
leaves it to MKL. Where gradients are needed, and for other dtypes and devices, it is always `F.linear`.

A packed weight is a second copy: where oneDNN is chosen, the weights in use take twice their memory. The copy goes when
the weight goes, is made anew when the weight changes, and `release_packed_weights` drops them all. A change is seen by the
weight's version counter, which every in-place operation raises, training steps included; an edit through `.data` does
not, so a sample of the numbers is compared as well. Edits of a few numbers should go through `torch.no_grad()` instead.
"""

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import ConfigError

_CHOICES = ("mkl", "onednn", "numba")
_CLASSES = (1, 4, 16, 32, 128)  # rows, at most; the last one for whole prompts
_FEW = 16  # rows, and outputs at least, of our own product
_WORTH_A_COPY = 1.15  # how much faster oneDNN must be than what makes no copy
_WEIGHTS = 4  # of 5 MB each, so that they come from beyond the second cache, as those of a model do
_SAMPLE = 128


def linear(
    x: Float[Tensor, "tokens I"],
    weight: Float[Tensor, "O I"],
    bias: Float[Tensor, " O"] | None = None,
) -> Float[Tensor, "tokens O"]:
    """x weight^T + bias."""
    chosen = _backend(len(x)) if _is_plain(x, weight, bias) else "mkl"
    if chosen == "onednn" and (_may_copy.get() or id(weight) in _copies):
        return _pointwise(x, _packed(weight), bias)
    if chosen == "numba" and len(weight) >= _FEW and weight.is_contiguous():
        return _few_rows()(x, weight, bias)
    return F.linear(x, weight, bias)


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
    packed: Tensor
    bytes: int

    def fits(self, weight: Tensor) -> bool:
        """True if the weight has not changed since it was packed."""
        return (
            self.of() is weight
            and self.version == weight._version
            and self.address == weight.data_ptr()
            and self.sample.tobytes() == self.seen
        )


_copies: dict[int, _Copy] = {}
_may_copy: ContextVar[bool] = ContextVar("_may_copy", default=True)


def _is_plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """True if the product is one that other backends than PyTorch's own compute."""
    plain = (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.ndim == 2
        and len(x) > 0
        and not weight.is_inference()
    )
    if not plain or not torch.is_grad_enabled():
        return plain
    return not (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )


def _packed(weight: Tensor) -> Tensor:
    copy = _copies.get(id(weight))
    if copy is None or not copy.fits(weight):
        copy = _copies[id(weight)] = _pack(weight)
    return copy.packed


def _pack(weight: Tensor) -> _Copy:
    key = id(weight)
    plain = weight.detach()
    sample = plain.reshape(-1).numpy()[:: max(1, weight.numel() // _SAMPLE)]
    return _Copy(
        of=weakref.ref(weight, lambda gone: _forget(key, gone)),
        version=weight._version,
        address=weight.data_ptr(),
        sample=sample,
        seen=sample.tobytes(),
        packed=_reorder(plain),
        bytes=weight.numel() * weight.element_size(),
    )


def _forget(key: int, gone: "weakref.ref[Tensor]") -> None:
    """Drop the copy of a weight that died, unless its key belongs to another weight by now."""
    if key in _copies and _copies[key].of is gone:
        del _copies[key]


def _backend(rows: int) -> str:
    wanted = os.environ.get("MAMBASCOPE_LINEAR", "")
    if wanted not in ("", *_CHOICES):
        raise ConfigError(
            f"MAMBASCOPE_LINEAR is {wanted!r}; it must be mkl, onednn or numba, or unset"
        )
    possible = _possible(rows)
    if wanted:
        return wanted if wanted in possible else "mkl"
    return _fastest(next((most for most in _CLASSES if rows <= most), _CLASSES[-1]), possible)


def _possible(rows: int) -> tuple[str, ...]:
    """The backends that can compute a product of so many rows."""
    ours = rows <= _FEW and os.environ.get("MAMBASCOPE_KERNELS") != "definition"
    able = {"mkl": True, "onednn": _operators_exist(), "numba": ours}
    return tuple(name for name in _CHOICES if able[name])


def _few_rows() -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Numba is imported where it is used at the earliest."""
    from mambascope.models.kernels import few_rows_numba

    return few_rows_numba.linear


@cache
def _operators_exist() -> bool:
    """True if this PyTorch has the operators and they work on this machine."""
    try:
        weight = torch.ones(16, 16)
        return bool((_pointwise(torch.ones(2, 16), _reorder(weight), None) == 16).all())
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


@cache
def _fastest(rows: int, among: tuple[str, ...]) -> str:
    with torch.no_grad():
        x, weights = torch.randn(rows, 768), [torch.randn(1536, 768) for _ in range(_WEIGHTS)]
        calls = [_products(name, x, weights) for name in among]
        seconds = dict(zip(among, _best_times(*calls, seconds=0.03 * len(among)), strict=True))
    if "onednn" in seconds:
        seconds["onednn"] *= _WORTH_A_COPY
    return min(among, key=lambda name: seconds[name])


def _products(name: str, x: Tensor, weights: list[Tensor]) -> Callable[[], Any]:
    """The products of x with all weights on one backend."""
    if name == "onednn":
        packed = [_reorder(weight) for weight in weights]
        return lambda: [_pointwise(x, weight, None) for weight in packed]
    if name == "numba":
        ours = _few_rows()
        return lambda: [ours(x, weight, None) for weight in weights]
    return lambda: [F.linear(x, weight) for weight in weights]


def _best_times(*calls: Callable[[], Any], seconds: float) -> list[float]:
    """The shortest time of each call, taken in turn so that a busy machine disturbs all alike."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or float("inf") in best:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def _reorder(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, 64)


def _pointwise(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), packed, bias, "none", [], "")
