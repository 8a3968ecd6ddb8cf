"""Knockouts tell the routes of planted models apart: the latch falls by the scan alone, the shift by the convolution alone.

The published method cuts the scan only, so it does not see what the convolution carries.
"""

import numpy as np
import pytest
import torch

import mambascope as ms
from mambascope.models.planted import MECHANISMS, plant
from mambascope.models.planted.layers import INNER
from mambascope.models.planted.mechanisms import N_LAYERS

SEEDS = range(6)
WINDOW = 3
FALLEN, UNHARMED = 0.3, 0.9  # of the clean probability, which is 0.9 at least
ROUTES = ("scan", "conv", "both")
OPENS = {"state": ("scan", "both"), "conv_carry": ("conv", "both")}
"""The routes whose cut severs an edge of a planted model."""


def left(planted, **options):
    """By window of layers, the share of the answer's clean probability that is left."""
    found = ms.knockout(
        planted.model, planted.prompt, subject=planted.subject, answer=planted.answer,
        **{"window": WINDOW} | options,
    )  # fmt: skip
    assert found.attrs["clean_score"] > 0.9
    return found["score"].values / found.attrs["clean_score"]


def covering(layer, window=WINDOW):
    """Which windows hold this layer."""
    return np.array([start <= layer < start + window for start in range(N_LAYERS - window + 1)])


def assert_falls(share, where, told):
    assert (share[where] < FALLEN).all(), (told, share)
    assert (share[~where] > UNHARMED).all(), (told, share)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["latch", "shift"])
def test_one_step_falls_by_its_own_route_in_the_windows_that_hold_its_layer(name, route):
    for seed in SEEDS:
        planted = plant(name, seed)
        (edge,) = planted.edges
        severed = covering(edge.layer) & (route in OPENS[edge.route])
        assert_falls(left(planted, route=route), severed, (seed, route))


def test_the_published_route_alone_misses_what_the_convolution_carries():
    for seed in SEEDS:
        shift, latch = plant("shift", seed), plant("latch", seed)
        whole = {"window": N_LAYERS}
        assert left(shift, **whole) > UNHARMED
        assert left(shift, route="conv", **whole) < FALLEN
        assert left(latch, **whole) < FALLEN
        assert left(latch, route="conv", **whole) > UNHARMED


@pytest.mark.parametrize("name", MECHANISMS)
def test_single_layers_find_the_true_edges_and_no_others(name):
    """Every route and layer, each edge's own source and target: one cell each falls."""
    for seed in SEEDS:
        planted = plant(name, seed)
        for edge in planted.edges:
            for route in ("scan", "conv"):
                share = left(planted, route=route, source=edge.source, target=edge.target, window=1)
                severed = covering(edge.layer, 1) & (route in OPENS[edge.route])
                assert_falls(share, severed, (seed, edge, route))


def test_a_chain_is_cut_at_either_step_but_not_from_end_to_end():
    for seed in SEEDS:
        planted = plant("chain", seed)
        first, second = planted.edges
        # The end never reads the subject itself, it reads the relation, which has read the subject.
        assert (left(planted, source="subject", target="last") > UNHARMED).all()
        for edge in (first, second):
            share = left(planted, source=edge.source, target=edge.target)
            assert_falls(share, covering(edge.layer), (seed, edge))


@pytest.mark.parametrize("mode", ["zero", "no_decay", "mean"])
def test_the_latch_falls_in_every_mode_of_the_scan(mode):
    for seed in SEEDS:
        planted = plant("latch", seed)
        reference = {"reference": "f0 f1 f2 f3 f4 f5 end"} if mode == "mean" else {}
        share = left(planted, mode=mode, **reference)
        assert_falls(share, covering(planted.edges[0].layer), (seed, mode))


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_the_shift_falls_in_every_mode_of_the_convolution(mode):
    for seed in SEEDS:
        planted = plant("shift", seed)
        reference = {"reference": "f0 f1 f2 f3 f4 f5 end"} if mode == "mean" else {}
        share = left(planted, route="conv", mode=mode, **reference)
        assert_falls(share, covering(planted.edges[0].layer), (seed, mode))


def test_a_mean_over_the_subject_itself_leaves_the_answer():
    """What stands in the source's place counts: a mean that is the source's own write takes nothing away."""
    for seed in SEEDS:
        planted = plant("latch", seed)
        layer = planted.edges[0].layer
        own = {"reference": planted.subject, "mode": "mean"}
        assert (left(planted, **own)[covering(layer)] > 0.5).all(), seed
        other = {"reference": planted.other, "mode": "mean"}
        assert (left(planted, **other)[covering(layer)] < FALLEN).all(), seed


def test_only_the_channels_that_carry_the_answer_matter():
    carrying, beside = range(4), range(4, INNER)
    for seed in SEEDS:
        planted = plant("latch", seed)
        where = covering(planted.edges[0].layer)
        assert_falls(left(planted, features=carrying), where, seed)
        assert (left(planted, features=beside) > UNHARMED).all()
        for name, falls in (("0,1,2,3", True), ("not 0,1,2,3", False)):
            assert_falls(left(planted, features=name), where & falls, (seed, name))


def test_no_other_source_matters_to_the_end():
    for seed in SEEDS:
        planted = plant("latch", seed)
        edge = planted.edges[0]
        share = left(planted, source="each")
        assert_falls(share[edge.source], covering(edge.layer), seed)
        others = [place for place in range(edge.target) if place != edge.source]
        assert (share[others] > UNHARMED).all(), seed
        assert (left(planted, source="random:subject") > UNHARMED).all(), seed


def test_the_cut_reaches_the_answer_as_the_logits_say():
    """Without the subject's write the true answer loses its logit: it is then one word among those never favoured."""
    for seed in SEEDS:
        planted = plant("latch", seed)
        edge, answer = (
            planted.edges[0],
            planted.model.tokenizer.convert_tokens_to_ids(planted.answer),
        )
        cut = ms.Cut(sources=edge.source, targets=edge.target, layers=edge.layer)
        with torch.no_grad():
            clean = planted.model.run(planted.prompt, logits="last").logits[0]
            found = planted.model.run(planted.prompt, cuts=[cut], logits="last").logits[0]
        assert int(clean.argmax()) == answer
        assert clean[answer] - found[answer] > 0.5 * clean[answer]
