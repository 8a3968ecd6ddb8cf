"""Decoding's shortest way through a Mamba-1: one token of each of a few rows through all layers in one call."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mambascope.models.kernels import addresses, can_step, can_step_through
from mambascope.models.protocol import Carry, MambaCarry
from mambascope.sites import Segments, Tap


def mamba1_steps(
    blocks: nn.ModuleList,
    resid: Float[Tensor, "rows D"],
    segments: Segments,
    carry: Sequence[Carry],
    tap: Tap,
) -> tuple[Float[Tensor, "rows D"], list[Carry]] | None:
    """The residual after the last block and each layer's carry; None where layers are looked at or kernels cannot."""
    if not (segments.steps and tap.layers_idle and can_step_through(resid)):
        return None
    layers: Any = list(blocks)
    remembered = [layer for layer in carry if isinstance(layer, MambaCarry)]
    weights = addresses([(block.norm.weight, *block.mixer.weights) for block in layers])
    able = all(can_step(resid, layer.conv, layer.state) for layer in remembered)
    if weights is None or not able:
        return None
    assert len(remembered) == len(layers)
    from mambascope.models.kernels.layers_step_numba import Sizes, layers_step

    kept = [layer.taken(segments) for layer in remembered]
    places = addresses([(layer.conv, layer.state) for layer in kept])
    assert places is not None
    c = layers[0].mixer.config
    falcon = -1.0 if c.bcdt_norm_eps is None else c.bcdt_norm_eps
    sizes = Sizes(c.d_model, c.d_inner, c.d_conv, c.d_state, c.dt_rank, c.norm_eps, falcon)
    return layers_step(resid, weights, places, sizes), [*kept]
