"""Effective attention: how much each token reads of each earlier one, in a Mamba's scan as in a transformer's pattern.

1. run the prompt and read what the scan is made of  2. lay out its map by blocks of targets, sources and units  3. reduce each
block. Ali et al. 2024 (arXiv 2403.01590); the mathematics is in scans.py, decayed.py, mixer_map.py and rollout.py. Never
more than a block of an unreduced map is held.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mambascope.interventions.origin import origin_of
from mambascope.interventions.prompt import token_texts
from mambascope.methods.attention.blocks import (
    PAIRS,
    TARGETS,
    Step,
    every_unit,
    mean_abs,
    of_pairs,
    ranges,
)
from mambascope.methods.attention.config import BY_UNIT, AttentionConfig
from mambascope.methods.attention.fitting import check_fits, check_size, chosen_units
from mambascope.methods.attention.mixers import mixer_map, mixer_sites
from mambascope.methods.attention.readings import Reading, one_prompt, read_layers
from mambascope.methods.attention.rollout import rolled
from mambascope.methods.attention.scans import KINDS
from mambascope.models.language_model import LanguageModel
from mambascope.options import checked
from mambascope.sites.site import layers_in_range

DEFAULT = AttentionConfig()
METHOD = "attention"
Progress = Callable[[int, int], None]


@torch.no_grad()
def effective_attention(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    layers: int | Sequence[int] | None = DEFAULT.layers,
    *,
    span: str = DEFAULT.span,
    reduce: str | None = DEFAULT.reduce,
    units: Sequence[int] | None = DEFAULT.units,
    with_dt: bool = DEFAULT.with_dt,
    rollout: bool = DEFAULT.rollout,
    progress: Progress | None = None,
) -> xr.Dataset:
    """How much each target token reads of each source token, by layer.

    prompt:            a text or token ids
    layers to rollout: see AttentionConfig
    progress:          told (blocks of targets done, blocks in all)

    Returns dims (layer, target, source), and channel or head where each unit's map is kept: `attention`, 0 where the source
    comes after the target; coords `target_token`, `source_token`; attrs `span`, `reduce`, `architecture`, and provenance.
    Span "scan" obeys, unit by unit, scan_out[t] = sum over s of attention[t, s] u[s] + D u[t].
    Raises PromptError, SiteError for a layer that is not there, ConfigError for options that do not fit one another, the
    model or its memory.
    """
    config = checked(
        AttentionConfig,
        layers=tuple(layers_in_range(layers, model.config.n_layers, "the attention")),
        span=span,
        reduce=reduce,
        units=None if units is None else tuple(units),
        with_dt=with_dt,
        rollout=rollout,
    )
    check_fits(model, config)
    ids, chosen = one_prompt(model, prompt), chosen_units(model, config)
    values = _maps(model, ids, config, chosen, progress)
    text = prompt if isinstance(prompt, str) else json.dumps(ids)
    return _dataset(model, ids, config, chosen, values, text)


def _maps(
    model: LanguageModel,
    ids: list[int],
    config: AttentionConfig,
    units: Tensor,
    progress: Progress | None,
) -> np.ndarray:
    """(layers, targets, sources), and units where they are kept."""
    assert config.layers is not None
    full, by_unit = config.span == "mixer", config.reduce in BY_UNIT
    shape = (len(config.layers), len(ids), len(ids), *([len(units)] if by_unit else []))
    dtype = np.dtype(np.float64 if model.dtype == torch.float64 else np.float32)
    check_size(shape, dtype.itemsize)
    values = np.zeros(shape, dtype)
    step = _counted(
        progress, len(config.layers) * len(ranges(len(ids), PAIRS if full else TARGETS))
    )
    sites = mixer_sites(model) if full else KINDS[model.config.architecture].sites
    below: Tensor | None = None
    for place, (layer, reading) in zip(
        values, read_layers(model, ids, config.layers, sites), strict=True
    ):
        if by_unit:
            maps = KINDS[model.config.architecture].maps(model, layer, reading, config.with_dt)
            every_unit(maps, units, len(ids), step, place)
            continue
        found = _one_map(model, layer, reading, config, units, step)
        below = rolled(below, found) if config.rollout else found
        place[:] = below.cpu().numpy()
    return values


def _one_map(
    model: LanguageModel,
    layer: int,
    reading: Reading,
    config: AttentionConfig,
    units: Tensor,
    step: Step,
) -> Tensor:
    """(targets, sources) of one layer."""
    tokens = len(next(iter(reading.values())))
    if config.span == "mixer":
        measure = getattr(mixer_map(model, layer, reading), str(config.reduce))
        return of_pairs(measure, tokens, step)
    maps = KINDS[model.config.architecture].maps(model, layer, reading, config.with_dt)
    return mean_abs(maps, units, tokens, step)


def _dataset(
    model: LanguageModel,
    ids: list[int],
    config: AttentionConfig,
    units: Tensor,
    values: np.ndarray,
    prompt: str,
) -> xr.Dataset:
    tokens, unit = token_texts(model, ids), KINDS[model.config.architecture].unit
    dims = ("layer", "target", "source", unit)[: values.ndim]
    coords: dict[str, Any] = {
        "layer": list(config.layers or ()),
        "target": np.arange(len(ids)),
        "source": np.arange(len(ids)),
        "target_token": ("target", tokens),
        "source_token": ("source", tokens),
        **({unit: units.cpu().numpy()} if values.ndim == 4 else {}),
    }
    attrs = {
        "method": METHOD,
        "prompt": prompt,
        "architecture": model.config.architecture,
        "span": config.span,
        "reduce": config.reduce or "none",
        "rollout": config.rollout,
        "config": config.model_dump_json(),
        **origin_of(model),
    }
    return xr.Dataset({"attention": (dims, values)}, coords, attrs)


def _counted(progress: Progress | None, total: int) -> Step:
    """What tells `progress` about one more step each time it is called."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    if progress is not None:
        progress(0, total)
    return step
