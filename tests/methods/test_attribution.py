"""Attribution patching against finite differences and exact replay."""

import numpy as np
import pytest
import torch

import mambascope as ms
from tests.methods.test_tracing import IDS, REFERENCES, SUBJECT
from tests.models.reference import shake


def build(name):
    torch.manual_seed(0)
    return ms.load(shake(REFERENCES[name]()), dtype="float64")


MODELS = {name: build(name) for name in REFERENCES}


@pytest.mark.parametrize("name", MODELS)
def test_for_little_noise_the_estimate_is_the_exact_effect_at_every_site(name):
    found = ms.attribute(MODELS[name], IDS, subject=SUBJECT, noise=1e-3, samples=2, check=10_000)
    checked = ~np.isnan(found["exact"].values)
    assert checked[:, :, SUBJECT.start :].all()
    scale = np.abs(found["exact"].values[checked]).max()
    gap = np.abs(found["attribution"].values - found["exact"].values)[checked]
    assert gap.max() < 1e-2 * scale
    assert (np.abs(found["attribution"].values) > 0.01 * scale).any(axis=(1, 2)).sum() >= 5


@pytest.mark.parametrize("direction", ["restore", "corrupt"])
def test_the_exact_cells_are_those_of_a_trace(direction):
    model, sites = MODELS["mamba1"], ["resid_post", "state"]
    options = {"samples": 2, "noise": 2.0, "direction": direction}
    found = ms.attribute(model, IDS, subject=SUBJECT, site=sites, check=6, **options)
    traced = ms.trace(model, IDS, subject=SUBJECT, site=sites, window=1, **options)
    base = traced.attrs["corrupted_score" if direction == "restore" else "clean_score"]
    both = ~np.isnan(found["exact"].values)
    assert (both.sum(axis=(1, 2)) == 6).all()
    for name in ("clean_score", "corrupted_score", "answer", "top_answer", "weights"):
        assert found.attrs[name] == pytest.approx(traced.attrs[name]), name
    change = traced["score"].transpose("site", "layer", "position").values - base
    assert np.allclose(change[both], found["exact"].values[both], atol=1e-9)


def test_agreement_is_measured_by_site_over_the_checked_cells():
    found = ms.attribute(MODELS["gpt2"], IDS, subject=SUBJECT, site="resid_post", samples=2)
    both = ~np.isnan(found["exact"].values[0])
    x, y = found["attribution"].values[0][both], found["exact"].values[0][both]
    assert float(found["pearson"][0]) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert -1 <= float(found["spearman"][0]) <= 1


def test_swapped_subjects_of_another_length_are_estimated_too():
    model = ms.load("atlas-mamba1")
    found = ms.attribute(
        model, "The capital of South Korea is", subject="South Korea", corruption="swap",
        swap=["France", "North Korea"], site="resid_post", check=8,
    )  # fmt: skip
    assert not np.isnan(
        found["attribution"].values[:, :, 3]
    ).any()  # "South" has a partner in "North"
    assert found["exact"].notnull().sum() == 8
