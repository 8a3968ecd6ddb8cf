"""Sweeps made by hand: random scores for facts of unequal prompts."""

import json

import numpy as np
import xarray as xr

from mambascope.results.stack import stack_traces

PROMPTS = {
    "a": ("before", "subject_first", "subject_middle", "subject_middle", "subject_last", "last"),
    "b": ("subject_last", "after", "after", "last"),
    "c": ("before", "before", "subject_first", "subject_last"),
    "d": ("before", "subject_first", "subject_last", "after", "last"),
    "e": ("before", "subject_last", "after", "last"),
}


def trace(fact, roles, *, sites=("resid_post",), layers=3, seed=0, shift=0.0, **attrs):
    """A trace of random scores above a corrupted score of 0.1 to 0.2; before the subject nothing changes."""
    random = np.random.default_rng([seed, *fact.encode()])
    clean, corrupted = random.uniform(0.7, 0.9), random.uniform(0.1, 0.2)
    score = random.uniform(corrupted, clean, (len(sites), layers, len(roles))) + shift
    score[..., [role == "before" for role in roles]] = corrupted
    config = {"site": list(sites), "sever": [], **attrs.pop("config", {})}
    return xr.Dataset(
        {"score": (("site", "layer", "position"), score)},
        coords={
            "site": list(sites),
            "layer": np.arange(layers),
            "position": np.arange(len(roles)),
            "token": ("position", [f" t{n}" for n in range(len(roles))]),
            "role": ("position", list(roles)),
        },
        attrs={
            "method": "trace",
            "fact_id": fact,
            "relation": "r",
            "subject": "s",
            "prompt": f"prompt {fact}",
            "answer": " x",
            "top_answer": " x",
            "clean_score": clean,
            "corrupted_score": corrupted,
            "window": [1] * len(sites),
            "direction": "restore",
            "model": "m",
            "weights": "w",
            "seed": 0,
            "versions": "{}",
            "config": json.dumps(config),
            **attrs,
        },
    )


def sweep(prompts=PROMPTS, **options):
    """The stacked traces of the prompts."""
    return stack_traces([trace(fact, roles, **options) for fact, roles in prompts.items()])


def many(count, **options):
    """A sweep over `count` facts with the prompt of "d"."""
    return sweep({f"f{n}": PROMPTS["d"] for n in range(count)}, **options)
