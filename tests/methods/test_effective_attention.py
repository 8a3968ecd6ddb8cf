"""Effective attention against the recurrence that it describes, dense maps built token by token, and a naive float64 loop."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import mambascope as ms
from mambascope.methods.attention import blocks, memory, readings
from mambascope.methods.attention.memory import survivals
from mambascope.methods.attention.readings import read_layers
from mambascope.methods.attention.scans import KINDS
from mambascope.models.config import Mamba1Config, Mamba2Config, TransformerConfig
from mambascope.models.kernels import release_packed_weights
from mambascope.models.kernels.packed import packed_bytes
from mambascope.models.language_model import LanguageModel

SIZES = {"n_layers": 3, "d_model": 10, "vocab_size": 23}
CONFIGS = {
    "mamba1": Mamba1Config(**SIZES, d_inner=12, d_state=3, dt_rank=2),
    "falcon": Mamba1Config(**SIZES, d_inner=12, d_state=3, dt_rank=2, bcdt_norm_eps=1e-6),
    "mamba2": Mamba2Config(**SIZES, d_inner=24, n_heads=6, head_dim=4, d_state=5, n_groups=2),
    "mamba2-before": Mamba2Config(
        **SIZES, d_inner=24, n_heads=6, head_dim=4, d_state=5, n_groups=2, gated_norm="before_gate",
        norm_scope="width", proj_bias=True,
    ),
    "mamba2-unnormed": Mamba2Config(
        **SIZES, d_inner=24, n_heads=6, head_dim=4, d_state=5, gated_norm=None, dt_limit=(0.2, 0.9)
    ),
    "transformer": TransformerConfig(
        **SIZES, n_heads=4, n_kv_heads=2, head_dim=3, d_mlp=16, max_positions=600
    ),
}  # fmt: skip
MAMBAS = [name for name in CONFIGS if name != "transformer"]
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6]
WITHOUT_BIAS = {
    "mamba1": CONFIGS["mamba1"].model_copy(update={"conv_bias": False}),
    "mamba2": CONFIGS["mamba2"].model_copy(update={"conv_bias": False}),
    "transformer": CONFIGS["transformer"].model_copy(update={"qkv_bias": False, "out_bias": False}),
}


def built(config, dtype=torch.float64, scale=0.5):
    torch.manual_seed(1)
    model = LanguageModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
    return model.to(dtype).eval().requires_grad_(False)


def values(found):
    return torch.from_numpy(found["attention"].values)


def recorded(model, layer, *sites, ids=IDS):
    run = model.run([ids], record=[(site, layer) for site in sites], logits="none")
    return [run[site, layer][0] for site in sites]


# ---- the scan's map ------------------------------------------------------------------------------


def read_by_hand(model, layer):
    """What the map times the values must give: the scan's output without its skip, or the heads; and the values, by unit."""
    if "dt" not in model.sites:
        v, heads = recorded(model, layer, "v", "heads")
        return heads, v.repeat_interleave(2, 1)
    u, out, skip = recorded(model, layer, "u", "scan_out", "skip")
    out = out - skip
    return (out, u) if u.ndim == 3 else (out[:, :, None], u[:, :, None])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_map_applied_to_the_scans_inputs_is_the_scans_output(name, dtype):
    model = built(CONFIGS[name], dtype)
    found = ms.effective_attention(model, IDS, reduce=None)
    tolerance = (
        {"atol": 1e-11, "rtol": 1e-9} if dtype == torch.float64 else {"atol": 2e-5, "rtol": 1e-4}
    )
    for layer in range(3):
        out, into = read_by_hand(model, layer)
        made = torch.einsum("tsu,sup->tup", values(found)[layer].to(dtype), into)
        torch.testing.assert_close(made, out, **tolerance)


def naive_map(rates, dt, B, C):
    """alpha of one channel by the definition: (T,), rates (N,), B and C (T, N)."""
    found = np.zeros((len(dt), len(dt)))
    for s in range(len(dt)):
        state = dt[s] * B[s]
        for t in range(s, len(dt)):
            state = state * np.exp(dt[t] * rates) if t > s else state
            found[t, s] = C[t] @ state
    return found


def test_each_channels_map_is_that_of_a_loop_over_the_recurrence():
    model = built(CONFIGS["mamba1"])
    dt, B, C = (x.numpy() for x in recorded(model, 1, "dt", "B", "C"))
    rates = -np.exp(model.blocks[1].mixer.A_log.numpy())
    found = ms.effective_attention(model, IDS, layers=1, reduce="channel")
    for channel in range(12):
        by_loop = naive_map(rates[channel], dt[:, channel], B, C)
        np.testing.assert_allclose(
            found["attention"].sel(layer=1, channel=channel), by_loop, atol=1e-12
        )


def test_each_heads_map_is_that_of_a_loop_over_the_recurrence():
    model = built(CONFIGS["mamba2"])
    dt, B, C = (x.numpy() for x in recorded(model, 1, "dt", "B", "C"))
    rates = -np.exp(model.blocks[1].mixer.A_log.numpy())
    found = ms.effective_attention(model, IDS, layers=1, reduce="head")
    for head in range(6):
        by_loop = naive_map(rates[head], dt[:, head], B[:, head // 3], C[:, head // 3])
        np.testing.assert_allclose(found["attention"].sel(layer=1, head=head), by_loop, atol=1e-12)


def test_a_transformers_map_is_its_pattern():
    model = built(CONFIGS["transformer"])
    (pattern,) = recorded(model, 2, "pattern")
    found = ms.effective_attention(model, IDS, layers=[2], reduce="head")
    torch.testing.assert_close(values(found)[0], pattern.permute(0, 2, 1))


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_without_dt_each_source_counts_as_if_its_dt_were_1(name):
    model = built(CONFIGS[name])
    (dt,) = recorded(model, 0, "dt")
    with_dt, without = (
        values(ms.effective_attention(model, IDS, layers=0, reduce=None, with_dt=flag))[0]
        for flag in (True, False)
    )
    torch.testing.assert_close(with_dt, without * dt[None])


@pytest.mark.parametrize("name", CONFIGS)
def test_mean_abs_is_the_mean_over_units_of_the_absolute_map(name):
    model = built(CONFIGS[name])
    every = ms.effective_attention(model, IDS, reduce=None)["attention"]
    unit = every.dims[-1]
    found = ms.effective_attention(model, IDS)["attention"]
    np.testing.assert_allclose(found, np.abs(every).mean(unit), atol=1e-12)
    some = ms.effective_attention(model, IDS, units=[3, 1])["attention"]
    np.testing.assert_allclose(some, np.abs(every.sel({unit: [3, 1]})).mean(unit), atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("reduce", ["mean_abs", None])
def test_blocks_of_any_size_give_the_same_map(name, reduce, monkeypatch):
    model = built(CONFIGS[name])
    whole = ms.effective_attention(model, IDS, reduce=reduce)
    monkeypatch.setattr(blocks, "TARGETS", 5)
    monkeypatch.setattr(blocks, "NUMBERS", 300)
    monkeypatch.setattr(readings, "RECORDED", 1)
    told = []
    parts = ms.effective_attention(
        model, IDS, reduce=reduce, progress=lambda done, total: told.append((done, total))
    )
    np.testing.assert_allclose(parts["attention"], whole["attention"], atol=1e-12)
    assert told[0][0] == 0 and told[-1][0] == len(told) - 1


@settings(deadline=None, max_examples=40)
@given(
    tokens=st.integers(1, 70), first=st.integers(0, 69), begin=st.integers(0, 69), fast=st.floats(0, 8),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_block_equals_the_definition_and_nothing_overflows(tokens, first, begin, fast, seed):
    first = min(first, tokens - 1)
    begin = min(begin, first)
    random = np.random.default_rng(seed)
    rates = -np.exp(random.normal(size=(2, 3)) + fast)
    dt, B, C = random.gamma(0.5, size=(tokens, 2)), *random.normal(size=(2, tokens, 3))
    reading = {name: torch.from_numpy(x) for name, x in {"dt": dt, "B": B, "C": C}.items()}
    model = built(CONFIGS["mamba1"].model_copy(update={"d_inner": 2}))
    model.blocks[0].mixer.A_log.copy_(torch.from_numpy(np.log(-rates)))
    maps = KINDS["mamba1"].maps(model, 0, reading, True)
    for stop in {first - 3, first, first + 1, tokens} - {0}:
        sources = range(begin, max(begin, stop))
        found = maps.block(torch.arange(2), range(first, tokens), sources)
        for unit in range(2):
            by_loop = naive_map(rates[unit], dt[:, unit], B, C)[first:, begin : sources.stop]
            np.testing.assert_allclose(found[unit], by_loop, atol=1e-10)


@pytest.mark.parametrize("name", ["mamba1", "mamba2"])
def test_a_long_prompt_with_huge_decays_is_finite_in_float32_and_right(name):
    tokens = 300
    torch.manual_seed(0)
    model = built(CONFIGS[name], torch.float32)
    model.blocks[0].mixer.A_log.copy_(
        torch.linspace(-6, 9, model.blocks[0].mixer.A_log.numel()).view_as(
            model.blocks[0].mixer.A_log
        )
    )
    ids = torch.randint(0, 23, (tokens,)).tolist()
    found = values(ms.effective_attention(model, ids, layers=0, reduce=None))[0]
    exact = values(ms.effective_attention(model.double(), ids, layers=0, reduce=None))[0]
    assert torch.isfinite(found).all()
    assert (
        found == 0
    ).float().mean() > 0.55  # what is above the diagonal, and what has decayed to nothing
    torch.testing.assert_close(found.double(), exact, atol=3e-5, rtol=1e-3)


# ---- the full map --------------------------------------------------------------------------------


def dense_map(model, layer, ids):
    """M[t, s] in (T, T, D, D), built one source token at a time: the mixer's linear part run on unit vectors."""
    if "dt" not in model.sites:
        attention, (pattern,) = (
            model.blocks[layer].attention,
            recorded(model, layer, "pattern", ids=ids),
        )
        found = 0
        for head in range(4):
            rows = slice(head // 2 * 3, head // 2 * 3 + 3)
            through = (
                attention.out_proj.weight[:, head * 3 : head * 3 + 3]
                @ attention.v_proj.weight[rows]
            )
            found = found + pattern[:, head, :, None, None] * through
        return found
    mixer, c = model.blocks[layer].mixer, model.config
    sites = ("conv_in", "gate", "dt", "B", "C", "scan_out")
    conv_in, z, dt, B, C, y = recorded(model, layer, *sites, ids=ids)
    tokens, inner, taps = len(dt), c.d_inner, c.d_conv
    E = range(inner)
    heads = [e if dt.shape[1] == inner else e // 4 for e in E]
    decays = -torch.exp(mixer.A_log)
    into = (
        mixer.in_proj.weight[:inner]
        if dt.shape[1] == inner
        else mixer.in_proj.weight[inner : 2 * inner]
    )
    before = F.pad(conv_in[:, :inner], (0, 0, taps - 1, 0))
    gain = held_gain(mixer, y.reshape(tokens, inner), z)
    factors = torch.zeros(tokens, tokens, inner, dtype=dt.dtype)
    for e in E:
        b = B if B.ndim == 2 else B[:, heads[e] // (decays.numel() // B.shape[1])]
        read = C if C.ndim == 2 else C[:, heads[e] // (decays.numel() // C.shape[1])]
        slope = []
        for t in range(tokens):
            p = before[t : t + taps, e] @ mixer.conv_weight[e]
            p = p if mixer.conv_bias is None else p + mixer.conv_bias[e]
            slope.append(F.silu(p) / p)
        for s in range(tokens):
            state = torch.zeros_like(b[0])
            for t in range(s, tokens):
                lag = t - s
                u = slope[t] * mixer.conv_weight[e, taps - 1 - lag] if lag < taps else 0.0
                state = (
                    state * torch.exp(dt[t, heads[e]] * decays[heads[e]])
                    + dt[t, heads[e]] * b[t] * u
                )
                skip = mixer.D[heads[e]] * u
                factors[t, s, e] = gain[t, e] * (read[t] @ state + skip)
    return torch.einsum("de,tse,ei->tsdi", mixer.out_proj.weight, factors, into)


def held_gain(mixer, y, z):
    """gated / scan_out: what the gate and the norm, held, multiply by."""
    gated = mixer.norm(y, z) if getattr(mixer, "norm", None) else y * F.silu(z)
    return gated / y


@pytest.mark.parametrize("name", CONFIGS)
def test_the_full_maps_measures_are_those_of_the_dense_map(name):
    model = built(CONFIGS[name])
    ids = IDS[:9]
    dense = dense_map(model, 1, ids)
    norm, out = recorded(model, 1, "norm", "mixer_out", ids=ids)
    given = torch.einsum("tsdi,si->tsd", dense, norm)
    expected = {
        "frobenius": dense.flatten(2).norm(dim=2),
        "contribution": given.norm(dim=2),
        "share": torch.einsum("tsd,td->ts", given, out) / out.square().sum(1, keepdim=True),
    }
    for measure, right in expected.items():
        found = ms.effective_attention(model, ids, layers=1, span="mixer", reduce=measure)
        torch.testing.assert_close(values(found)[0], right, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", WITHOUT_BIAS)
def test_without_biases_the_full_map_applied_to_the_mixers_inputs_is_its_output(name):
    model = built(WITHOUT_BIAS[name])
    shares = values(ms.effective_attention(model, IDS, span="mixer", reduce="share"))
    torch.testing.assert_close(shares.sum(2), torch.ones(3, len(IDS), dtype=torch.float64))
    dense = dense_map(model, 2, IDS)
    norm, out = recorded(model, 2, "norm", "mixer_out")
    torch.testing.assert_close(torch.einsum("tsdi,si->td", dense, norm), out)


def test_what_the_full_map_leaves_over_is_what_the_convolutions_bias_gives():
    model = built(CONFIGS["mamba1"])
    mixer = model.blocks[1].mixer
    alpha = values(ms.effective_attention(model, IDS, layers=1, reduce=None))[0]
    conv_in, z, out = recorded(model, 1, "conv_in", "gate", "mixer_out")
    into_silu = F.conv1d(
        conv_in.mT[None], mixer.conv_weight[:, None], mixer.conv_bias, padding=3, groups=12
    )[0, :, : len(IDS)].mT
    of_bias = torch.sigmoid(into_silu) * mixer.conv_bias
    read = torch.einsum("tse,se->te", alpha, of_bias) + mixer.D * of_bias
    left_over = (read * F.silu(z)) @ mixer.out_proj.weight.mT
    shares = values(ms.effective_attention(model, IDS, layers=1, span="mixer", reduce="share"))[0]
    expected = 1 - (left_over * out).sum(1) / out.square().sum(1)
    torch.testing.assert_close(shares.sum(1), expected)


@pytest.mark.parametrize("name", ["mamba1", "mamba2", "transformer"])
@pytest.mark.parametrize("reduce", ["contribution", "share", "frobenius"])
def test_pairs_in_blocks_of_any_size_give_the_same_full_map(name, reduce, monkeypatch):
    model = built(CONFIGS[name])
    whole = ms.effective_attention(model, IDS, layers=1, span="mixer", reduce=reduce)
    monkeypatch.setattr(blocks, "PAIRS", 4)
    parts = ms.effective_attention(model, IDS, layers=1, span="mixer", reduce=reduce)
    np.testing.assert_allclose(parts["attention"], whole["attention"], rtol=1e-8, atol=1e-11)


# ---- rollout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mamba1", "mamba2", "transformer"])
def test_a_rollout_is_the_product_of_scaled_maps_averaged_with_the_identity(name):
    model = built(CONFIGS[name])
    maps = ms.effective_attention(model, IDS)["attention"].values
    found = ms.effective_attention(model, IDS, rollout=True)["attention"].values
    product = np.eye(len(IDS))
    for layer in range(3):
        product = (maps[layer] / maps[layer].sum(1, keepdims=True) + np.eye(len(IDS))) / 2 @ product
        np.testing.assert_allclose(found[layer], product, atol=1e-12)
    np.testing.assert_allclose(found.sum(2), 1)


def test_a_rollout_over_two_tokens_is_that_worked_out_by_hand():
    model = built(CONFIGS["transformer"])
    for block in model.blocks:
        block.attention.q_proj.weight.zero_()
        block.attention.q_proj.bias.zero_()
    found = ms.effective_attention(model, [3, 1], rollout=True)["attention"].values
    by_hand = [[0.25, 0.75], [0.4375, 0.5625], [0.578125, 0.421875]]
    np.testing.assert_allclose(found[:, 1], by_hand)
    np.testing.assert_allclose(found[:, 0], [[1, 0]] * 3)


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAMBAS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_what_survives_of_all_tokens_sums_to_the_last_state(name, dtype, monkeypatch):
    monkeypatch.setattr(memory, "NUMBERS", 200)
    model = built(CONFIGS[name], dtype)
    tolerance = (
        {"atol": 1e-12, "rtol": 1e-9} if dtype == torch.float64 else {"atol": 1e-5, "rtol": 1e-4}
    )
    for layer, reading in read_layers(model, IDS, [0, 2], ("u", "dt", "B", "C")):
        scan = KINDS[model.config.architecture].maps(model, layer, reading, True)
        summed = torch.cat([left.sum(0) for left in survivals(scan, reading["u"])])
        (state,) = recorded(model, layer, "state")
        torch.testing.assert_close(summed, state[-1], **tolerance)


@pytest.mark.parametrize("name", MAMBAS)
def test_retention_is_what_the_last_state_loses_when_a_token_writes_nothing(name):
    model = built(CONFIGS[name])
    (state, write) = recorded(model, 1, "state", "write")
    found = ms.retention(model, IDS, layers=1).sel(layer=1)
    for position in range(len(IDS)):
        silent = ms.Edit(site="write", layers=1, positions=[position], op="zero")
        without = model.run([IDS], edits=[silent], record=[("state", 1)], logits="none")
        lost = state[-1] - without["state", 1][0, -1]
        share = (lost * state[-1]).sum() / state[-1].square().sum()
        np.testing.assert_allclose(found["surviving"][position], lost.norm(), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found["share"][position], share, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found["written"][position], write[position].norm())
    np.testing.assert_allclose(found["share"].sum(), 1)
    np.testing.assert_allclose(found["state_norm"], state[-1].norm())


def test_half_lives_of_mamba1_are_by_channel_and_state_and_follow_from_dt():
    model = built(CONFIGS["mamba1"])
    (dt,) = recorded(model, 2, "dt")
    rates = torch.exp(model.blocks[2].mixer.A_log)
    by_hand = np.log(2) / (dt[:, :, None] * rates).numpy()
    each = ms.half_life_spectrum(model, IDS, by_token=True)["half_life"]
    assert each.dims == ("layer", "position", "channel", "state")
    np.testing.assert_allclose(each.sel(layer=2), by_hand)
    prompt = ms.half_life_spectrum(model, IDS)["half_life"]
    assert prompt.dims == ("layer", "channel", "state")
    np.testing.assert_allclose(prompt.sel(layer=2), 1 / (1 / by_hand).mean(0))
    medians = ms.retention(model, IDS)["half_life"].sel(layer=2)
    lower = np.sort(by_hand.reshape(len(IDS), -1), axis=1)[
        :, 17
    ]  # of 36 the lower middle, as torch has it
    np.testing.assert_allclose(medians, lower)


def test_half_lives_of_mamba2_are_by_head():
    model = built(CONFIGS["mamba2"])
    (dt,) = recorded(model, 0, "dt")
    by_hand = np.log(2) / (dt * torch.exp(model.blocks[0].mixer.A_log)).numpy()
    each = ms.half_life_spectrum(model, IDS, layers=[0], by_token=True)["half_life"]
    assert each.dims == ("layer", "position", "head")
    np.testing.assert_allclose(each[0], by_hand)


# ---- what comes out, and what is refused ---------------------------------------------------------


def test_the_result_says_what_it_is_and_comes_back_from_disk(tmp_path):
    from mambascope.results.store import load, save

    model = built(CONFIGS["mamba2"], torch.float32)
    found = ms.effective_attention(model, IDS, layers=[2, 0], reduce="head", units=[4, 1])
    assert found["attention"].dims == ("layer", "target", "source", "head")
    assert found["attention"].dtype == np.float32
    assert found["layer"].values.tolist() == [2, 0] and found["head"].values.tolist() == [4, 1]
    assert found["source_token"].values.tolist() == [str(i) for i in IDS]
    assert found.attrs["architecture"] == "mamba2" and found.attrs["span"] == "scan"
    for number, result in enumerate(
        (found, ms.retention(model, IDS), ms.half_life_spectrum(model, IDS))
    ):
        save(result, tmp_path / str(number))
        assert load(tmp_path / str(number)).identical(result)


def test_half_precision_is_read_in_float32():
    model = built(CONFIGS["mamba2"], torch.bfloat16, scale=0.3)
    exact = values(ms.effective_attention(model, IDS, span="mixer", reduce="share"))
    assert exact.dtype == torch.float32
    same = values(ms.effective_attention(model.double(), IDS, span="mixer", reduce="share"))
    assert (exact - same).abs().max() < 0.2  # bfloat16 has three digits, and three layers of them
    assert torch.isfinite(exact).all()


REFUSED = [
    ("mamba1", {"reduce": "head"}, ms.ConfigError, "mamba1, which has one map per channel: use 'channel'"),
    ("mamba2", {"reduce": "channel"}, ms.ConfigError, "mamba2, which has one map per head: use 'head'"),
    ("transformer", {"reduce": "channel"}, ms.ConfigError, "transformer, which has one map per head"),
    ("transformer", {"with_dt": False}, ms.ConfigError, "a transformer has no dt"),
    ("mamba1", {"reduce": "share"}, ms.ConfigError, "reduce 'share' is of span 'mixer'"),
    ("mamba1", {"span": "mixer"}, ms.ConfigError, "D x D map for each pair of tokens: reduce it by"),
    ("mamba1", {"span": "gate"}, ms.ConfigError, "span: Input should be 'scan' or 'mixer'"),
    ("mamba1", {"span": "mixer", "reduce": "share", "units": [0]}, ms.ConfigError, "units are of span 'scan'"),
    ("mamba1", {"span": "mixer", "reduce": "share", "with_dt": False}, ms.ConfigError, "dt included"),
    ("mamba1", {"rollout": True, "reduce": None}, ms.ConfigError, "a rollout needs one map per layer"),
    ("mamba1", {"rollout": True, "layers": [0, 2]}, ms.ConfigError, "one after the other, not .0, 2."),
    ("mamba1", {"units": [12]}, ms.ConfigError, "channel 12 is out of range: the model has channels 0 to 11"),
    ("mamba2", {"units": []}, ms.ConfigError, "units must name each one once"),
    ("mamba2", {"layers": [1, 1]}, ms.ConfigError, "layers must name each one once"),
    ("mamba2", {"layers": 3}, ms.SiteError, "layer 3 is out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "error", "said"), REFUSED)
def test_what_has_no_meaning_is_refused_in_one_sentence(name, options, error, said):
    with pytest.raises(error, match=said) as caught:
        ms.effective_attention(built(CONFIGS[name]), IDS, **options)
    assert "\n" not in str(caught.value)


def test_several_prompts_are_refused():
    with pytest.raises(ms.PromptError, match="one prompt is wanted here, but 2 were given"):
        ms.effective_attention(built(CONFIGS["mamba1"]), torch.tensor([[1, 2], [3, 4]]))


def test_a_result_larger_than_the_memory_is_refused_before_anything_is_run(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 100_000})())
    model = built(CONFIGS["mamba1"], torch.float32)
    with pytest.raises(ms.ConfigError, match="3 x 21 x 21 x 12 numbers"):
        ms.effective_attention(model, IDS, reduce=None)
    assert ms.effective_attention(model, IDS)["attention"].shape == (3, 21, 21)


@pytest.mark.parametrize("diagnose", [ms.retention, ms.half_life_spectrum])
def test_a_transformer_has_no_state_that_could_be_retained(diagnose):
    with pytest.raises(ms.ModelError, match="layers have no decaying state"):
        diagnose(built(CONFIGS["transformer"]), IDS)


def test_reading_a_prompt_copies_no_weights(monkeypatch):
    monkeypatch.setenv("MAMBASCOPE_LINEAR", "onednn")
    release_packed_weights()
    ms.effective_attention(built(CONFIGS["mamba1"], torch.float32), IDS)
    assert packed_bytes() == 0


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mamba1", "mamba2"])
def test_a_layer_of_2048_tokens_at_the_size_of_mamba_130m_takes_less_than_1_5_gb_in_all(
    architecture,
):
    script = Path(__file__).parents[2] / "benchmarks/attention.py"
    command = [sys.executable, script, architecture, "2048", "mean_abs"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = json.loads(done.stdout.splitlines()[-1])["peak"]
    assert 500 * 2**20 < peak * 2**20 < 1.5e9
