"""GPT-2 as transformers writes it (GPT2LMHeadModel).

Its projections are `Conv1D`s, whose weights are (in, out); ours are (out, in). q, k and v lie side by side in `c_attn`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mambascope.errors import ModelError
from mambascope.models.checkpoints.format import (
    DiskConfig,
    DiskFormat,
    Reshape,
    runs_only,
    writes_only,
)
from mambascope.models.checkpoints.transformers_words import (
    ACTIVATIONS_TO_DISK,
    activation,
    eos_ids,
    eos_token_id,
)
from mambascope.models.config import TransformerConfig

RENAMES: dict[str, str | tuple[str, ...]] = {
    "transformer.wte.weight": "embedding",
    "transformer.wpe.weight": "position_embedding",
    "transformer.h.{layer}.ln_1.weight": "blocks.{layer}.norm.weight",
    "transformer.h.{layer}.ln_1.bias": "blocks.{layer}.norm.bias",
    "transformer.h.{layer}.attn.c_attn.weight": (
        "blocks.{layer}.attention.q_proj.weight",
        "blocks.{layer}.attention.k_proj.weight",
        "blocks.{layer}.attention.v_proj.weight",
    ),
    "transformer.h.{layer}.attn.c_attn.bias": (
        "blocks.{layer}.attention.q_proj.bias",
        "blocks.{layer}.attention.k_proj.bias",
        "blocks.{layer}.attention.v_proj.bias",
    ),
    "transformer.h.{layer}.attn.c_proj.weight": "blocks.{layer}.attention.out_proj.weight",
    "transformer.h.{layer}.attn.c_proj.bias": "blocks.{layer}.attention.out_proj.bias",
    "transformer.h.{layer}.ln_2.weight": "blocks.{layer}.mlp_norm.weight",
    "transformer.h.{layer}.ln_2.bias": "blocks.{layer}.mlp_norm.bias",
    "transformer.h.{layer}.mlp.c_fc.weight": "blocks.{layer}.mlp.up_proj.weight",
    "transformer.h.{layer}.mlp.c_fc.bias": "blocks.{layer}.mlp.up_proj.bias",
    "transformer.h.{layer}.mlp.c_proj.weight": "blocks.{layer}.mlp.down_proj.weight",
    "transformer.h.{layer}.mlp.c_proj.bias": "blocks.{layer}.mlp.down_proj.bias",
    "transformer.ln_f.weight": "final_norm.weight",
    "transformer.ln_f.bias": "final_norm.bias",
    "lm_head.weight": "unembedding",
}


def _split(fused: Tensor, _: TransformerConfig) -> Sequence[Tensor]:
    """(D, 3D) to three (D, D) transposed, or (3D) to three (D)."""
    parts = (fused.mT if fused.ndim == 2 else fused).chunk(3)
    return [part.clone(memory_format=torch.contiguous_format) for part in parts]


def _fuse(parts: Sequence[Tensor], _: TransformerConfig) -> Tensor:
    fused = torch.cat(list(parts))
    return fused.mT if fused.ndim == 2 else fused


TRANSPOSED = Reshape(lambda tensor, _: (tensor.mT,), lambda tensors, _: tensors[0].mT)
QKV = Reshape(_split, _fuse)

RESHAPES = {
    "transformer.h.{layer}.attn.c_attn.weight": QKV,
    "transformer.h.{layer}.attn.c_attn.bias": QKV,
    "transformer.h.{layer}.attn.c_proj.weight": TRANSPOSED,
    "transformer.h.{layer}.mlp.c_fc.weight": TRANSPOSED,
    "transformer.h.{layer}.mlp.c_proj.weight": TRANSPOSED,
}

# What transformers assumes where config.json says nothing.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "eos_token_id": 50256,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def config_from_disk(disk: DiskConfig) -> TransformerConfig:
    """Our configuration."""
    d = DEFAULTS | dict(disk)
    runs_only(
        d,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    return TransformerConfig(
        n_layers=d["n_layer"],
        d_model=d["n_embd"],
        vocab_size=d["vocab_size"],
        norm_eps=d["layer_norm_epsilon"],
        tie_embeddings=d["tie_word_embeddings"],
        eos_ids=eos_ids(d),
        n_heads=d["n_head"],
        n_kv_heads=d["n_head"],
        head_dim=d["n_embd"] // d["n_head"],
        d_mlp=d["n_inner"] or 4 * d["n_embd"],
        activation=activation(d["activation_function"]),
        positions="learned",
        max_positions=d["n_positions"],
    )


def config_to_disk(config: TransformerConfig) -> dict[str, Any]:
    """config.json; ModelError naming what GPT-2 does not have."""
    c = config
    writes_only(
        "gpt2",
        c,
        positions="learned",
        norm="layer",
        n_kv_heads=c.n_heads,
        head_dim=c.d_model / c.n_heads,
        parallel=False,
        gated_mlp=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        residual_in_fp32=False,
    )
    if c.max_positions is None:
        raise ModelError("the gpt2 layout needs max_positions")
    return {
        "model_type": "gpt2",
        "n_layer": c.n_layers,
        "n_embd": c.d_model,
        "vocab_size": c.vocab_size,
        "layer_norm_epsilon": c.norm_eps,
        "tie_word_embeddings": c.tie_embeddings,
        "eos_token_id": eos_token_id(c),
        "n_head": c.n_heads,
        "n_inner": c.d_mlp,
        "activation_function": ACTIVATIONS_TO_DISK[c.activation],
        "n_positions": c.max_positions,
    }


GPT2 = DiskFormat(
    name="gpt2",
    model_class="GPT2LMHeadModel",
    prefix="transformer.",
    head="lm_head.weight",
    renames=RENAMES,
    reshapes=RESHAPES,
    harmless=("transformer.h.{layer}.attn.bias", "transformer.h.{layer}.attn.masked_bias"),
    config_from_disk=config_from_disk,
    config_to_disk=config_to_disk,
)
