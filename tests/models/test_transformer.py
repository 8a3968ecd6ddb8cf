"""The transformer against transformers' GPT-2, GPT-NeoX and Llama, and its sites against a definition written here."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from mambascope.models.config import Llama3Rope, TransformerConfig
from mambascope.models.language_model import LanguageModel
from mambascope.models.norms import RMSNorm
from mambascope.sites import Edit
from tests.models.reference import shake, true_double

VOCAB, MAX = 61, 320
SIZES = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": VOCAB,
    "max_position_embeddings": MAX, "attn_implementation": "eager",
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
OURS = {"n_layers": 3, "d_model": 24, "vocab_size": VOCAB, "n_heads": 4, "head_dim": 6}
NEOX = dict(**OURS, n_kv_heads=4, d_mlp=36, positions="rotary", tie_embeddings=False)
LLAMA = dict(
    **OURS, d_mlp=36, norm="rms", activation="silu", positions="rotary", rotary_dim=6,
    gated_mlp=True, norm_eps=1e-6,
)  # fmt: skip
UNBIASED = {"qkv_bias": False, "out_bias": False, "mlp_bias": False}


def gpt2():
    sizes = {"n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": MAX, "vocab_size": VOCAB}
    reference = GPT2LMHeadModel(GPT2Config(**sizes, attn_implementation="eager"))
    ours = TransformerConfig(
        **OURS, n_kv_heads=4, d_mlp=96, activation="gelu_tanh", max_positions=MAX
    )
    return reference, ours


def neox(parallel, rotary_dim):
    reference = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            **SIZES, intermediate_size=36, use_parallel_residual=parallel,
            rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": rotary_dim / 6},
        )
    )  # fmt: skip
    return reference, TransformerConfig(**NEOX, rotary_dim=rotary_dim, parallel=parallel)


def llama(kv_heads, rope=None, tied=True, biased=False):
    more = {} if rope is None else {"rope_parameters": rope}
    reference = LlamaForCausalLM(
        LlamaConfig(
            **SIZES, **more, intermediate_size=36, num_key_value_heads=kv_heads,
            tie_word_embeddings=tied, attention_bias=biased, mlp_bias=biased,
        )
    )  # fmt: skip
    ours = dict(LLAMA, n_kv_heads=kv_heads, tie_embeddings=tied, **({} if biased else UNBIASED))
    if rope is not None:
        ours |= {
            "rope_theta": 500.0,
            "rope_scaling": Llama3Rope(factor=8, original_max_positions=64),
        }
    return reference, TransformerConfig(**ours)


ARCHITECTURES = {
    "gpt2": gpt2,
    "neox-parallel": lambda: neox(parallel=True, rotary_dim=2),
    "neox-sequential": lambda: neox(parallel=False, rotary_dim=6),
    "llama-grouped-tied": lambda: llama(kv_heads=2),
    "llama-one-kv-head-untied-biased": lambda: llama(kv_heads=1, tied=False, biased=True),
    "llama3-rope": lambda: llama(kv_heads=4, rope=LLAMA3),
}

# ---- weights, copied by hand ---------------------------------------------------------------------

GPT2_NAMES = {
    r"transformer\.wte\.": "embedding.",
    r"transformer\.wpe\.": "position_embedding.",
    r"transformer\.ln_f\.": "final_norm.",
    r"transformer\.h\.": "blocks.",
    r"ln_1\.": "norm.",
    r"ln_2\.": "mlp_norm.",
    r"attn\.c_proj\.": "attention.out_proj.",
    r"attn\.c_attn\.": "attention.qkv.",
    r"mlp\.c_fc\.": "mlp.up_proj.",
    r"mlp\.c_proj\.": "mlp.down_proj.",
}
NEOX_NAMES = {
    r"gpt_neox\.embed_in\.": "embedding.",
    r"gpt_neox\.final_layer_norm\.": "final_norm.",
    r"gpt_neox\.layers\.": "blocks.",
    r"input_layernorm\.": "norm.",
    r"post_attention_layernorm\.": "mlp_norm.",
    r"attention\.dense\.": "attention.out_proj.",
    r"attention\.query_key_value\.": "attention.qkv.",
    r"mlp\.dense_h_to_4h\.": "mlp.up_proj.",
    r"mlp\.dense_4h_to_h\.": "mlp.down_proj.",
    r"(embed_out|lm_head)\.": "unembedding.",
}
LLAMA_NAMES = {
    r"model\.embed_tokens\.": "embedding.",
    r"model\.norm\.": "final_norm.",
    r"model\.layers\.": "blocks.",
    r"input_layernorm\.": "norm.",
    r"post_attention_layernorm\.": "mlp_norm.",
    r"self_attn\.": "attention.",
    r"o_proj\.": "out_proj.",
    r"lm_head\.": "unembedding.",
}


def our_weights(reference):
    kind = reference.config.model_type
    names = {"gpt2": GPT2_NAMES, "gpt_neox": NEOX_NAMES, "llama": LLAMA_NAMES}[kind]
    weights = {}
    for name, value in reference.state_dict().items():
        if kind == "gpt2" and re.search(r"(c_attn|c_proj|c_fc)\.weight", name):
            value = value.T
        for pattern, ours in names.items():
            name = re.sub(rf"(?<![a-z_]){pattern}", ours, name)
        if "embedding." in name:
            name = name.removesuffix(".weight")
        if "qkv" in name:
            parts = value.chunk(3) if kind == "gpt2" else per_head(value)
            weights |= {
                name.replace("qkv", f"{p}_proj"): w for p, w in zip("qkv", parts, strict=True)
            }
        else:
            weights[name] = value
    if reference.config.tie_word_embeddings:
        weights = {n: w for n, w in weights.items() if not n.startswith(("unembedding", "lm_head"))}
    return weights


def per_head(value, heads=4):
    return [part.flatten(0, 1) for part in value.unflatten(0, (heads, 3, -1)).unbind(1)]


def sharpen(reference):
    """Weights large enough that attention picks out single keys: a wrong angle or mask then shows."""
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if parameter.ndim == 2 and not re.search("embed|wte|wpe|head", name):
                parameter.mul_(2.5)
    return reference


class Pair:
    """A reference, the same in true float64, and ours with the same weights."""

    def __init__(self, name):
        self._true_logits = {}
        torch.manual_seed(0)
        reference, config = ARCHITECTURES[name]()
        self.reference = sharpen(shake(reference))
        with true_double():  # rotary frequencies too
            self.truth = ARCHITECTURES[name]()[0].double().eval()
        self.truth.load_state_dict(reference.double().state_dict())
        self.reference.float()
        self.ours = LanguageModel(config)
        self.ours.load_state_dict(our_weights(reference))
        self.double = LanguageModel(config).double()
        self.double.load_state_dict(our_weights(self.truth))

    def true_logits(self, length):
        if length not in self._true_logits:
            with torch.no_grad(), true_double():
                self._true_logits[length] = self.truth(random_ids(length)).logits
            assert self._true_logits[length].dtype == torch.float64
        return self._true_logits[length]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request):
    return Pair(request.param)


@pytest.fixture(scope="module")
def model():
    return Pair("llama-grouped-tied").double


def random_ids(length, seed=0):
    return torch.randint(0, VOCAB, (1, length), generator=torch.Generator().manual_seed(seed))


def worst(a, b):
    return (a.double() - b.double()).abs().max().item()


# ---- parity --------------------------------------------------------------------------------------

LENGTHS = (1, 2, 3, 7, 16, 63, 64, 65, 128, 200, 300)


@pytest.mark.parametrize("length", LENGTHS)
def test_float64_logits_are_the_references(pair, length):
    ids = random_ids(length)
    assert worst(pair.double.run(ids).logits, pair.true_logits(ids.shape[1])) < 1e-12


@pytest.mark.parametrize("length", LENGTHS)
def test_float32_error_is_at_most_three_times_the_references_own(pair, length):
    ids = random_ids(length)
    truth = pair.true_logits(ids.shape[1])
    with torch.no_grad():
        own = worst(pair.reference(ids).logits, truth)
        assert worst(pair.ours.run(ids).logits, truth) <= 3 * own + 1e-7


def test_half_precision_stays_near_the_truth(pair):
    half = LanguageModel(pair.ours.config).to(torch.bfloat16)
    half.load_state_dict(pair.ours.state_dict())
    reference = type(pair.reference)(pair.reference.config).to(torch.bfloat16).eval()
    reference.load_state_dict(pair.reference.state_dict())
    ids = random_ids(40)
    truth = pair.true_logits(ids.shape[1])
    with torch.no_grad():
        own = worst(reference(ids).logits, truth)
        plain, recorded = half.run(ids), half.run(ids, record=["pattern"])
    assert plain.logits.dtype == recorded["pattern", 0].dtype == torch.bfloat16
    assert worst(plain.logits, truth) <= 3 * own
    assert worst(recorded.logits, truth) <= 3 * own


def test_unequal_prompts_in_one_batch_equal_each_alone(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (5, 1, 40, 17, 33, 64, 9)]
    together = pair.double.run(prompts).logits
    for row, prompt in enumerate(prompts):
        alone = pair.double.run([prompt]).logits[0]
        assert worst(together[row, : len(prompt)], alone) < 1e-13
        assert together[row, len(prompt) :].isnan().all()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_split_carried_over_equals_the_whole(pair, data):
    prompts = [
        random_ids(length, seed=row)[0].tolist()
        for row, length in enumerate(
            data.draw(st.lists(st.integers(3, 40), min_size=1, max_size=4))
        )
    ]
    whole = pair.double.run(prompts).logits
    inner = [
        st.lists(st.integers(1, len(p) - 1), min_size=2, max_size=2, unique=True) for p in prompts
    ]
    cuts = [[0, *sorted(data.draw(one)), len(p)] for one, p in zip(inner, prompts, strict=True)]
    carry = None
    for part in range(3):
        spans = [slice(cut[part], cut[part + 1]) for cut in cuts]
        pieces = [p[span] for p, span in zip(prompts, spans, strict=True)]
        run = pair.double.run(pieces, carry=carry, keep_carry=True)
        for row, span in enumerate(spans):
            assert worst(run.logits[row, : len(pieces[row])], whole[row, span]) < 1e-12
        carry = run.carry


def test_generation_of_unequal_prompts_equals_running_again_from_scratch(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (4, 30, 1)]
    made = pair.double.generate(prompts, max_new_tokens=6)
    for prompt, continuation in zip(prompts, made, strict=True):
        for number, token in enumerate(continuation):
            logits = pair.double.run([prompt + continuation[:number]], logits="last").logits
            assert logits[0].argmax().item() == token


# ---- sites ---------------------------------------------------------------------------------------


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


# ---- training and configuration ------------------------------------------------------------------


def test_gradients_reach_every_weight_and_equal_those_through_the_written_out_pattern(pair):
    prompts = [random_ids(length, seed=length)[0].tolist() for length in (6, 20, 3)]
    grads = []
    for record in ([], ["pattern"]):
        pair.double.zero_grad()
        pair.double.requires_grad_(True)
        pair.double.run(prompts, record=record).logits.nan_to_num().pow(2).sum().backward()
        grads.append({n: p.grad for n, p in pair.double.named_parameters()})
    for name, grad in grads[0].items():
        if name.endswith("k_proj.bias") and pair.ours.config.positions == "learned":
            assert worst(grad, torch.zeros_like(grad)) < 1e-9, "softmax ignores what all keys share"
        else:
            assert grad.abs().max() > 0, name
        assert torch.allclose(grad, grads[1][name], rtol=1e-9, atol=1e-9), name


def test_a_run_in_inference_mode_leaves_later_training_alone(pair):
    ids = random_ids(11)
    with torch.inference_mode():
        pair.ours.run(ids)
    pair.ours.requires_grad_(True)
    pair.ours.run(ids).logits.sum().backward()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_kv_heads": 3}, "4 heads cannot share 3 key/value heads"),
        ({"n_kv_heads": 4, "positions": "rotary"}, "rotary_dim must be 1 to 6, not 0"),
        (
            {"n_kv_heads": 4, "positions": "rotary", "rotary_dim": 8},
            "rotary_dim must be 1 to 6, not 8",
        ),
        (
            {"n_kv_heads": 4, "positions": "rotary", "rotary_dim": 3},
            "rotary_dim must be even, not 3",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**OURS, d_mlp=8, **wrong)
