"""One token of up to sixteen rows through all layers of a Mamba-1, in place on what they remember; CPU, float32, no gradients.

    resid = resid + out_proj(gated),   gated as in step_numba.py, from in_proj(norm(resid)),   norm as in elementwise_numba.py

Made of the kernels that compute its parts. In one call, because behind the reading of a large weight nothing is left in the
second cache, and Python's own code between two calls would have to be fetched anew, a tenth of a millisecond each time.
Shapes: resid (rows, D); of each layer memory (rows, K-1, E) and state (rows, E, N), contiguous; D, E and N multiples of LANES.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic
from torch import Tensor

from mambascope.models.kernels.elementwise_numba import normalise
from mambascope.models.kernels.few_rows_numba import multiply
from mambascope.models.kernels.jit import sequence, use_torch_threads
from mambascope.models.kernels.simd import LANES, load, store
from mambascope.models.kernels.step_numba import selective_step_kernel

_operation: Any = intrinsic  # what it makes of a function is no function of Python


class Sizes(NamedTuple):
    """Of a layer: widths as in models/mamba1.py, R that of dt_low; `bcdt_eps` of Falcon's norms, below 0 without."""

    D: int
    E: int
    K: int
    N: int
    R: int
    eps: float
    bcdt_eps: float


def layers_step(resid: Tensor, weights: np.ndarray, memories: np.ndarray, sizes: Sizes) -> Tensor:
    """The residual after the last layer; all memories move on.

    weights:  addresses (addresses.py), a row for each layer: norm, in_proj (x before z) and its bias, the convolution's
              weight and bias, x_proj, dt_proj and its bias, A_log, D, out_proj and its bias; 0 where there is none
    memories: likewise the convolution's memory and the state
    """
    use_torch_threads()
    out = resid.detach().clone()
    small = np.float32(sizes.eps), np.float32(sizes.bcdt_eps)
    _layers_step(out.view(-1).numpy(), len(out), weights, memories, sizes[:-2], *small)
    return out


@_operation
def _pointer(context: Any, address: Any) -> Any:
    """An address as what `carray` takes."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), codegen


@sequence
def _numbers(address, count):
    """The `count` numbers that lie there."""
    return carray(_pointer(address), count, np.float32)


@sequence
def _layers_step(resid, rows, weights, memories, sizes, eps, bcdt_eps):
    width, E, K, N, R = sizes
    normed = np.empty(rows * width, dtype=np.float32)
    both = np.empty(rows * 2 * E, dtype=np.float32)
    gated = np.empty(rows * E, dtype=np.float32)
    mixed = np.empty(rows * width, dtype=np.float32)
    for layer in range(len(weights)):
        at = weights[layer]
        norm = _numbers(at[0], width)
        for row in range(0, rows * width, width):
            normalise(resid, row, norm, eps, normed, row)
        in_proj, bias = _numbers(at[1], 2 * E * width), _numbers(at[2], 2 * E * (at[2] != 0))
        multiply(normed, width, rows, in_proj, bias, 2 * E, width, both)
        selective_step_kernel(
            both,
            2 * E,
            both[E:],
            2 * E,
            _numbers(at[3], E * K),
            _numbers(at[4], E * (at[4] != 0)),
            _numbers(at[5], (R + 2 * N) * E),
            _numbers(at[6], E * R),
            _numbers(at[7], E),
            _numbers(at[8], E * N),
            _numbers(at[9], E),
            K,
            N,
            bcdt_eps,
            _numbers(memories[layer, 0], rows * (K - 1) * E),
            _numbers(memories[layer, 1], rows * E * N),
            gated,
        )
        out_proj, bias = _numbers(at[10], width * E), _numbers(at[11], width * (at[11] != 0))
        multiply(gated, E, rows, out_proj, bias, width, E, mixed)
        for i in range(0, rows * width, LANES):
            store(resid, i, load(resid, i) + load(mixed, i))
