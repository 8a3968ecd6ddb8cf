"""Swaps, means, windows, both directions and severed runs, each against a loop of plain runs or forward hooks."""

import numpy as np
import pytest
import torch

import mambascope as ms
from mambascope.errors import ConfigError, PromptError, SiteError
from mambascope.methods.tracing.corruption import subject_statistics
from tests.methods.test_tracing import IDS, REFERENCES, SUBJECT
from tests.models.reference import shake


def build(name):
    torch.manual_seed(0)
    reference = shake(REFERENCES[name]())
    return reference, ms.load(reference, dtype="float64")


MODELS = {name: build(name) for name in REFERENCES}
ATLAS = ms.load("atlas-mamba1")
NOISE = {"samples": 3, "noise": 2.0, "seed": 5}


def noise_edit(model):
    """The noise of a trace, drawn again."""
    subject = model.embedding[torch.tensor(IDS)[SUBJECT]].detach()
    drawn = torch.randn(3, *subject.shape, generator=torch.Generator().manual_seed(5))
    value = 2.0 * subject.float().std(correction=0) * drawn
    return ms.Edit(site="embed", op="add", positions=[1, 2], value=value)


def probability(model, ids, edits, target):
    return model.run(ids, edits=edits, logits="last").logits.softmax(-1)[:, target].mean().item()


@pytest.mark.parametrize("name", MODELS)
def test_corrupting_puts_the_noisy_runs_values_into_the_clean_run(name):
    _, model = MODELS[name]
    found = ms.trace(model, IDS, subject=SUBJECT, direction="corrupt", **NOISE)
    noisy = model.run([IDS], edits=[noise_edit(model)], record=["resid_post"])
    target = found.attrs["answer_id"]
    for layer, position in [(0, 1), (1, 2), (2, 4), (3, 5)]:
        value = noisy["resid_post", layer][:, [position]]
        edit = ms.Edit(site="resid_post", layers=layer, positions=[position], value=value)
        expected = probability(model, [IDS], [edit], target)
        assert float(found["score"][layer, position]) == pytest.approx(expected, abs=1e-9)
    assert float(found["score"][3, 5]) == pytest.approx(found.attrs["corrupted_score"], abs=1e-9)
    assert float(found["score"][0, 0]) == pytest.approx(found.attrs["clean_score"], abs=1e-9)


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_a_severed_mixer_stays_as_in_the_corrupted_run(name):
    reference, model = MODELS[name]
    found = ms.trace(model, IDS, subject=SUBJECT, sever="mixer", **NOISE)
    clean = model.run([IDS], record=["resid_post"])
    noise = noise_edit(model)
    noisy = model.run([IDS], edits=[noise], record=["mixer_out"])
    embedded = reference.double().backbone.embeddings(torch.tensor([IDS])).repeat(3, 1, 1)
    embedded[:, SUBJECT] += noise.value
    for layer, position in [(0, 1), (1, 2), (2, 5)]:
        handles = []
        for number, block in enumerate(reference.backbone.layers):
            if number > layer:
                value = noisy["mixer_out", number][:, position]
                handles.append(block.mixer.register_forward_hook(put(position, value)))
            if number == layer:
                restored = clean["resid_post", layer][0, position]
                handles.append(block.register_forward_hook(put(position, restored)))
        with torch.no_grad():
            logits = reference(inputs_embeds=embedded, use_cache=False).logits[:, -1]
        for handle in handles:
            handle.remove()
        expected = logits.softmax(-1)[:, found.attrs["answer_id"]].mean().item()
        assert float(found["score"][layer, position]) == pytest.approx(expected, abs=1e-5)
    reference.float()


@pytest.mark.parametrize(("path", "site"), [("scan", "scan_out"), ("conv", "u"), ("gate", "gate")])
@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_a_severed_path_through_the_mixer_stays_as_in_the_corrupted_run(name, path, site):
    """What the scan gives, what leaves the convolution, the gate: at the token, in all layers above the restored one."""
    _, model = MODELS[name]
    whole = ms.trace(model, IDS, subject=SUBJECT, **NOISE)
    found = ms.trace(model, IDS, subject=SUBJECT, sever=path, **NOISE)
    clean = model.run([IDS], record=["resid_post"])
    noise = noise_edit(model)
    noisy = model.run([IDS], edits=[noise], record=[site])
    for layer, position in [(0, 1), (1, 2), (2, 5)]:
        restored = clean["resid_post", layer][:, [position]]
        edits = [ms.Edit(site="resid_post", layers=layer, positions=[position], value=restored)]
        edits += [
            ms.Edit(site=site, layers=n, positions=[position], value=noisy[site, n][:, [position]])
            for n in range(layer + 1, 4)
        ]
        expected = probability(model, [IDS], [noise, *edits], found.attrs["answer_id"])
        assert float(found["score"][layer, position]) == pytest.approx(expected, abs=1e-9)
        assert abs(expected - float(whole["score"][layer, position])) > 1e-6


def put(position, value):
    def hook(_, __, out):
        first = (out[0] if isinstance(out, tuple) else out).clone()
        first[:, position] = value
        return (first, *out[1:]) if isinstance(out, tuple) else first

    return hook


@pytest.mark.parametrize("name", MODELS)
def test_severing_what_is_restored_by_another_site_undoes_it(name):
    _, model = MODELS[name]
    plain = ms.trace(model, IDS, subject=SUBJECT, **NOISE)
    severed = ms.trace(model, IDS, subject=SUBJECT, sever="resid_pre", **NOISE)
    # Everything above the restored layer is put back to its corrupted value, so only the last layer's cells remain.
    assert severed["score"].values[:-1] == pytest.approx(plain.attrs["corrupted_score"], abs=1e-9)
    assert severed["score"].values[-1] == pytest.approx(plain["score"].values[-1], abs=1e-9)


def test_state_and_convolution_are_told_apart():
    _, model = MODELS["mamba1"]
    both = ms.trace(model, IDS, subject=SUBJECT, site=["state", "conv_carry"], window=1, **NOISE)
    assert both["score"].dims == ("site", "layer", "position")
    for site in ("state", "conv_carry"):
        alone = ms.trace(model, IDS, subject=SUBJECT, site=site, window=1, **NOISE)
        assert np.allclose(both["score"].sel(site=site), alone["score"], atol=1e-12)
    # The last token's convolution memory reaches no later token.
    last = both["score"].sel(site="conv_carry")[:, -1]
    assert np.allclose(last, both.attrs["corrupted_score"], atol=1e-9)
    assert not np.allclose(both["score"].sel(site="state")[:, -1], both.attrs["corrupted_score"])


def test_a_left_window_begins_with_its_layer():
    _, model = MODELS["mamba1"]
    left = ms.trace(model, IDS, subject=SUBJECT, site="mixer_out", window=2, align="left", **NOISE)
    centred = ms.trace(model, IDS, subject=SUBJECT, site="mixer_out", window=2, **NOISE)
    assert np.allclose(left["score"][:3], centred["score"][1:], atol=1e-12)


def test_a_swapped_subject_of_another_length_is_aligned_at_its_end():
    prompt = "The capital of South Korea is"
    tokens = [ATLAS.tokenizer.decode([i]) for i in ATLAS.tokenizer.encode(prompt)]
    assert tokens == ["The", " capital", " of", " South", " Korea", " is"]
    found = ms.trace(ATLAS, prompt, subject="South Korea", corruption="swap", swap="France")
    clean = ATLAS.run(prompt, record=["resid_post"], logits="last")
    target = found.attrs["answer_id"]
    other = "The capital of France is"
    assert np.isnan(found["score"][:, 3]).all()
    for layer, position in [(0, 4), (5, 5), (9, 4)]:
        value = clean["resid_post", layer][0, position]
        edit = ms.Edit(site="resid_post", layers=layer, positions=position - 1, value=value)
        expected = probability(ATLAS, other, [edit], target)
        assert float(found["score"][layer, position]) == pytest.approx(expected, abs=1e-6)
    assert found.attrs["corrupted_score"] == pytest.approx(
        probability(ATLAS, other, [], target), abs=1e-6
    )


def test_several_subjects_are_swapped_in_as_rows_of_one_run():
    prompt, others = "The capital of France is", ["South Korea", "Italy"]
    together = ms.trace(ATLAS, prompt, subject="France", corruption="swap", swap=others)
    alone = [
        ms.trace(ATLAS, prompt, subject="France", corruption="swap", swap=other)["score"].values
        for other in others
    ]
    assert np.allclose(together["score"], np.mean(alone, axis=0), atol=1e-6)
    necessary = ms.trace(
        ATLAS, prompt, subject="France", corruption="swap", swap=others, direction="corrupt"
    )
    assert float(necessary["score"][-1, -1]) == pytest.approx(
        necessary.attrs["corrupted_score"], abs=1e-6
    )


def test_noise_and_mean_can_come_from_a_whole_fact_set():
    facts = [
        ("The capital of France is", "France"),
        ("The capital of South Korea is", "South Korea"),
    ]
    ids = [t for text in (" France", " South Korea") for t in ATLAS.tokenizer.encode(text)]
    embedded = ATLAS.embedding[torch.tensor(ids)]
    statistics = subject_statistics(ATLAS, facts)
    assert statistics.sigma == pytest.approx(float(embedded.std(correction=0)), rel=1e-5)
    assert torch.allclose(statistics.mean, embedded.mean(0), atol=1e-6)
    prompt, subject = facts[0]
    ours = ms.trace(ATLAS, prompt, subject=subject, facts=facts, corruption="mean")
    edit = ms.Edit(site="embed", positions=3, value=statistics.mean)
    assert ours.attrs["corrupted_score"] == pytest.approx(
        probability(ATLAS, prompt, [edit], ours.attrs["answer_id"]), abs=1e-6
    )
    text = ms.trace(ATLAS, prompt, subject=subject, corruption="mean", reference="South Korea")
    assert text.attrs["corrupted_score"] != ours.attrs["corrupted_score"]
    plain, scaled = (ms.trace(ATLAS, prompt, subject=subject, facts=f) for f in (None, statistics))
    assert plain.attrs["corrupted_score"] != scaled.attrs["corrupted_score"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"corruption": "swap"}, ConfigError, "go together"),
        ({"swap": "Italy"}, ConfigError, "go together"),
        ({"corruption": "mean"}, ConfigError, "fact set"),
        ({"reference": "a text"}, ConfigError, "is for corruption 'mean'"),
        ({"sever": "resid_post"}, ConfigError, "exchanged and severed at once"),
        (
            {"sever": "attention"},
            SiteError,
            "'attention'.* the routes scan, conv, gate, mixer, and",
        ),
        ({"site": []}, ConfigError, "at least one site"),
        ({"align": "right"}, ConfigError, "align"),
        ({"corruption": "mean", "facts": []}, PromptError, "empty"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        ms.trace(ATLAS, "The capital of France is", subject="France", **options)
