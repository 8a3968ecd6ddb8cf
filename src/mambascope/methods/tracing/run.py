"""Causal tracing: which (layer, position, site) restores the answer to a corrupted prompt, or breaks the clean one?

1. corrupt the subject  2. exchange one site between clean and corrupted run  3. read the answer's probability.
Meng et al. 2022 (ROME), section 2.1; severed runs: its appendix B.2, and Sharma et al. 2024 (arXiv 2404.03646) on Mamba. Every
cell sees the same corruption. On `state`, h_t after token t is exchanged, so the readout at t and everything that flows on
from it are changed while the tokens after t are not; on `conv_carry`, what the convolution remembers after t.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mambascope.interventions.origin import origin_of
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import SubjectStatistics, statistics_of
from mambascope.methods.tracing.grid import traced
from mambascope.methods.tracing.question import ask
from mambascope.methods.tracing.windows import check_sites
from mambascope.models.language_model import LanguageModel
from mambascope.options import checked

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
    check_sites(model, config)
    question = ask(model, prompt, subject, answer, config, statistics_of(model, facts))
    (found,) = traced(model, [question], config, origin_of(model), progress=progress)
    if isinstance(config.site, str):
        found = found.isel(site=0, drop=True).assign_attrs(window=found.attrs["window"][0])
    return found


def tracing_config(**options: Any) -> TracingConfig:
    """The checked options; ConfigError says which one is wrong."""
    return checked(TracingConfig, **options)
