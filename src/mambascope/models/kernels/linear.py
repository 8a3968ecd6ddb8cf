"""Matrix products: the one owner of the choice between PyTorch's own, those with a packed weight, and ours for few rows.

In float32 on CPU PyTorch's `F.linear` goes through MKL, which on some processors reaches a fraction of their speed; oneDNN
with a packed weight does not (onednn.py). On processors with a bfloat16 matrix unit our own product is faster than both, at
the same accuracy (split_product.py). With few rows, as in decoding, reading the weights is most of the work, which
few_rows_numba.py does without a copy, and the matrix unit's larger copy would cost time. Which is fastest depends on the
machine and on the number of rows: measured once per process and class of row counts (some hundredths of a second each), or
set by MAMBASCOPE_LINEAR=mkl, onednn, amx or numba; what is set but cannot compute a product leaves it to MKL, and few rows
of the matrix unit to the kernel for them. Where gradients are needed, and for other dtypes and devices, it is always
`F.linear`.

A packed weight is a second copy (packed.py): the weights in use take twice their memory with oneDNN, two and a half times
with the matrix unit.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import ConfigError
from mambascope.models.kernels.matrix_unit import has_matrix_unit
from mambascope.models.kernels.onednn import ONEDNN
from mambascope.models.kernels.packed import Packing, packed

_CHOICES = ("mkl", "onednn", "amx", "numba")
_CLASSES = (1, 4, 16, 32, 128)  # rows, at most; the last one for whole prompts
FEW = 16  # rows, and outputs at least, of our own product for few rows
_WORTH_A_COPY = 1.15  # how much faster a packed weight must make a product than what makes no copy
_WEIGHTS = 4  # of 5 MB each, so that they come from beyond the second cache
_WEIGHTS_FOR_FEW = (
    20  # where reading is most of the work, from beyond the last one, as those of a model do
)


def linear(
    x: Float[Tensor, "tokens I"],
    weight: Float[Tensor, "O I"],
    bias: Float[Tensor, " O"] | None = None,
) -> Float[Tensor, "tokens O"]:
    """x weight^T + bias."""
    chosen = _backend(len(x)) if _is_plain(x, weight, bias) else "mkl"
    if chosen == "numba" and len(weight) >= FEW and weight.is_contiguous():
        return _few_rows()(x, weight, bias)
    if chosen in ("onednn", "amx"):
        packing = _packing(chosen)
        copy = packed(weight, packing)
        if copy is not None:
            return packing.multiply(x, copy, bias)
    return F.linear(x, weight, bias)


def reads_in_place(rows: int) -> bool:
    """Whether products of so many rows are those of few_rows_numba.py."""
    return _backend(rows) == "numba"


def fastest_packing() -> str:
    """The backend with packed weights that is fastest where it exists: amx, or onednn."""
    return "amx" if has_matrix_unit() else "onednn"


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


def _backend(rows: int) -> str:
    ours = os.environ.get("MAMBASCOPE_KERNELS") != "definition"
    at_most = next((most for most in _CLASSES if rows <= most), _CLASSES[-1])
    return _chosen(at_most, os.environ.get("MAMBASCOPE_LINEAR", ""), ours)


@cache
def _chosen(rows: int, wanted: str, ours: bool) -> str:
    """The backend for so many rows; `ours`: whether our own kernels are on."""
    if wanted not in ("", *_CHOICES):
        raise ConfigError(
            f"MAMBASCOPE_LINEAR is {wanted!r}; it must be {', '.join(_CHOICES[:-1])} or {_CHOICES[-1]}, or unset"
        )
    if wanted == "amx" and rows <= FEW:
        wanted = "numba"  # it reads less, and reading is most of the work
    if wanted:
        return wanted if _able(wanted, rows, ours) else "mkl"
    # Only one way of packing is tried, so that no weight is copied twice.
    names = ("mkl", fastest_packing(), "numba")
    return _fastest(rows, [name for name in names if _able(name, rows, ours)])


def _able(backend: str, rows: int, ours: bool) -> bool:
    """Whether the backend can compute a product of so many rows."""
    if backend == "numba":
        return ours and rows <= FEW
    if backend == "amx":
        return ours and rows > FEW and _packing(backend).available()
    return backend == "mkl" or _packing(backend).available()


def _packing(backend: str) -> Packing:
    """Numba is imported where it is used at the earliest."""
    if backend == "onednn":
        return ONEDNN
    from mambascope.models.kernels.split_product import SPLIT

    return SPLIT


def _few_rows() -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """As above."""
    from mambascope.models.kernels import few_rows_numba

    return few_rows_numba.linear


def _fastest(rows: int, among: list[str]) -> str:
    with torch.no_grad():
        count = _WEIGHTS_FOR_FEW if rows <= FEW else _WEIGHTS
        x, weights = torch.randn(rows, 768), [torch.ones(1536, 768) for _ in range(count)]
        calls = [_products(name, x, weights) for name in among]
        seconds = dict(zip(among, _best_times(*calls, seconds=0.03 * len(among)), strict=True))
    for name in {"onednn", "amx"} & {*among}:
        seconds[name] *= _WORTH_A_COPY
    return min(among, key=lambda name: seconds[name])


def _products(name: str, x: Tensor, weights: list[Tensor]) -> Callable[[], Any]:
    """The products of x with all weights on one backend."""
    if name == "mkl":
        return lambda: [F.linear(x, weight) for weight in weights]
    if name == "numba":
        ours = _few_rows()
        return lambda: [ours(x, weight, None) for weight in weights]
    packing = _packing(name)
    copies = [packing.pack(weight)[0] for weight in weights]
    return lambda: [packing.multiply(x, copy, None) for copy in copies]


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
