"""The published settings of Mamba Knockout, run anew: how far are our numbers from those that were published?

1. each prompt as it is: the answer's and the top tokens' probabilities  2. each published knockout in each window
3. published beside measured. What the published settings mean here is in published.py.
"""

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import PromptError
from mambascope.interventions.origin import origin_of
from mambascope.interventions.prompt import (
    SubjectPrompt,
    answer_token,
    read_prompt,
    token_texts,
)
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.knockout.many import knockout_many
from mambascope.methods.knockout.published import (
    FEATURES_CUT,
    Published,
    PublishedKnockout,
    PublishedModel,
    PublishedPrompt,
)
from mambascope.methods.knockout.roles import positions_of, sources_of
from mambascope.models.language_model import LanguageModel

Progress = Callable[[int, int], None]


@torch.no_grad()
def reproduce(
    model: LanguageModel, published: Published, *, progress: Progress | None = None
) -> xr.Dataset:
    """Published and measured probabilities, side by side.

    progress: told (knockouts done, knockouts in all)

    Returns dims (knockout, prompt, start): `published` and `measured`, the answer's probability in [0, 1]; dims (prompt,):
    `clean_published`, `clean_measured`; dims (prompt, rank): `top_published`, `top_measured`, the probabilities of the
    top tokens, and their texts `top_token_published`, `top_token_measured`; coords `source`, `target`, `features_kept`,
    `features_cut` of each knockout, `text` and `answer` of each prompt, `prompt` (its number in the source), `start`; attrs
    `reference` (the published model), `reference_source`, `window` and provenance.
    Raises ModelError for a model that the file has no numbers for, PromptError if a prompt cannot be asked.
    """
    name, numbers = published.of(model)
    clean = _clean(model, numbers)
    measured = np.empty((len(numbers.knockouts), len(numbers.prompts), numbers.starts))
    for number, knockout in enumerate(numbers.knockouts):
        measured[number] = _cut(model, numbers, knockout, clean["clean_measured"].values)
        if progress is not None:
            progress(number + 1, len(numbers.knockouts))
    theirs = [[*each.answer_probability_by_window.items()] for each in numbers.knockouts]
    by_prompt = [[dict(series)[key] for key in numbers.prompts] for series in theirs]
    dims = ("knockout", "prompt", "start")
    cells = xr.Dataset(
        {"published": (dims, np.array(by_prompt)), "measured": (dims, measured)},
        coords={"start": np.arange(numbers.starts), **_settings(numbers)},
    )
    return xr.merge([cells, clean]).assign_attrs(
        method="reproduce",
        reference=name,
        reference_source=published.source,
        window=numbers.window,
        **origin_of(model),
    )


def _clean(model: LanguageModel, numbers: PublishedModel) -> xr.Dataset:
    """The prompts without a knockout."""
    prompts = [*numbers.prompts.values()]
    asked = [_read(model, key, prompt).ids for key, prompt in numbers.prompts.items()]
    answers = [
        answer_token(model, p.prompt, p.answer, ids) for p, ids in zip(prompts, asked, strict=True)
    ]
    logits = model.run(asked, logits="last").logits
    assert logits is not None
    probability = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    top = probability.topk(len(prompts[0].top5), dim=-1)
    ranked = ("prompt", "rank")
    return xr.Dataset(
        {
            "clean_published": ("prompt", [p.answer_probability for p in prompts]),
            "clean_measured": (
                "prompt",
                [float(p[a]) for p, a in zip(probability, answers, strict=True)],
            ),
            "top_published": (ranked, [[share for _, share in p.top5] for p in prompts]),
            "top_measured": (ranked, top.values.double().cpu().numpy()),
            "top_token_published": (ranked, [[text for text, _ in p.top5] for p in prompts]),
            "top_token_measured": (
                ranked,
                [token_texts(model, ids) for ids in top.indices.tolist()],
            ),
        },
        coords={
            "prompt": [*numbers.prompts],
            "text": ("prompt", [p.prompt for p in prompts]),
            "answer": ("prompt", [p.answer for p in prompts]),
            "rank": np.arange(1, len(prompts[0].top5) + 1),
        },
    )


def _cut(
    model: LanguageModel, numbers: PublishedModel, knockout: PublishedKnockout, clean: np.ndarray
) -> np.ndarray:
    """The answer's probability by (prompt, start); the clean one where the prompt has nothing to cut."""
    measured = np.repeat(clean[:, None], numbers.starts, axis=1)
    facts = {
        row: FactPrompt(
            fact_id=key, prompt=prompt.prompt, subject=prompt.subject, answer=prompt.answer
        )
        for row, (key, prompt) in enumerate(numbers.prompts.items())
        if _cuts_something(model, key, prompt, knockout)
    }
    config = KnockoutConfig(
        source=knockout.source,
        target=knockout.target,
        window=knockout.window,
        align="left",
        route="scan",
        mode="zero",
        features=FEATURES_CUT[knockout.features_kept],
    )
    for row, found in zip(facts, knockout_many(model, [*facts.values()], config), strict=True):
        if isinstance(found, FactFailure):
            raise PromptError(f"prompt {found.fact_id}: {found.reason}")
        measured[row] = found["score"].values[0]
    return measured


def _cuts_something(
    model: LanguageModel, key: str, prompt: PublishedPrompt, knockout: PublishedKnockout
) -> bool:
    """Whether the prompt has such a source before such a target."""
    asked = _read(model, key, prompt)
    try:
        sources_of(knockout.source, asked, positions_of(knockout.target, asked), seed=0)
    except PromptError:
        return False
    return True


def _read(model: LanguageModel, key: str, prompt: PublishedPrompt) -> SubjectPrompt:
    """The prompt's tokens and subject; PromptError that names the prompt."""
    try:
        return read_prompt(model, prompt.prompt, prompt.subject)
    except PromptError as error:
        raise PromptError(f"prompt {key}: {error}") from error


def _settings(numbers: PublishedModel) -> dict[str, tuple[str, list[str]]]:
    """What was cut, by knockout."""
    each = numbers.knockouts
    return {
        "source": ("knockout", [k.source for k in each]),
        "target": ("knockout", [k.target for k in each]),
        "features_kept": ("knockout", [k.features_kept for k in each]),
        "features_cut": ("knockout", [FEATURES_CUT[k.features_kept] for k in each]),
    }
