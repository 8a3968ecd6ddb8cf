"""Whether the options of effective attention fit a model and its memory."""

from collections.abc import Sequence
from math import prod

import psutil
import torch
from torch import Tensor

from mambascope.errors import ConfigError
from mambascope.methods.attention.config import AttentionConfig
from mambascope.methods.attention.scans import KINDS
from mambascope.models.language_model import LanguageModel


def check_fits(model: LanguageModel, config: AttentionConfig) -> None:
    """ConfigError for options that have no meaning for this architecture."""
    architecture = model.config.architecture
    unit = KINDS[architecture].unit
    if config.reduce in ("channel", "head") and config.reduce != unit:
        raise ConfigError(
            f"reduce {config.reduce!r} does not fit a {architecture}, which has one map per {unit}: "
            f"use {unit!r}, 'mean_abs' or None"
        )
    if not config.with_dt and "dt" not in model.sites:
        raise ConfigError(f"a {architecture} has no dt that could be left out; leave out with_dt")
    layers = list(config.layers or ())
    if config.rollout and layers != list(range(layers[0], layers[0] + len(layers))):
        raise ConfigError(f"a rollout goes through layers one after the other, not {layers}")


def chosen_units(model: LanguageModel, config: AttentionConfig) -> Tensor:
    """The units that are kept, (units,); ConfigError for one that is not there."""
    kind = KINDS[model.config.architecture]
    count = model.sites[kind.sites[0]].shape[0]
    assert count is not None
    for number in config.units or ():
        if not 0 <= number < count:
            raise ConfigError(
                f"{kind.unit} {number} is out of range: the model has {kind.unit}s 0 to {count - 1}"
            )
    return torch.tensor(config.units or range(count), device=model.device)


def check_size(shape: Sequence[int], each: int) -> None:
    """ConfigError for a result of this shape, of so many bytes a number, that does not fit into the memory."""
    wanted, free = prod(shape) * each, psutil.virtual_memory().available
    if wanted > free // 2:
        sizes = " x ".join(map(str, shape))
        raise ConfigError(
            f"the result would have {sizes} numbers ({wanted / 1e9:.1f} GB), and {free / 1e9:.1f} GB of memory are free: "
            "ask for fewer layers or units, a shorter prompt, or reduce it ('mean_abs')"
        )
