"""How fast a layer's state forgets: its decay rates, and the half-lives that they and the actual dt give.

The state decays by exp(dt_t A) at token t, with A = -exp(A_log) (Gu & Dao 2023, section 3.6). dt depends on the token, so a
half-life read from A_log alone is not what happens on a prompt.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import ModelError
from mambascope.models.language_model import LanguageModel
from mambascope.sites.site import layers_in_range


def decay_rates(model: LanguageModel, layer: int) -> Float[Tensor, "..."]:
    """A = -exp(A_log), at least in float32: (E, N) for Mamba-1, (H,) for Mamba-2.

    Raises ModelError for a model whose layers have no such state, SiteError for a layer that it does not have.
    """
    (number,) = layers_in_range(layer, model.config.n_layers, "the decay rates")
    mixer = getattr(model.blocks[number], "mixer", None)
    if mixer is None:
        raise ModelError(
            f"{model.name} is a {model.config.architecture}, whose layers have no decaying state; "
            "decay rates and half-lives need a Mamba"
        )
    stored = mixer.A_log.detach()
    return -torch.exp(stored if stored.dtype == torch.float64 else stored.float())


def half_lives(
    rates: Float[Tensor, "..."], dt: Float[Tensor, "T channels"]
) -> Float[Tensor, "T ..."]:
    """After how many tokens like each one half of the state would be left: ln 2 / (dt |A|).

    rates: as `decay_rates` gives them; dt: the site `dt` of one prompt. (T, E, N) for Mamba-1, (T, H) for Mamba-2;
    infinite where dt is 0.
    """
    step = dt.to(rates.dtype).reshape(*dt.shape, *[1] * (rates.ndim - 1))
    return math.log(2) / (step * rates.abs())
