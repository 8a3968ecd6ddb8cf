"""Features: which channels (Mamba-1) or heads (Mamba-2, attention) a knockout cuts. The name says what is cut.

all
slow, fast                       the third with the slowest or fastest decay by the L1 norm over N of exp(-exp(A_log))
                                 (Endy et al. 2025, arXiv 2505.24244, whose masks say what is kept)
slow_measured, fast_measured     the third with the longest or shortest half-life of exp(dt A) on the prompt, the mean over
                                 its tokens and over N
3,4                              these
not slow                         all but those
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from mambascope.errors import ConfigError
from mambascope.models.decay import decay_rates, half_lives
from mambascope.models.language_model import LanguageModel

NOT = "not "
PUBLISHED, MEASURED = ("slow", "fast"), ("slow_measured", "fast_measured")
NUMBERS = re.compile(r"\s*\d+\s*(,\s*\d+\s*)*")
ByLayer = dict[int, list[int]]


def check_features(model: LanguageModel, name: str) -> None:
    """ConfigError unless this names features of the model, ModelError for decays of a model that has none."""
    plain, size = name.removeprefix(NOT), width(model)
    if plain in (*PUBLISHED, *MEASURED):
        decay_rates(model, 0)
        if size < 3:
            raise ConfigError(f"a third of {size} features is none; name the features by number")
    elif NUMBERS.fullmatch(plain):
        found = [int(number) for number in plain.split(",")]
        outside = [number for number in found if number >= size]
        if outside:
            raise ConfigError(
                f"feature {outside[0]} is out of range: the model has features 0 to {size - 1}"
            )
        if name.startswith(NOT) and len(set(found)) == size:
            raise ConfigError(f"features {name!r} are none; name those that are to be cut")
    elif name != "all":
        raise ConfigError(
            f"unknown features {name!r}; they are one of: all, {', '.join((*PUBLISHED, *MEASURED))}, numbers such as 3,4, "
            f"or {NOT!r} and one of these"
        )


def width(model: LanguageModel) -> int:
    """How many features each layer has."""
    (size, *_) = model.sites["pattern" if "pattern" in model.sites else "scan_out"].shape
    assert size is not None
    return size


def is_measured(name: str) -> bool:
    """Whether the features are found on the prompt, so that each prompt has its own."""
    return name.removeprefix(NOT) in MEASURED


def fixed_features(model: LanguageModel, name: str) -> ByLayer | list[int] | None:
    """The features that are the same for every prompt, in every layer or by layer; None for all."""
    plain = name.removeprefix(NOT)
    if plain == "all":
        return None
    if NUMBERS.fullmatch(plain):
        return _kept({int(number) for number in plain.split(",")}, name, width(model))
    norms = [
        decay_rates(model, layer).exp().reshape(width(model), -1).sum(1)
        for layer in range(model.config.n_layers)
    ]
    return {layer: _third(norm, name) for layer, norm in enumerate(norms)}


@torch.no_grad()
def measured_features(
    model: LanguageModel, name: str, prompts: Sequence[Sequence[int]]
) -> list[ByLayer]:
    """The features of each prompt, by layer, from the dt of its own tokens."""
    run = model.run([list(ids) for ids in prompts], record=["dt"], logits="none")
    found: list[ByLayer] = [{} for _ in prompts]
    for layer in range(model.config.n_layers):
        rates, dt = decay_rates(model, layer), run["dt", layer]
        for own, row, ids in zip(found, dt, prompts, strict=True):
            lives = half_lives(rates, row[: len(ids)]).reshape(len(ids), width(model), -1)
            own[layer] = _third(lives.mean((0, 2)), name)
    return found


def _third(slowness: Tensor, name: str) -> list[int]:
    """The slowest or fastest third, or all but those; among equals the lower numbers are the slower."""
    fast = "fast" in name
    order = torch.argsort(slowness, descending=not fast, stable=True).tolist()
    return _kept(set(order[: len(order) // 3]), name, len(order))


def _kept(chosen: set[int], name: str, size: int) -> list[int]:
    every = set(range(size))
    return sorted(every - chosen if name.startswith(NOT) else chosen)
