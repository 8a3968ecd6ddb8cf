"""Causal tracing: which (layer, position, site) restores the answer to a corrupted prompt?

1. corrupt the subject's embeddings with noise  2. restore one site from the clean run  3. read the answer's probability.
Meng et al. 2022 (ROME), section 2.1. Every cell sees the same noise. On `state`, h_t after token t is restored, so the
readout at t and everything that flows on from it are clean while the tokens after t are not.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from mambascope.errors import ConfigError, SiteError
from mambascope.interventions import BaseRun, Variant, answer_probability, replay
from mambascope.interventions.prompt import SubjectPrompt, answer_token, read_prompt, token_texts
from mambascope.methods.tracing.config import TracingConfig
from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.language_model import LanguageModel
from mambascope.models.run import Run
from mambascope.results.manifest import versions
from mambascope.sites import Edit

DEFAULT = TracingConfig()
RESIDUAL = ("resid_pre", "resid_mid", "resid_post")


@torch.no_grad()
def trace(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    *,
    subject: str | slice,
    answer: str | int | None = None,
    site: str = DEFAULT.site,
    window: int | None = DEFAULT.window,
    samples: int = DEFAULT.samples,
    noise: float = DEFAULT.noise,
    seed: int = DEFAULT.seed,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Answer probability after restoring one site of a corrupted run, for each layer and position.

    prompt, subject: a text and a part of it, or token ids and a slice of positions
    answer:          a text (its first token counts) or a token id; by default the model's own top token
    site to seed:    see TracingConfig
    progress:        told (cells done, cells in all)

    Returns dims (layer, position): `score` in [0, 1], the mean over the noise samples; coords `token`, `role`; attrs
    `clean_score`, `corrupted_score`, `answer`, `answer_id`, `top_answer`, and provenance.
    Raises PromptError if the subject does not occur in the prompt, SiteError for a site that has no layers, ConfigError
    for an impossible option.
    """
    config = _config(site=site, window=window, samples=samples, noise=noise, seed=seed)
    window = _window(model, config)
    asked = read_prompt(model, prompt, subject)
    clean = model.run([asked.ids], record=["embed", config.site], logits="last")
    assert clean.logits is not None
    top = int(clean.logits[0].argmax())
    target = top if answer is None else answer_token(model, prompt, answer, asked.ids)
    metric = answer_probability(target)
    noise = corruption(asked, clean["embed"][0], config)
    base = BaseRun([asked.ids] * config.samples, (noise,))
    cells = [
        (layer, position)
        for layer in range(model.config.n_layers)
        for position in range(asked.start, len(asked.ids))
    ]
    variants = [Variant(restoration(clean, config.site, window, *cell)) for cell in cells]
    found = replay(model, base, variants, {"score": metric}, progress=progress)
    corrupted = found.base["score"].mean()
    # Positions before the subject are the same in both runs: restoring them changes nothing.
    grid = np.full((model.config.n_layers, len(asked.ids)), corrupted)
    grid[:, asked.start :] = found.scores["score"].mean(-1).reshape(model.config.n_layers, -1)
    attrs = {
        "method": "trace",
        "prompt": prompt if isinstance(prompt, str) else json.dumps(asked.ids),
        "answer": token_texts(model, [target])[0],
        "answer_id": target,
        "top_answer": token_texts(model, [top])[0],
        "clean_score": float(metric(clean.logits, torch.zeros(1, dtype=torch.int64))[0]),
        "corrupted_score": float(corrupted),
        "site": config.site,
        "window": window,
        "subject_start": asked.start,
        "subject_stop": asked.stop,
        "model": model.name,
        "weights": weights_hash(model),
        "config": config.model_dump_json(),
        "seed": config.seed,
        "versions": json.dumps(versions()),
    }
    return _dataset(grid, asked, attrs)


def corruption(asked: SubjectPrompt, embed: Float[Tensor, "T D"], config: TracingConfig) -> Edit:
    """Gaussian noise on the subject's embeddings, one row per sample, in units of their standard deviation."""
    subject = embed[asked.start : asked.stop]
    random = torch.Generator().manual_seed(config.seed)
    drawn = torch.randn(config.samples, *subject.shape, generator=random)
    sigma = config.noise * subject.float().std(correction=0)
    positions = range(asked.start, asked.stop)
    return Edit(site="embed", op="add", positions=positions, value=sigma * drawn.to(embed.device))


def restoration(clean: Run, site: str, window: int, layer: int, position: int) -> tuple[Edit, ...]:
    """The site's clean value at one position, in the window of layers centred on this one."""
    return tuple(
        Edit(site=site, layers=near, positions=position, value=clean[site, near][0, position])
        for near in centred_window(layer, window, clean.n_layers)
    )


def centred_window(layer: int, window: int, n_layers: int) -> range:
    """ROME's window: from layer - window // 2 on, `window` layers, cut off at the ends."""
    first = layer - window // 2
    return range(max(0, first), min(n_layers, first + window))


def _config(**options: Any) -> TracingConfig:
    try:
        return TracingConfig(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{name}: {first['msg']}, but {first['input']!r} was given") from error


def _window(model: LanguageModel, config: TracingConfig) -> int:
    site = model.sites.get(config.site)
    if site is None or not site.layered:
        names = ", ".join(name for name, s in model.sites.items() if s.layered)
        raise SiteError(f"cannot trace site {config.site!r}; this model has: {names}")
    if config.window is not None:
        return config.window
    return 1 if config.site in RESIDUAL else max(1, model.config.n_layers // 5)


def _dataset(grid: np.ndarray, asked: SubjectPrompt, attrs: dict[str, object]) -> xr.Dataset:
    return xr.Dataset(
        {"score": (("layer", "position"), grid)},
        coords={
            "layer": np.arange(len(grid)),
            "position": np.arange(len(asked.ids)),
            "token": ("position", asked.tokens),
            "role": ("position", asked.roles),
        },
        attrs=attrs,
    )
