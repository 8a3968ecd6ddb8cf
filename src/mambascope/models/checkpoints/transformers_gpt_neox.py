"""GPT-NeoX and Pythia as transformers writes them (GPTNeoXForCausalLM).

`query_key_value` holds q, k and v head by head: (H, 3, P, D) flattened to (3HP, D).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mambascope.models.checkpoints.format import DiskConfig, DiskFormat, Reshape, writes_only
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
    "gpt_neox.embed_in.weight": "embedding",
    "gpt_neox.layers.{layer}.input_layernorm.weight": "blocks.{layer}.norm.weight",
    "gpt_neox.layers.{layer}.input_layernorm.bias": "blocks.{layer}.norm.bias",
    "gpt_neox.layers.{layer}.attention.query_key_value.weight": (
        "blocks.{layer}.attention.q_proj.weight",
        "blocks.{layer}.attention.k_proj.weight",
        "blocks.{layer}.attention.v_proj.weight",
    ),
    "gpt_neox.layers.{layer}.attention.query_key_value.bias": (
        "blocks.{layer}.attention.q_proj.bias",
        "blocks.{layer}.attention.k_proj.bias",
        "blocks.{layer}.attention.v_proj.bias",
    ),
    "gpt_neox.layers.{layer}.attention.dense.weight": "blocks.{layer}.attention.out_proj.weight",
    "gpt_neox.layers.{layer}.attention.dense.bias": "blocks.{layer}.attention.out_proj.bias",
    "gpt_neox.layers.{layer}.post_attention_layernorm.weight": "blocks.{layer}.mlp_norm.weight",
    "gpt_neox.layers.{layer}.post_attention_layernorm.bias": "blocks.{layer}.mlp_norm.bias",
    "gpt_neox.layers.{layer}.mlp.dense_h_to_4h.weight": "blocks.{layer}.mlp.up_proj.weight",
    "gpt_neox.layers.{layer}.mlp.dense_h_to_4h.bias": "blocks.{layer}.mlp.up_proj.bias",
    "gpt_neox.layers.{layer}.mlp.dense_4h_to_h.weight": "blocks.{layer}.mlp.down_proj.weight",
    "gpt_neox.layers.{layer}.mlp.dense_4h_to_h.bias": "blocks.{layer}.mlp.down_proj.bias",
    "gpt_neox.final_layer_norm.weight": "final_norm.weight",
    "gpt_neox.final_layer_norm.bias": "final_norm.bias",
    "embed_out.weight": "unembedding",
}


def _split(fused: Tensor, config: TransformerConfig) -> Sequence[Tensor]:
    heads = fused.unflatten(0, (config.n_heads, 3, config.head_dim))
    return [part.flatten(0, 1) for part in heads.unbind(1)]


def _fuse(parts: Sequence[Tensor], config: TransformerConfig) -> Tensor:
    heads = [part.unflatten(0, (config.n_heads, config.head_dim)) for part in parts]
    return torch.stack(heads, dim=1).flatten(0, 2)


QKV = Reshape(_split, _fuse)

RESHAPES = {
    "gpt_neox.layers.{layer}.attention.query_key_value.weight": QKV,
    "gpt_neox.layers.{layer}.attention.query_key_value.bias": QKV,
}

# What transformers assumes where config.json says nothing.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24576,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "use_parallel_residual": True,
    "attention_bias": True,
}


def config_from_disk(disk: DiskConfig) -> TransformerConfig:
    """Our configuration."""
    d = DEFAULTS | dict(disk)
    head_dim = d["hidden_size"] // d["num_attention_heads"]
    return TransformerConfig(
        n_layers=d["num_hidden_layers"],
        d_model=d["hidden_size"],
        vocab_size=d["vocab_size"],
        norm_eps=d["layer_norm_eps"],
        tie_embeddings=d["tie_word_embeddings"],
        eos_ids=eos_ids(d),
        n_heads=d["num_attention_heads"],
        n_kv_heads=d["num_attention_heads"],
        head_dim=head_dim,
        d_mlp=d["intermediate_size"],
        activation=activation(d["hidden_act"]),
        parallel=d["use_parallel_residual"],
        qkv_bias=d["attention_bias"],
        out_bias=d["attention_bias"],
        **rotary(d, int(head_dim * _turned_share(d)), base="rotary_emb_base"),
    )


def config_to_disk(config: TransformerConfig) -> dict[str, Any]:
    """config.json; ModelError naming what GPT-NeoX does not have."""
    c = config
    writes_only(
        "gpt_neox",
        c,
        positions="rotary",
        norm="layer",
        n_kv_heads=c.n_heads,
        head_dim=c.d_model / c.n_heads,
        gated_mlp=False,
        out_bias=c.qkv_bias,
        mlp_bias=True,
        residual_in_fp32=False,
    )
    return {
        "model_type": "gpt_neox",
        "num_hidden_layers": c.n_layers,
        "hidden_size": c.d_model,
        "vocab_size": c.vocab_size,
        "layer_norm_eps": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "eos_token_id": eos_token_id(c),
        "num_attention_heads": c.n_heads,
        "intermediate_size": c.d_mlp,
        "hidden_act": ACTIVATIONS_TO_DISK[c.activation],
        "use_parallel_residual": c.parallel,
        "attention_bias": c.qkv_bias,
        "max_position_embeddings": c.max_positions or DEFAULTS["max_position_embeddings"],
        "rope_parameters": {**rope_parameters(c), "partial_rotary_factor": _share_to_disk(c)},
    }


def _turned_share(disk: DiskConfig) -> float:
    """The part of head_dim that rotary positions turn."""
    rope = disk.get("rope_scaling") or disk.get("rope_parameters") or {}
    return rope.get("partial_rotary_factor", disk.get("rotary_pct", 0.25))


def _share_to_disk(config: TransformerConfig) -> float:
    share = config.rotary_dim / config.head_dim
    if int(config.head_dim * share) < config.rotary_dim:  # int() is how it is read back
        share = math.nextafter(share, 1.0)
    return share


GPT_NEOX = DiskFormat(
    name="gpt_neox",
    model_class="GPTNeoXForCausalLM",
    prefix="gpt_neox.",
    head="embed_out.weight",
    renames=RENAMES,
    reshapes=RESHAPES,
    aliases={"lm_head.weight": "embed_out.weight"},
    harmless=(
        "gpt_neox.layers.{layer}.attention.bias",
        "gpt_neox.layers.{layer}.attention.masked_bias",
        "gpt_neox.layers.{layer}.attention.rotary_emb.inv_freq",
        "gpt_neox.rotary_emb.inv_freq",
    ),
    config_from_disk=config_from_disk,
    config_to_disk=config_to_disk,
)
