"""Attribution patching: an estimate of a whole trace from one forward and one backward pass.

The effect of exchanging a site's value a for a' is estimated as (a' - a) dp/da, at the run that is changed (Nanda 2023;
Syed et al. 2023, arXiv 2310.10348). It is exact where the model is linear between the two values; how far it can be trusted is
measured on a random sample of cells, which are replayed exactly.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from mambascope.interventions import Metric, Variant, answer_probability, replay
from mambascope.interventions.origin import origin_of
from mambascope.interventions.prompt import token_texts
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import SubjectStatistics, statistics_of
from mambascope.methods.tracing.question import ask
from mambascope.methods.tracing.run import tracing_config
from mambascope.methods.tracing.windows import check_sites
from mambascope.methods.tracing.worlds import Worlds
from mambascope.models.language_model import LanguageModel
from mambascope.sites import Edit

DEFAULT = TracingConfig()


def attribute(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    *,
    subject: str | slice,
    answer: str | int | None = None,
    facts: Sequence[tuple[str, str]] | SubjectStatistics | None = None,
    site: str | Sequence[str] | None = None,
    check: int = 32,
    direction: str = DEFAULT.direction,
    corruption: str = DEFAULT.corruption,
    swap: str | Sequence[str] = DEFAULT.swap,
    reference: str | None = DEFAULT.reference,
    samples: int = DEFAULT.samples,
    noise: float = DEFAULT.noise,
    seed: int = DEFAULT.seed,
) -> xr.Dataset:
    """The change of the answer probability that `trace` would find, estimated for every cell; the options are those of `trace`.

    site:  by default every site of the layers that has one size in all runs
    check: how many random cells of each site are replayed exactly

    Returns dims (site, layer, position): `attribution`, the estimated change; `exact`, the true one in the cells that were
    checked, else NaN; and by site `pearson` and `spearman`, their correlation (NaN below 3 cells). attrs `clean_score`,
    `corrupted_score`, `answer`, `answer_id`, `top_answer`, and provenance, as of `trace`.
    Raises what `trace` raises.
    """
    named = [site] if isinstance(site, str) else site
    sites = (
        tuple(name for name, s in model.sites.items() if s.layered and None not in s.shape)
        if named is None
        else tuple(named)
    )
    config = tracing_config(
        site=sites, window=1, direction=direction, corruption=corruption, reference=reference,
        swap=(swap,) if isinstance(swap, str) else tuple(swap),
        samples=samples, noise=noise, seed=seed,
    )  # fmt: skip
    check_sites(model, config)
    with torch.no_grad():
        question = ask(model, prompt, subject, answer, config, statistics_of(model, facts))
        worlds = Worlds(model, [question], config)
    asked, (target,) = question.asked, worlds.targets
    metric = answer_probability(target)
    estimated = _estimate(model, worlds, sites, metric)
    exact, unchanged = _checked(model, worlds, sites, metric, estimated.shape, check, seed)
    (other,) = worlds.exchanged_scores().tolist()
    clean, corrupted = (other, unchanged) if worlds.restoring else (unchanged, other)
    pearson, spearman = _agreement(estimated, exact)
    dims = ("site", "layer", "position")
    return xr.Dataset(
        {
            "attribution": (dims, estimated),
            "exact": (dims, exact),
            "pearson": ("site", pearson),
            "spearman": ("site", spearman),
        },
        coords={
            "site": list(sites),
            "layer": np.arange(estimated.shape[1]),
            "position": np.arange(estimated.shape[2]),
            "token": ("position", asked.tokens),
            "role": ("position", asked.roles),
        },
        attrs={
            "method": "attribution",
            "prompt": prompt if isinstance(prompt, str) else json.dumps(asked.ids),
            "answer": token_texts(model, [target])[0],
            "answer_id": target,
            "top_answer": token_texts(model, worlds.tops)[0],
            "clean_score": clean,
            "corrupted_score": corrupted,
            "config": config.model_dump_json(),
            "seed": config.seed,
            **origin_of(model),
        },
    )


def _estimate(
    model: LanguageModel, worlds: Worlds, sites: Sequence[str], metric: Metric
) -> np.ndarray:
    """(sites, layers, positions): the gradient at the base run times the difference of the two runs' values."""
    base, n_layers = worlds.base, model.config.n_layers
    keys = [(name, layer) for name in sites for layer in range(n_layers)]
    with torch.no_grad():
        own = model.run(base.prompts, edits=base.edits, record=list(keys), logits="none")
    # A zero added to a site has the gradient of the site itself, whichever way the kernels take.
    zeros = {
        key: own[key]
        .nan_to_num()
        .zero_()
        .requires_grad_(True)  # NaN: behind a shorter prompt's end
        for key in keys
    }
    adding = [
        Edit(site=name, layers=layer, op="add", rows=[row], value=value[row, : len(prompt)])
        for (name, layer), value in zeros.items()
        for row, prompt in enumerate(base.prompts)
    ]
    with torch.enable_grad():
        run = model.run(base.prompts, edits=[*base.edits, *adding], logits="last")
        assert run.logits is not None
        rows = torch.arange(len(base.prompts), device=model.device)
        gradients = torch.autograd.grad(metric(run.logits, rows).sum(), list(zeros.values()))
    (question,) = worlds.questions
    found = np.full((len(sites), n_layers, len(question.asked.ids)), np.nan)
    # Before the subject the runs are equal: exchanging a value changes nothing.
    found[:, :, : question.asked.start] = 0.0
    for position in range(question.asked.start, found.shape[2]):
        places = worlds.places_at(position)
        for key, gradient in zip(keys, gradients, strict=True):
            if len(places.rows):
                slope = gradient[places.rows, worlds.positions(places)].flatten(1).double()
                difference = worlds.change(key, places, own).flatten(1).double()
                effect = (slope * difference).sum(1).mean()
                found[sites.index(key[0]), key[1], position] = float(effect)
    return found


def _checked(
    model: LanguageModel,
    worlds: Worlds,
    sites: Sequence[str],
    metric: Metric,
    shape: tuple[int, ...],
    check: int,
    seed: int,
) -> tuple[np.ndarray, float]:
    """The true change in `check` random cells of each site, NaN elsewhere; and the score that they are changes of."""
    exact = np.full(shape, np.nan)
    random = np.random.default_rng(seed)
    (question,) = worlds.questions
    places = {
        position: there
        for position in range(question.asked.start, shape[2])
        if len((there := worlds.places_at(position)).rows)
    }
    possible = [(layer, position) for layer in range(shape[1]) for position in places]
    cells = [
        (number, *possible[i])
        for number in range(len(sites))
        for i in random.permutation(len(possible))[:check]
    ]
    variants = [
        Variant(tuple(worlds.exchange(sites[number], 1, layer, places[position])))
        for number, layer, position in cells
    ]
    found = replay(model, worlds.base, variants, {"score": metric})
    change = found.scores["score"] - found.base["score"]
    for cell, rows in zip(cells, change, strict=True):
        exact[cell] = rows[places[cell[2]].rows].mean()
    return exact, float(found.base["score"].mean())


def _agreement(estimated: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's and Spearman's correlation for each site, over the cells that were checked."""
    found = np.full((2, len(exact)), np.nan)
    for number, (guess, truth) in enumerate(zip(estimated, exact, strict=True)):
        both = ~np.isnan(truth)
        x, y = guess[both], truth[both]
        if both.sum() >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0:
            found[:, number] = pearsonr(x, y)[0], spearmanr(x, y)[0]
    return found[0], found[1]
