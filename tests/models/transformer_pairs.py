"""Small random transformers of the reference beside ours with the same weights."""

import re

import torch
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


def random_ids(length, seed=0):
    return torch.randint(0, VOCAB, (1, length), generator=torch.Generator().manual_seed(seed))


def worst(a, b):
    return (a.double() - b.double()).abs().max().item()
