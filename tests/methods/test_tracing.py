"""Causal tracing against forward hooks on the transformers model, and its laws."""

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from mambascope.errors import ConfigError, PromptError, SiteError
from mambascope.methods.tracing.windows import window_of
from tests.models.reference import shake

IDS = [3, 14, 15, 9, 26, 5]
SUBJECT = slice(1, 3)
REFERENCES = {
    "mamba1": lambda: MambaForCausalLM(
        MambaConfig(hidden_size=16, num_hidden_layers=4, vocab_size=31, state_size=4)
    ),
    "mamba2": lambda: Mamba2ForCausalLM(
        Mamba2Config(hidden_size=16, num_hidden_layers=4, vocab_size=31, state_size=6, num_heads=4,
                     head_dim=8, n_groups=1)
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=4, n_head=2, vocab_size=31, n_positions=16)
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=REFERENCES)
def reference(request):
    torch.manual_seed(0)
    return shake(REFERENCES[request.param]())


def parts(reference):
    """(embedding module, blocks) of a transformers model."""
    if hasattr(reference, "backbone"):
        return reference.backbone.embeddings, reference.backbone.layers
    return reference.transformer.wte, reference.transformer.h


def by_hooks(reference, target, config_seed, samples, noise, restore, module=None):
    """Mean probability of the target with noise on the subject and hooks restoring [(layer, position)]."""
    embedding, blocks = parts(reference)
    pick = (lambda b: b) if module is None else (lambda b: b.mixer)
    clean = {}

    def first(output):
        return output[0] if isinstance(output, tuple) else output

    with torch.no_grad():
        keep = [
            pick(b).register_forward_hook(lambda m, i, o, n=n: clean.update({n: first(o)}))
            for n, b in enumerate(blocks)
        ]
        reference(torch.tensor([IDS]))
        for handle in keep:
            handle.remove()
        subject = embedding(torch.tensor(IDS))[SUBJECT]
        random = torch.Generator().manual_seed(config_seed)
        drawn = torch.randn(samples, *subject.shape, generator=random)

        def corrupt(m, i, output):
            output = output.clone()
            output[:, SUBJECT] += noise * subject.std(correction=0) * drawn
            return output

        def restoring(layer):
            def hook(m, i, output):
                changed = first(output).clone()
                for at, position in restore:
                    if at == layer:
                        changed[:, position] = clean[layer][0, position]
                return (changed, *output[1:]) if isinstance(output, tuple) else changed

            return hook

        handles = [embedding.register_forward_hook(corrupt)]
        handles += [pick(b).register_forward_hook(restoring(n)) for n, b in enumerate(blocks)]
        logits = reference(torch.tensor([IDS] * samples)).logits[:, -1]
        for handle in handles:
            handle.remove()
        return logits.softmax(-1)[:, target].mean().item()


def test_every_cell_equals_hooks_on_transformers(reference):
    ds = ms.trace(ms.load(reference), IDS, subject=SUBJECT, samples=3, seed=5)
    target = ds.attrs["answer_id"]
    assert ds.attrs["corrupted_score"] == pytest.approx(
        by_hooks(reference, target, 5, 3, 3.0, []), abs=1e-5
    )
    for layer in range(4):
        for position in range(len(IDS)):
            expected = by_hooks(reference, target, 5, 3, 3.0, [(layer, position)])
            assert ds.score[layer, position].item() == pytest.approx(expected, abs=1e-5)


def test_a_window_of_mixer_outputs_equals_hooks_on_the_mixers():
    torch.manual_seed(0)
    reference = shake(REFERENCES["mamba1"]())
    ds = ms.trace(ms.load(reference), IDS, subject=SUBJECT, site="mixer_out", window=2, samples=2)
    for layer in range(4):
        for position in range(len(IDS)):
            cells = [(near, position) for near in range(max(0, layer - 1), layer + 1)]
            expected = by_hooks(reference, ds.attrs["answer_id"], 0, 2, 3.0, cells, module="mixer")
            assert ds.score[layer, position].item() == pytest.approx(expected, abs=1e-5)


def test_romes_window_is_cut_off_at_the_ends():
    assert list(window_of(0, 10, 48, "centred")) == list(range(5))
    assert list(window_of(20, 10, 48, "centred")) == list(range(15, 25))
    assert list(window_of(47, 10, 48, "centred")) == list(range(42, 48))
    assert list(window_of(3, 1, 6, "centred")) == [3]
    assert list(window_of(3, 2, 6, "left")) == [3, 4]
    assert list(window_of(5, 9, 6, "left")) == [5]


def test_restoring_the_last_residual_gives_the_clean_score(reference):
    ds = ms.trace(ms.load(reference), IDS, subject=SUBJECT, samples=2)
    assert ds.score[-1, -1].item() == pytest.approx(ds.attrs["clean_score"], abs=1e-6)
    assert (ds.score[:, 0] == ds.attrs["corrupted_score"]).all()


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_restoring_the_state_is_restoring_h_after_the_token(name):
    """In a one-layer model whose readout sees the state alone, the last token's score follows by hand."""
    torch.manual_seed(0)
    model = ms.load(shake(REFERENCES[name]()), dtype="float64")
    ds = ms.trace(model, IDS, subject=SUBJECT, site="state", window=1, samples=1, seed=2)
    clean = model.run([IDS], record=["embed", "state"])
    subject = clean["embed"][0, SUBJECT]
    drawn = torch.randn(1, *subject.shape, generator=torch.Generator().manual_seed(2))
    noise = ms.Edit(site="embed", op="add", positions=[1, 2],
                    value=3.0 * subject.float().std(correction=0) * drawn)  # fmt: skip
    noisy = model.run([IDS], edits=[noise], record=["state", "C", "dt", "scan_out", "u"])
    layer, position = 1, 2
    mixer = model.blocks[layer].mixer
    A = -torch.exp(mixer.A_log)
    gap = clean["state", layer][0, position] - noisy["state", layer][0, position]
    outputs = noisy["scan_out", layer][0].clone()
    for t in range(position, len(IDS)):
        if t > position:
            dt = noisy["dt", layer][0, t]
            gap = gap * (
                torch.exp(dt[:, None] * A) if A.ndim == 2 else torch.exp(dt * A)[:, None, None]
            )
        C = noisy["C", layer][0, t]
        outputs[t] += gap @ C if A.ndim == 2 else torch.einsum("hpn,n->hp", gap, C[0])
    by_hand = model.run(
        [IDS], logits="last", edits=[noise, ms.Edit(site="scan_out", layers=layer, value=outputs)]
    )
    expected = by_hand.logits.softmax(-1)[0, ds.attrs["answer_id"]].item()
    assert ds.score[layer, position].item() == pytest.approx(expected, abs=1e-9)


def test_the_same_seed_gives_the_same_grid_and_another_one_does_not():
    torch.manual_seed(0)
    model = ms.load(REFERENCES["mamba1"]())
    grids = [
        ms.trace(model, IDS, subject=SUBJECT, samples=2, seed=s).score.values for s in (1, 1, 2)
    ]
    assert np.array_equal(grids[0], grids[1]) and not np.allclose(grids[0], grids[2])


def test_roles_and_coordinates():
    torch.manual_seed(0)
    model = ms.load(REFERENCES["mamba1"]())

    def roles(subject):
        return ms.trace(model, IDS, subject=subject, samples=1).role.values.tolist()

    assert roles(slice(1, 4)) == [
        "before",
        "subject_first",
        "subject_middle",
        "subject_last",
        "after",
        "last",
    ]
    assert roles(slice(2, 3)) == ["before", "before", "subject_last", "after", "after", "last"]
    assert roles(slice(3, 6)) == ["before"] * 3 + [
        "subject_first",
        "subject_middle",
        "subject_last",
    ]
    assert roles(slice(0, 2))[:3] == ["subject_first", "subject_last", "after"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(samples=0), ConfigError, "samples: .*greater than or equal to 1.*0 was given"),
        (dict(noise=-1.0), ConfigError, "noise"),
        (dict(site="hidden"), SiteError, "this model has: resid_pre"),
        (dict(site="embed"), SiteError, "cannot trace site 'embed'"),
        (dict(subject="France"), PromptError, "slice of positions"),
        (dict(subject=slice(9, 12)), PromptError, "no run of"),
        (dict(answer=99), PromptError, "out of range"),
        (dict(answer="Paris"), PromptError, "no tokenizer"),
    ],
)
def test_a_bad_option_says_what_would_be_right(options, error, words):
    torch.manual_seed(0)
    model = ms.load(REFERENCES["mamba1"]())
    with pytest.raises(error, match=words):
        ms.trace(model, IDS, **({"subject": SUBJECT} | options))
