"""Llama as transformers writes it (LlamaForCausalLM), and its near relatives.

Mistral and Qwen2 have the same tensors and differ in which projections have a bias; neither is read where it asks for a
sliding window, which our attention does not have.
"""

from typing import Any

from mambascope.errors import ModelError
from mambascope.models.checkpoints.format import DiskConfig, DiskFormat, runs_only, writes_only
from mambascope.models.checkpoints.transformers_words import (
    ACTIVATIONS_TO_DISK,
    activation,
    eos_ids,
    eos_token_id,
    rope_parameters,
    rotary,
)
from mambascope.models.config import TransformerConfig

RENAMES: dict[str, str | tuple[str, ...]] = {
    "model.embed_tokens.weight": "embedding",
    "model.layers.{layer}.input_layernorm.weight": "blocks.{layer}.norm.weight",
    "model.layers.{layer}.self_attn.q_proj.weight": "blocks.{layer}.attention.q_proj.weight",
    "model.layers.{layer}.self_attn.q_proj.bias": "blocks.{layer}.attention.q_proj.bias",
    "model.layers.{layer}.self_attn.k_proj.weight": "blocks.{layer}.attention.k_proj.weight",
    "model.layers.{layer}.self_attn.k_proj.bias": "blocks.{layer}.attention.k_proj.bias",
    "model.layers.{layer}.self_attn.v_proj.weight": "blocks.{layer}.attention.v_proj.weight",
    "model.layers.{layer}.self_attn.v_proj.bias": "blocks.{layer}.attention.v_proj.bias",
    "model.layers.{layer}.self_attn.o_proj.weight": "blocks.{layer}.attention.out_proj.weight",
    "model.layers.{layer}.self_attn.o_proj.bias": "blocks.{layer}.attention.out_proj.bias",
    "model.layers.{layer}.post_attention_layernorm.weight": "blocks.{layer}.mlp_norm.weight",
    "model.layers.{layer}.mlp.gate_proj.weight": "blocks.{layer}.mlp.gate_proj.weight",
    "model.layers.{layer}.mlp.gate_proj.bias": "blocks.{layer}.mlp.gate_proj.bias",
    "model.layers.{layer}.mlp.up_proj.weight": "blocks.{layer}.mlp.up_proj.weight",
    "model.layers.{layer}.mlp.up_proj.bias": "blocks.{layer}.mlp.up_proj.bias",
    "model.layers.{layer}.mlp.down_proj.weight": "blocks.{layer}.mlp.down_proj.weight",
    "model.layers.{layer}.mlp.down_proj.bias": "blocks.{layer}.mlp.down_proj.bias",
    "model.norm.weight": "final_norm.weight",
    "lm_head.weight": "unembedding",
}

# What transformers assumes where config.json says nothing.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "head_dim": None,
}
MISTRAL_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "sliding_window": 4096,
    "head_dim": None,
}
QWEN2_DEFAULTS: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "eos_token_id": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
}


def llama_config_from_disk(disk: DiskConfig) -> TransformerConfig:
    """Our configuration."""
    d = DEFAULTS | dict(disk)
    bias = d["attention_bias"]
    return _shared_from_disk(d, qkv_bias=bias, out_bias=bias, mlp_bias=d["mlp_bias"])


def mistral_config_from_disk(disk: DiskConfig) -> TransformerConfig:
    """Our configuration; ModelError for a sliding window."""
    d = MISTRAL_DEFAULTS | dict(disk)
    runs_only(d, sliding_window=None)
    return _shared_from_disk(d, qkv_bias=False, out_bias=False, mlp_bias=False)


def qwen2_config_from_disk(disk: DiskConfig) -> TransformerConfig:
    """Our configuration; ModelError for a sliding window."""
    d = QWEN2_DEFAULTS | dict(disk)
    runs_only(d, use_sliding_window=False)
    return _shared_from_disk(d, qkv_bias=True, out_bias=False, mlp_bias=False)


def llama_config_to_disk(config: TransformerConfig) -> dict[str, Any]:
    """config.json of a Llama; ModelError naming what it does not have."""
    writes_only("llama", config, out_bias=config.qkv_bias)
    bias = {"attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}
    return _shared_to_disk("llama", config) | bias


def mistral_config_to_disk(config: TransformerConfig) -> dict[str, Any]:
    """config.json of a Mistral; ModelError naming what it does not have."""
    writes_only("mistral", config, qkv_bias=False, out_bias=False, mlp_bias=False)
    return _shared_to_disk("mistral", config) | {"sliding_window": None}


def qwen2_config_to_disk(config: TransformerConfig) -> dict[str, Any]:
    """config.json of a Qwen2; ModelError naming what it does not have."""
    writes_only("qwen2", config, qkv_bias=True, out_bias=False, mlp_bias=False)
    return _shared_to_disk("qwen2", config)


def _shared_from_disk(d: DiskConfig, **biases: bool) -> TransformerConfig:
    head_dim = d.get("head_dim") or d["hidden_size"] // d["num_attention_heads"]
    return TransformerConfig(
        n_layers=d["num_hidden_layers"],
        d_model=d["hidden_size"],
        vocab_size=d["vocab_size"],
        norm_eps=d["rms_norm_eps"],
        tie_embeddings=d["tie_word_embeddings"],
        eos_ids=eos_ids(d),
        n_heads=d["num_attention_heads"],
        n_kv_heads=d["num_key_value_heads"] or d["num_attention_heads"],
        head_dim=head_dim,
        d_mlp=d["intermediate_size"],
        activation=activation(d["hidden_act"]),
        norm="rms",
        gated_mlp=True,
        **biases,
        **rotary(d, head_dim),
    )


def _shared_to_disk(layout: str, config: TransformerConfig) -> dict[str, Any]:
    c = config
    writes_only(
        layout,
        c,
        positions="rotary",
        norm="rms",
        rotary_dim=c.head_dim,
        parallel=False,
        gated_mlp=True,
        residual_in_fp32=False,
    )
    if c.d_model % c.n_heads:
        raise ModelError(
            f"the {layout} layout needs a d_model that is a multiple of n_heads, but they are "
            f"{c.d_model} and {c.n_heads}"
        )
    return {
        "model_type": layout,
        "num_hidden_layers": c.n_layers,
        "hidden_size": c.d_model,
        "vocab_size": c.vocab_size,
        "rms_norm_eps": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "eos_token_id": eos_token_id(c),
        "num_attention_heads": c.n_heads,
        "num_key_value_heads": c.n_kv_heads,
        "head_dim": c.head_dim,
        "intermediate_size": c.d_mlp,
        "hidden_act": ACTIVATIONS_TO_DISK[c.activation],
        "max_position_embeddings": c.max_positions or DEFAULTS["max_position_embeddings"],
        "rope_parameters": rope_parameters(c),
    }


_TENSORS: dict[str, Any] = {
    "prefix": "model.",
    "head": "lm_head.weight",
    "renames": RENAMES,
    "harmless": (
        "model.layers.{layer}.self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq",
    ),
}
LLAMA = DiskFormat(
    name="llama",
    model_class="LlamaForCausalLM",
    config_from_disk=llama_config_from_disk,
    config_to_disk=llama_config_to_disk,
    **_TENSORS,
)
MISTRAL = DiskFormat(
    name="mistral",
    model_class="MistralForCausalLM",
    config_from_disk=mistral_config_from_disk,
    config_to_disk=mistral_config_to_disk,
    **_TENSORS,
)
QWEN2 = DiskFormat(
    name="qwen2",
    model_class="Qwen2ForCausalLM",
    config_from_disk=qwen2_config_from_disk,
    config_to_disk=qwen2_config_to_disk,
    **_TENSORS,
)
