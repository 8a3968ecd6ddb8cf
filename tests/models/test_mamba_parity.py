"""Mamba-1, Falcon-Mamba and Mamba-2 against transformers, and the sites against a recurrence written here."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

import mambascope as ms
from tests.models.reference import shake, true_double

VOCAB = 61
SMALL = dict(hidden_size=24, num_hidden_layers=3, vocab_size=VOCAB)
MAMBA2 = dict(**SMALL, num_heads=8, head_dim=6, state_size=7, tie_word_embeddings=True)
REFERENCES = {
    "mamba1": lambda: MambaForCausalLM(MambaConfig(**SMALL, state_size=5)),
    "mamba1-untied-biased": lambda: MambaForCausalLM(
        MambaConfig(**SMALL, state_size=16, tie_word_embeddings=False, use_bias=True, conv_kernel=3)
    ),
    "falcon": lambda: FalconMambaForCausalLM(FalconMambaConfig(**SMALL, state_size=16)),
    "mamba2": lambda: Mamba2ForCausalLM(Mamba2Config(**MAMBA2, n_groups=1, chunk_size=256)),
    "mamba2-4-groups-limited": lambda: Mamba2ForCausalLM(
        Mamba2Config(**MAMBA2, n_groups=4, chunk_size=16, time_step_limit=(0.01, 0.5))
    ),
}
LENGTHS = (1, 2, 3, 5, 12, 63, 64, 65, 255, 256, 257, 300)


@pytest.fixture(scope="module", params=REFERENCES)
def reference(request):
    torch.manual_seed(0)
    return shake(REFERENCES[request.param]())


def random_ids(length, seed=0):
    return torch.randint(0, VOCAB, (1, length), generator=torch.Generator().manual_seed(seed))


def double_logits(reference, ids):
    model = reference.double()
    try:
        with torch.no_grad(), true_double():
            return model(ids).logits
    finally:
        reference.float()


@pytest.mark.parametrize("length", LENGTHS)
def test_float32_error_is_at_most_three_times_the_references_own(reference, length):
    ids = random_ids(length)
    truth = double_logits(reference, ids)
    with torch.no_grad():
        theirs = (reference(ids).logits.double() - truth).abs().max().item()
    ours = (ms.load(reference).run(ids).logits.double() - truth).abs().max().item()
    one_rounding = 1.2e-7 * truth.abs().max().item()
    assert ours <= 3 * theirs + one_rounding


@pytest.mark.parametrize("length", LENGTHS)
def test_float64_equals_the_reference_in_true_float64(reference, length):
    ids = random_ids(length)
    truth = double_logits(reference, ids)
    ours = ms.load(reference, dtype="float64").run(ids).logits
    assert torch.allclose(ours, truth, rtol=1e-9, atol=1e-9)


def test_unequal_prompts_in_one_batch_equal_each_alone(reference):
    model = ms.load(reference)
    prompts = [random_ids(n, n)[0].tolist() for n in (1, 2, 7, 40, 300)]
    together = model.run(prompts).logits
    for row, prompt in enumerate(prompts):
        alone = model.run([prompt]).logits[0]
        assert torch.allclose(together[row, : len(prompt)], alone, rtol=1e-4, atol=1e-4)
        assert together[row, len(prompt) :].isnan().all()


@settings(max_examples=15, deadline=None)
@given(length=st.integers(2, 80), data=st.data())
def test_a_split_prompt_carried_over_equals_the_whole(length, data):
    for name in ("mamba1", "mamba2-4-groups-limited"):
        torch.manual_seed(0)
        model = ms.load(shake(REFERENCES[name]()))
        rows = [random_ids(length, s)[0].tolist() for s in (1, 2)]
        cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4)))
        carry, parts = None, []
        for begin, end in zip([0, *cuts], [*cuts, length], strict=True):
            run = model.run([row[begin:end] for row in rows], carry=carry, keep_carry=True)
            carry, parts = run.carry, [*parts, run.logits]
        whole = model.run(rows).logits
        assert torch.allclose(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)


def test_generation_of_unequal_prompts_equals_a_rerun_from_scratch(reference):
    model = ms.load(reference)
    prompts = [random_ids(n, n)[0].tolist() for n in (1, 4, 30)]
    made = model.generate(prompts, max_new_tokens=6)
    for prompt, continuation in zip(prompts, made, strict=True):
        grown = list(prompt)
        for token in continuation:
            assert model.run([grown]).logits[0, -1].argmax().item() == token
            grown.append(token)
        if len(continuation) < 6:
            assert model.run([grown]).logits[0, -1].argmax().item() in model.config.eos_ids


def recorded(run, layer):
    """The values of a layer's sites, by name."""

    def site(name):
        return run[name, layer][0].double().numpy()

    return site


def test_the_sites_of_mamba1_obey_a_float64_recurrence():
    torch.manual_seed(0)
    model = ms.load(shake(REFERENCES["mamba1"]()))
    run = model.run(random_ids(20), record=list(model.sites))
    for layer, block in enumerate(model.blocks):
        site = recorded(run, layer)
        mixer = block.mixer
        padded = np.concatenate([np.zeros((3, site("conv_in").shape[1])), site("conv_in")])
        weight = mixer.conv_weight.double().numpy()
        raw = (
            sum(padded[k : k + 20] * weight[:, k] for k in range(4))
            + mixer.conv_bias.double().numpy()
        )
        assert np.allclose(site("u"), raw / (1 + np.exp(-raw)), atol=1e-5)
        projected = site("u") @ mixer.x_proj.weight.double().numpy().T
        rank = model.config.dt_rank
        assert np.allclose(site("B"), projected[:, rank : rank + 5], atol=1e-5)
        assert np.allclose(site("C"), projected[:, rank + 5 :], atol=1e-5)
        low = projected[:, :rank] @ mixer.dt_proj.weight.double().numpy().T
        dt = np.log1p(np.exp(low + mixer.dt_proj.bias.double().numpy()))
        assert np.allclose(site("dt"), dt, atol=1e-5)
        A, D = -np.exp(mixer.A_log.double().numpy()), mixer.D.double().numpy()
        h = np.zeros_like(A)
        for t in range(20):
            write = (dt[t] * site("u")[t])[:, None] * site("B")[t]
            h = np.exp(dt[t][:, None] * A) * h + write
            assert np.allclose(site("write")[t], write, atol=1e-5)
            assert np.allclose(site("state")[t], h, atol=1e-5)
            assert np.allclose(site("skip")[t], D * site("u")[t], atol=1e-5)
            assert np.allclose(site("scan_out")[t], h @ site("C")[t] + D * site("u")[t], atol=1e-4)
        gate = F.silu(torch.from_numpy(site("gate"))).numpy()
        assert np.allclose(site("gated"), site("scan_out") * gate, atol=1e-5)
        out = site("gated") @ mixer.out_proj.weight.double().numpy().T
        assert np.allclose(site("mixer_out"), out, atol=1e-5)
        assert np.allclose(site("resid_post"), site("resid_pre") + out, atol=1e-5)
        carried = np.stack([padded[t + 1 : t + 4] for t in range(20)])
        assert np.allclose(site("conv_carry"), carried)


def normed_by(y, weight, groups, eps):
    parts = y.reshape(len(y), groups, -1)
    return (parts / np.sqrt((parts**2).mean(-1, keepdims=True) + eps)).reshape(y.shape) * weight


def silu(x):
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("gated_norm", "norm_scope"),
    [("after_gate", "group"), ("after_gate", "width"), ("before_gate", "group"), (None, "group")],
)
def test_the_sites_of_mamba2_obey_a_float64_recurrence(gated_norm, norm_scope):
    torch.manual_seed(0)
    loaded = ms.load(shake(REFERENCES["mamba2-4-groups-limited"]()))
    words = {"gated_norm": gated_norm, "norm_scope": norm_scope}
    model = ms.LanguageModel(c := loaded.config.model_copy(update=words))
    model.load_state_dict(loaded.state_dict(), strict=gated_norm is not None)
    run = model.requires_grad_(False).run(random_ids(20), record=list(model.sites))
    inner, groups = c.d_inner, c.n_groups * c.d_state
    for layer, block in enumerate(model.blocks):
        site = recorded(run, layer)
        weight = {name: p.double().numpy() for name, p in block.mixer.named_parameters()}
        projected = site("norm") @ weight["in_proj.weight"].T
        assert np.allclose(site("gate"), projected[:, :inner], atol=1e-5)
        assert np.allclose(site("conv_in"), projected[:, inner : -c.n_heads], atol=1e-5)
        padded = np.concatenate([np.zeros((3, c.conv_width)), site("conv_in")])
        assert np.allclose(site("conv_carry"), [padded[t + 1 : t + 4] for t in range(20)])
        taps = sum(padded[k : k + 20] * weight["conv_weight"][:, k] for k in range(4))
        uBC = silu(taps + weight["conv_bias"])
        assert np.allclose(site("u").reshape(20, -1), uBC[:, :inner], atol=1e-5)
        assert np.allclose(site("B").reshape(20, -1), uBC[:, inner : inner + groups], atol=1e-5)
        assert np.allclose(site("C").reshape(20, -1), uBC[:, inner + groups :], atol=1e-5)
        dt = np.log1p(np.exp(projected[:, -c.n_heads :] + weight["dt_bias"])).clip(0.01, 0.5)
        assert np.allclose(site("dt"), dt, atol=1e-5)
        A, D = -np.exp(weight["A_log"]), weight["D"]
        B, C = (np.repeat(site(x), c.n_heads // c.n_groups, axis=1) for x in "BC")
        h = np.zeros((c.n_heads, c.head_dim, c.d_state))
        for t in range(20):
            write = (dt[t][:, None] * site("u")[t])[:, :, None] * B[t][:, None, :]
            h = np.exp(dt[t] * A)[:, None, None] * h + write
            assert np.allclose(site("write")[t], write, atol=1e-5)
            assert np.allclose(site("state")[t], h, atol=1e-5)
            skip = D[:, None] * site("u")[t]
            assert np.allclose(site("skip")[t], skip, atol=1e-5)
            y = np.einsum("hpn,hn->hp", h, C[t]) + skip
            assert np.allclose(site("scan_out")[t], y, atol=1e-4)
        y, opened = site("scan_out").reshape(20, inner), silu(site("gate"))
        if gated_norm:
            parts = c.n_groups if norm_scope == "group" else 1
            first, then = (y, opened) if gated_norm == "before_gate" else (y * opened, 1)
            gated = normed_by(first, weight["norm.weight"], parts, c.norm_eps) * then
        else:
            gated = y * opened
        assert np.allclose(site("gated"), gated, rtol=1e-4, atol=1e-4)
        out = site("gated") @ weight["out_proj.weight"].T
        assert np.allclose(site("mixer_out"), out, atol=1e-5)
        assert np.allclose(site("resid_post"), site("resid_pre") + out, atol=1e-5)
