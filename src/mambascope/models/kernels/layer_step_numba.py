"""One token of up to sixteen rows through a whole Mamba-1 layer, in place on what it remembers; CPU, float32, no gradients.

    resid + out_proj(gated),   gated as in step_numba.py, from in_proj(norm(resid)),   norm as in elementwise_numba.py

Made of the kernels that compute its parts. In one call, because behind the reading of a large weight nothing is left in the
second cache, and Python's own code between two calls would have to be fetched anew.
Shapes: resid (rows, D); memory (rows, K-1, E); state (rows, E, N), contiguous; D, E and N multiples of LANES.
"""

import numpy as np
from torch import Tensor

from mambascope.models.kernels.blocks import empty_flat, rows
from mambascope.models.kernels.few_rows_numba import multiply
from mambascope.models.kernels.jit import sequence, use_torch_threads
from mambascope.models.kernels.simd import LANES, load, splat, store, total
from mambascope.models.kernels.step_numba import selective_step_kernel

_NOTHING = np.float32(0.0)


def layer_step(
    resid: Tensor,
    weights: tuple[np.ndarray, ...],
    norm_eps: float,
    bcdt_norm_eps: float | None,
    memory: Tensor,
    state: Tensor,
) -> Tensor:
    """The residual after the layer; both memories move on.

    weights: as rows (flat_weights.py), in the order of the arguments of `_layer_step`; in_proj gives x before z
    """
    use_torch_threads()
    out, flat_out = empty_flat(*resid.shape)
    bcdt = np.float32(-1 if bcdt_norm_eps is None else bcdt_norm_eps)
    sizes = len(resid), memory.shape[1] + 1, state.shape[2], np.float32(norm_eps), bcdt
    remembered = memory.view(-1).numpy(), state.view(-1).numpy()
    _layer_step(*rows(resid), *weights, *sizes, *remembered, flat_out)
    return out


@sequence
def _layer_step(
    resid,
    step,
    norm,
    in_proj,
    in_bias,
    conv_weight,
    conv_bias,
    x_proj,
    dt_proj,
    dt_bias,
    A_log,
    D,
    out_proj,
    out_bias,
    count,
    K,
    N,
    eps,
    bcdt_eps,
    memory,
    state,
    out,
):
    width, E = len(norm), len(D)
    normed = np.empty(count * width, dtype=np.float32)
    both = np.empty(count * 2 * E, dtype=np.float32)
    gated = np.empty(count * E, dtype=np.float32)
    for m in range(count):
        squares = splat(_NOTHING)
        for i in range(0, width, LANES):
            x = load(resid, m * step + i)
            squares = squares + x * x
        scale = np.float32(1.0) / np.sqrt(total(squares) / np.float32(width) + eps)
        for i in range(0, width, LANES):
            store(normed, m * width + i, load(resid, m * step + i) * scale * load(norm, i))
    multiply(normed, width, count, in_proj, in_bias, 2 * E, width, both)
    selective_step_kernel(
        both,
        2 * E,
        both[E:],
        2 * E,
        conv_weight,
        conv_bias,
        x_proj,
        dt_proj,
        dt_bias,
        A_log,
        D,
        K,
        N,
        bcdt_eps,
        memory,
        state,
        gated,
    )
    multiply(gated, E, count, out_proj, out_bias, width, E, out)
    for m in range(count):
        for i in range(0, width, LANES):
            to = m * width + i
            store(out, to, load(out, to) + load(resid, m * step + i))
