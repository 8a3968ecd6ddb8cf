"""Causal tracing: which (layer, position, site) restores the answer to a corrupted prompt, or breaks the clean one?

1. corrupt the subject  2. exchange one site between clean and corrupted run  3. read the answer's probability.
Meng et al. 2022 (ROME), section 2.1; severed runs: its appendix B.2, and Sharma et al. 2024 (arXiv 2404.03646) on Mamba. Every
cell sees the same corruption. On `state`, h_t after token t is exchanged, so the readout at t and everything that flows on
from it are changed while the tokens after t are not; on `conv_carry`, what the convolution remembers after t.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import ValidationError
from torch import Tensor

from mambascope.errors import ConfigError
from mambascope.interventions import Variant, answer_probability, replay
from mambascope.interventions.prompt import SubjectPrompt, answer_token, read_prompt, token_texts
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import (
    SubjectStatistics,
    corrupt,
)
from mambascope.methods.tracing.worlds import Worlds, window_size
from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.language_model import LanguageModel
from mambascope.results.manifest import versions

DEFAULT = TracingConfig()


@torch.no_grad()
def trace(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    *,
    subject: str | slice,
    answer: str | int | None = None,
    facts: Sequence[tuple[str, str]] | SubjectStatistics | None = None,
    site: str | Sequence[str] = DEFAULT.site,
    window: int | None = DEFAULT.window,
    align: str = DEFAULT.align,
    direction: str = DEFAULT.direction,
    corruption: str = DEFAULT.corruption,
    swap: str | Sequence[str] = DEFAULT.swap,
    reference: str | None = DEFAULT.reference,
    sever: str | Sequence[str] = DEFAULT.sever,
    samples: int = DEFAULT.samples,
    noise: float = DEFAULT.noise,
    seed: int = DEFAULT.seed,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Answer probability after exchanging one site at each layer and position.

    prompt, subject: a text and a part of it, or token ids and a slice of positions
    answer:          a text (its first token counts) or a token id; by default the model's own top token
    facts:           (prompt, subject) pairs, or their statistics: noise and mean are then those of all their subjects' tokens
    site to seed:    see TracingConfig
    progress:        told (cells done, cells in all)

    Returns dims (layer, position), or (site, layer, position) for several sites: `score` in [0, 1], the mean over the
    corrupted rows, NaN where a swapped subject has no such position; coords `token`, `role`; attrs `clean_score`,
    `corrupted_score`, `answer`, `answer_id`, `top_answer`, and provenance.
    Raises PromptError if the subject does not occur in the prompt, SiteError for a site that has no layers, ConfigError
    for an impossible option.
    """
    config = tracing_config(
        site=site if isinstance(site, str) else tuple(site),
        window=window,
        align=align,
        direction=direction,
        corruption=corruption,
        swap=(swap,) if isinstance(swap, str) else tuple(swap),
        reference=reference,
        sever=(sever,) if isinstance(sever, str) else tuple(sever),
        samples=samples,
        noise=noise,
        seed=seed,
    )
    windows = [window_size(model, name, config.window) for name in config.sites]
    asked = read_prompt(model, prompt, subject)
    corrupted = corrupt(model, prompt, asked, config, facts)
    worlds = Worlds(model, asked, corrupted, config)
    top = worlds.top
    target = top if answer is None else answer_token(model, prompt, answer, asked.ids)
    metric = answer_probability(target)
    cells = [
        (number, layer, position)
        for number in range(len(config.sites))
        for layer in range(model.config.n_layers)
        for position in range(asked.start, len(asked.ids))
    ]
    variants = [
        Variant(tuple(worlds.exchange(config.sites[number], windows[number], layer, position)))
        for number, layer, position in cells
    ]
    found = replay(model, worlds.base, variants, {"score": metric}, progress=progress)
    # Positions before the subject are the same in both runs: exchanging them changes nothing.
    shape = (len(config.sites), model.config.n_layers, len(asked.ids))
    unchanged = float(found.base["score"].mean())
    grid = np.full(shape, unchanged)
    for cell, scores in zip(cells, found.scores["score"], strict=True):
        there = worlds.corrupted.partners[:, cell[2]] >= 0
        grid[cell] = scores[there].mean() if there.any() else np.nan
    restoring = config.direction == "restore"
    other = worlds.clean_logits[None] if restoring else worlds.corrupted_logits
    exchanged = float(metric(other, torch.arange(len(other), device=model.device)).mean())
    attrs = {
        "method": "trace",
        "prompt": prompt if isinstance(prompt, str) else json.dumps(asked.ids),
        "answer": token_texts(model, [target])[0],
        "answer_id": target,
        "top_answer": token_texts(model, [top])[0],
        "clean_score": exchanged if restoring else unchanged,
        "corrupted_score": unchanged if restoring else exchanged,
        "site": ", ".join(config.sites),
        "window": windows[0] if isinstance(config.site, str) else windows,
        "direction": config.direction,
        "subject_start": asked.start,
        "subject_stop": asked.stop,
        **provenance(model, config),
    }
    return _dataset(grid, asked, config, attrs)


def tracing_config(**options: Any) -> TracingConfig:
    """The checked options; ConfigError says which one is wrong."""
    try:
        return TracingConfig(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if not name:
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from error
        raise ConfigError(f"{name}: {first['msg']}, but {first['input']!r} was given") from error


def provenance(model: LanguageModel, config: TracingConfig) -> dict[str, object]:
    """What made a result: model, hash of its weights, configuration, seed, versions."""
    return {
        "model": model.name,
        "weights": weights_hash(model),
        "config": config.model_dump_json(),
        "seed": config.seed,
        "versions": json.dumps(versions()),
    }


def _dataset(
    grid: np.ndarray, asked: SubjectPrompt, config: TracingConfig, attrs: dict[str, object]
) -> xr.Dataset:
    dims = ("site", "layer", "position")
    single = isinstance(config.site, str)
    coords: dict[str, Any] = {
        "layer": np.arange(grid.shape[1]),
        "position": np.arange(len(asked.ids)),
        "token": ("position", asked.tokens),
        "role": ("position", asked.roles),
    }
    if not single:
        coords["site"] = list(config.sites)
    score = (dims[1:], grid[0]) if single else (dims, grid)
    return xr.Dataset({"score": score}, coords=coords, attrs=attrs)
