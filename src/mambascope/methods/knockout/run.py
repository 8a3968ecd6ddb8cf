"""Knockout: does the answer fall when the target no longer reads from the source, in this window of layers, by this route?

1. cut the edge from the source to the target in a window of layers  2. read the answer's probability  3. the next window.
Mamba Knockout (Endy et al. 2025, arXiv 2505.24244); attention knockout (Geva et al. 2023, arXiv 2304.14767). What is cut is
defined in sites/cuts.py: only what the target reads changes, and other tokens read the source as before. Differs from the
published code: the convolution is a route of its own, and names say what is cut, not what is kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mambascope.errors import PromptError
from mambascope.interventions.origin import origin_of
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.knockout.grid import knocked_out
from mambascope.methods.knockout.question import ask
from mambascope.methods.knockout.settings import Settings
from mambascope.models.language_model import LanguageModel
from mambascope.options import checked

DEFAULT = KnockoutConfig()


@torch.no_grad()
def knockout(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    *,
    subject: str | slice,
    answer: str | int | None = None,
    source: str | int | Sequence[str] | Sequence[int] = DEFAULT.source,
    target: str | int | Sequence[int] = DEFAULT.target,
    window: int = DEFAULT.window,
    align: str = DEFAULT.align,
    route: str | None = DEFAULT.route,
    mode: str = DEFAULT.mode,
    mean_of: str | None = DEFAULT.mean_of,
    reference: str | None = DEFAULT.reference,
    features: str | Sequence[int] = DEFAULT.features,
    seed: int = DEFAULT.seed,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Answer probability after cutting the edge from source to target in each window of layers.

    prompt, subject, answer: as in `trace`
    source:         a role, a position or several that are cut together, or a list of roles that are cut one by one
    target:         a role, a position or several
    window to seed: see KnockoutConfig
    progress:       told (cuts done, cuts in all)

    Returns dims (start,): `score`, the answer's probability in [0, 1]; `change`, in per cent of the clean probability; `hit`, 1
    where the answer is the top token, else 0; coords `start` (see `align`), `first_layer`, `last_layer` of each window; attrs
    `clean_score`, `clean_rank` (1 is the top token), `answer`, `answer_id`, `top_answer`, and provenance. A list of sources adds
    the dim `source` in front, source "each" the dim `position` with coords `token` and `role`.
    Raises PromptError if the prompt has no such source or target, ConfigError for an impossible option.
    """
    config = checked(
        KnockoutConfig,
        source=_sources(source),
        target=_numbers(target),
        window=window,
        align=align,
        route=route,
        mode=mode,
        mean_of=mean_of,
        reference=reference,
        features=_numbers(features),
        seed=seed,
    )
    settings = Settings(model, config)
    question = ask(settings, prompt, subject, answer)
    if question.missing and not config.by_position:
        raise PromptError("; ".join(question.missing.values()))
    (found,) = knocked_out(settings, [question], origin_of(model), progress=progress)
    if isinstance(config.source, str) and not config.by_position:
        name, places = config.source, found["positions"].values.tolist()[0]
        found = found.isel(source=0, drop=True).assign_attrs(source=name, positions=places)
    return found


def _sources(source: Any) -> Any:
    """A list of names is several sources; anything else is one."""
    if isinstance(source, str | int) or all(isinstance(each, int) for each in source):
        return _numbers(source)
    return tuple(source)


def _numbers(given: Any) -> Any:
    """Positions or features as the text that the configuration holds; a text as it is."""
    if isinstance(given, str):
        return given
    return ",".join(map(str, [given] if isinstance(given, int) else given))
