"""Effective attention against the recurrence that it describes, dense maps built token by token, and a naive float64 loop."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import mambascope as ms
from mambascope.methods.attention import blocks, decayed, memory, readings
from mambascope.methods.attention.memory import survivals
from mambascope.methods.attention.mixers import mixer_map, mixer_sites
from mambascope.methods.attention.readings import read_layers
from mambascope.methods.attention.scans import KINDS
from mambascope.models.config import Mamba1Config, Mamba2Config, TransformerConfig
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
