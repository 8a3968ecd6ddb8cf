"""Planted models do what they say, and tracing and path blocking find it: precision and recall over 20 seeds."""

import numpy as np
import pytest
import torch

import mambascope as ms
from mambascope.errors import ConfigError
from mambascope.models.planted import MECHANISMS, plant

SEEDS = range(20)
SITES = ("resid_post", "state", "conv_carry")
HALF = 0.5  # of the way from the corrupted to the clean score


def traced(planted, site, **options):
    """The normalised effect of each cell: 0 as corrupted, 1 as clean."""
    found = ms.trace(
        planted.model, planted.prompt, subject=planted.subject, answer=planted.answer,
        corruption="swap", swap=planted.other, site=site, window=1, **options,
    )  # fmt: skip
    clean, corrupted = found.attrs["clean_score"], found.attrs["corrupted_score"]
    return (found["score"].values - corrupted) / (clean - corrupted)


def precision_and_recall(found, true):
    hits = len(found & true)
    return hits / max(1, len(found)), hits / max(1, len(true))


@pytest.mark.parametrize("name", MECHANISMS)
def test_it_answers_and_the_answer_depends_on_the_subject(name):
    for seed in SEEDS:
        planted = plant(name, seed)
        probability = planted.model.run(planted.prompt, logits="last").logits.softmax(-1)[0]
        said = planted.model.tokenizer.convert_ids_to_tokens(int(probability.argmax()))
        assert said == planted.answer and probability.max() > 0.9, (seed, float(probability.max()))
        changed = planted.prompt.replace(planted.subject, planted.other)
        other = planted.model.run(changed, logits="last").logits.softmax(-1)[0]
        assert other[int(probability.argmax())] < 0.1


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("direction", ["restore", "corrupt"])
def test_tracing_finds_the_true_nodes(name, direction):
    scores = []
    for seed in SEEDS:
        planted = plant(name, seed)
        effects = traced(planted, SITES, direction=direction)
        for site in SITES:
            effect = effects[SITES.index(site)]
            reached = effect > HALF if direction == "restore" else effect < HALF
            found = {(int(layer), int(p)) for layer, p in np.argwhere(reached)}
            true = planted.nodes(site)
            if true:
                scores.append(precision_and_recall(found, true))
            else:
                assert not found, (seed, site, found)
    precision, recall = np.mean(scores, axis=0)
    assert precision >= 0.95 and recall >= 0.95, (precision, recall)


@pytest.mark.parametrize("name", MECHANISMS)
def test_path_blocking_finds_the_true_routes(name):
    """Restoring where the value is before an edge does nothing if, and only if, the edge's own route is severed there."""
    found, true = set(), set()
    for seed in SEEDS:
        planted = plant(name, seed)
        for number, edge in enumerate(planted.edges):
            for route in ("state", "conv_carry", "gate"):
                effect = traced(planted, "resid_post", sever=route)[edge.layer - 1, edge.source]
                if effect < HALF:
                    found.add((seed, number, route))
            true.add((seed, number, edge.route))
    precision, recall = precision_and_recall(found, true)
    assert precision >= 0.95 and recall >= 0.95, found ^ true


@pytest.mark.parametrize("name", ["latch", "chain"])
def test_the_competing_answer_is_stored_as_well_but_not_needed(name):
    planted = plant(name, 3)
    edge = planted.edges[0]
    run = planted.model.run(planted.prompt, record=["state"])
    state = run["state", edge.layer][0, edge.target, :, 0]
    own, other = state[:4].abs().max(), state[4:8].abs().max()
    assert own > 1 and other > 0.5 * own
    units = (slice(4, 8), 0)
    wipe = ms.Edit(site="state", layers=edge.layer, positions=edge.source, op="zero", units=units)
    p = planted.model.run(planted.prompt, edits=[wipe], logits="last").logits.softmax(-1)[0]
    answer = planted.model.tokenizer.convert_tokens_to_ids(planted.answer)
    assert p[answer] > 0.9


def test_no_channel_of_the_residual_shows_a_feature():
    embedding = plant("latch", 0).model.embedding
    subjects = embedding[:4]
    # In features each subject would have three entries; turned, all channels take part.
    spread = subjects.abs().pow(4).sum(1) / subjects.pow(2).sum(1).pow(2)
    assert (spread < 0.25).all()
    gram = embedding @ embedding.T
    assert torch.allclose(gram.diagonal()[:4], torch.full((4,), 19.0), atol=1e-3)


def test_the_seed_fixes_everything_and_an_unknown_mechanism_is_refused():
    one, again, other = plant("chain", 1), plant("chain", 1), plant("chain", 2)
    assert (one.prompt, one.edges, one.answer) == (again.prompt, again.edges, again.answer)
    for weight, same in zip(one.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(weight, same)
    assert not torch.equal(one.model.embedding, other.model.embedding)
    with pytest.raises(
        ConfigError, match="unknown mechanism 'maze'; there are: latch, shift, chain"
    ):
        plant("maze", 0)
