"""Every site of the transformer against a definition written here, one token at a time in float64."""

import pytest
import torch

from mambascope.models.norms import RMSNorm
from mambascope.sites import Edit
from tests.models.transformer_pairs import ARCHITECTURES, Pair, random_ids, worst


@pytest.fixture(scope="module")
def model():
    return Pair("llama-grouped-tied").double


def definition(block, config, resid, change=lambda site, value: value):
    """One layer on one prompt (T, D), every head and query by itself; what passes each site, after `change`."""
    sites = {}

    def site(name, value):
        sites[name] = change(name, value)
        return sites[name]

    c, a, T = config, block.attention, len(resid)
    resid = site("resid_pre", resid)
    x = site("norm", normed(block.norm, resid))
    q = site("q", a.q_proj(x).view(T, c.n_heads, c.head_dim))
    k = site("k", a.k_proj(x).view(T, c.n_kv_heads, c.head_dim))
    v = site("v", a.v_proj(x).view(T, c.n_kv_heads, c.head_dim))
    pattern = torch.zeros(T, c.n_heads, T, dtype=resid.dtype)
    serves = c.n_heads // c.n_kv_heads
    for t in range(T):
        for h in range(c.n_heads):
            query = turned(q[t, h], t, c)
            keys = torch.stack([turned(k[s, h // serves], s, c) for s in range(t + 1)])
            weights = torch.exp(keys @ query / c.head_dim**0.5)
            pattern[t, h, : t + 1] = weights / weights.sum()
    pattern = site("pattern", pattern)
    heads = torch.zeros_like(q)
    for t in range(T):
        for h in range(c.n_heads):
            heads[t, h] = sum(pattern[t, h, s] * v[s, h // serves] for s in range(t + 1))
    heads = site("heads", heads)
    out = site("mixer_out", site("attn_out", a.out_proj(heads.reshape(T, -1))))
    mid = site("resid_mid", resid + out)
    x = site("mlp_norm", normed(block.mlp_norm, resid if c.parallel else mid))
    up = block.mlp.up_proj(x)
    if c.gated_mlp:
        pre = site("mlp_pre", block.mlp.gate_proj(x))
        act = site("mlp_act", pre * torch.sigmoid(pre) * up)
    else:
        act = site("mlp_act", gelu(site("mlp_pre", up), c.activation))
    site("resid_post", mid + site("mlp_out", block.mlp.down_proj(act)))
    return sites


def normed(norm, x):
    if isinstance(norm, RMSNorm):
        return x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
        + norm.bias
    )


def gelu(x, kind):
    if kind == "gelu":
        return x * (1 + torch.erf(x / 2**0.5)) / 2
    return x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def turned(x, position, c):
    """Pairs (i, i + rotary_dim / 2) as complex numbers, multiplied by e^(i position frequency)."""
    if c.positions == "learned":
        return x
    assert c.rope_scaling is None
    half = c.rotary_dim // 2
    pairs = torch.complex(x[:half], x[half : 2 * half])
    angle = torch.tensor(
        [position * c.rope_theta ** (-i / half) for i in range(half)], dtype=x.dtype
    )
    pairs = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([pairs.real, pairs.imag, x[2 * half :]])


LAYERED = [
    "resid_pre", "norm", "q", "k", "v", "pattern", "heads", "attn_out", "mixer_out", "resid_mid",
    "mlp_norm", "mlp_pre", "mlp_act", "mlp_out", "resid_post",
]  # fmt: skip
PLAIN_ROPE = [name for name in ARCHITECTURES if name != "llama3-rope"]


@pytest.fixture(scope="module", params=PLAIN_ROPE)
def plain(request):
    return Pair(request.param).double


@torch.no_grad()
def test_every_site_is_what_the_definition_says(plain):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (6, 1, 9)]
    run = plain.run(prompts, record=LAYERED)
    for layer, block in enumerate(plain.blocks):
        for row, prompt in enumerate(prompts):
            T = len(prompt)
            expected = definition(block, plain.config, run["resid_pre", layer][row, :T])
            for name in LAYERED:
                got = run[name, layer][row, :T]
                if name == "pattern":
                    assert not got[..., T:].any()
                    got = got[..., :T]
                assert got.shape == expected[name].shape
                assert worst(got, expected[name]) < 1e-12, name


def test_recording_the_pattern_changes_no_logit(plain):
    ids = random_ids(20)
    assert worst(plain.run(ids).logits, plain.run(ids, record=["pattern"]).logits) < 1e-13


@torch.no_grad()
def test_no_edit_of_the_pattern_makes_a_token_read_a_later_one(plain):
    ids = random_ids(6)[0].tolist()
    edit = Edit(site="pattern", op="replace", value=0.3)
    before = plain.run([ids], edits=[edit]).logits
    after = plain.run([[*ids[:4], 7, 8]], edits=[edit]).logits
    assert worst(before[0, :4], after[0, :4]) < 1e-13
    assert worst(before[0, 4:], after[0, 4:]) > 1e-3
    assert worst(before, plain.run([ids]).logits) > 1e-3


def test_rows_of_the_pattern_sum_to_one(plain):
    run = plain.run([random_ids(9)[0].tolist(), [3, 4]], record=["pattern"])
    for layer in range(plain.config.n_layers):
        sums = run["pattern", layer].sum(-1)
        assert worst(sums[0], torch.ones_like(sums[0])) < 1e-13
        assert worst(sums[1, :2], torch.ones_like(sums[1, :2])) < 1e-13


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERED)
def test_an_edit_of_a_site_does_what_the_definition_says(plain, name):
    ids, position = random_ids(6), 3
    run = plain.run(ids, record=["resid_pre", name])
    added = torch.randn_like(run[name, 0][0, position])
    edit = Edit(site=name, op="add", layers=0, positions=[position], value=added)

    def change(site, value):
        return value.index_add(0, torch.tensor([position]), added[None]) if site == name else value

    first, second, third = plain.blocks
    resid = definition(first, plain.config, run["resid_pre", 0][0], change)["resid_post"]
    for block in (second, third):
        resid = definition(block, plain.config, resid)["resid_post"]
    edited = plain.run(ids, edits=[edit], record=["resid_post"])
    assert worst(edited["resid_post", 2][0], resid) < 1e-11
    assert worst(edited["resid_post", 2], run["resid_pre", 2]) > 1e-3


@torch.no_grad()
def test_zeroing_one_entry_of_the_pattern_removes_that_keys_value(model):
    ids = random_ids(7)
    edit = Edit(site="pattern", op="zero", layers=1, positions=[5], units=(3, 2))
    run = model.run(ids, record=["heads", "pattern", "v"])
    edited = model.run(ids, edits=[edit], record=["heads"])
    expected = run["heads", 1][0].clone()
    expected[5, 3] -= run["pattern", 1][0, 5, 3, 2] * run["v", 1][0, 2, 1]
    assert worst(edited["heads", 1][0], expected) < 1e-13


@torch.no_grad()
def test_an_edited_value_is_carried_over(model):
    ids = random_ids(12)
    edit = Edit(site="v", op="scale", layers=[0, 2], positions=[4], value=-3.0)
    whole = model.run(ids, edits=[edit]).logits
    half = model.run(ids[:, :7], edits=[edit], keep_carry=True)
    assert worst(model.run(ids[:, 7:], carry=half.carry).logits, whole[:, 7:]) < 1e-12
