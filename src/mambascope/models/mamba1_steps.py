"""Decoding's shortest way through a Mamba-1: one token of each of a few rows through all layers in one call."""

from collections.abc import Iterable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mambascope.models.config import Mamba1Config
from mambascope.models.kernels import addresses, can_step, can_step_through
from mambascope.models.protocol import Carry, MambaCarry
from mambascope.sites import Segments, Tap


class Mamba1Steps:
    """Goes through all layers where that is possible: see `Architecture.steps`."""

    def __init__(self, config: Mamba1Config) -> None:
        self._config = config

    def __call__(
        self,
        blocks: Iterable[Any],
        resid: Float[Tensor, "rows D"],
        segments: Segments,
        carry: Sequence[Carry] | None,
        tap: Tap,
    ) -> tuple[Float[Tensor, "rows D"], list[Carry]] | None:
        """The residual after the last block and each layer's carry; None where layers are looked at or kernels cannot."""
        if carry is None or not (segments.steps and tap.layers_idle and can_step_through(resid)):
            return None
        remembered = [layer for layer in carry if isinstance(layer, MambaCarry)]
        weights = addresses([(block.norm.weight, *block.mixer.weights) for block in blocks])
        able = all(can_step(resid, layer.conv, layer.state) for layer in remembered)
        if weights is None or not able:
            return None
        assert len(remembered) == len(weights)
        from mambascope.models.kernels.layers_step_numba import layers_step

        kept = [layer.taken(segments) for layer in remembered]
        places = addresses([(layer.conv, layer.state) for layer in kept])
        assert places is not None
        return layers_step(resid, weights, places, _sizes(self._config)), [*kept]


def _sizes(config: Mamba1Config) -> Any:
    from mambascope.models.kernels.layers_step_numba import Sizes

    c, falcon = config, config.bcdt_norm_eps
    widths = c.d_model, c.d_inner, c.d_conv, c.d_state, c.dt_rank
    return Sizes(*widths, c.norm_eps, -1.0 if falcon is None else falcon)
