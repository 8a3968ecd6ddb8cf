"""Mamba-1 and Mamba-2 in the layout of the original code (state-spaces/mamba, MambaLMHeadModel.save_pretrained).

config.json is its MambaConfig, `pytorch_model.bin` its state dict. The vocabulary is padded to a multiple of
`pad_vocab_size_multiple`. There is no tokenizer and no end-of-text token in it. Defaults: mixer_seq_simple.py,
mamba_simple.py and mamba2.py. Its gated norm works per group (`group_size = d_ssm // ngroups`).
"""

import math
from typing import Any

from mambascope.errors import ModelError
from mambascope.models.checkpoints.format import (
    CONV_TAPS,
    DiskConfig,
    DiskFormat,
    runs_only,
    whole_multiple,
    writes_only,
)
from mambascope.models.config import Mamba1Config, Mamba2Config

RENAMES: dict[str, str | tuple[str, ...]] = {
    "backbone.embedding.weight": "embedding",
    "backbone.layers.{layer}.norm.weight": "blocks.{layer}.norm.weight",
    "backbone.layers.{layer}.mixer.in_proj.weight": "blocks.{layer}.mixer.in_proj.weight",
    "backbone.layers.{layer}.mixer.in_proj.bias": "blocks.{layer}.mixer.in_proj.bias",
    "backbone.layers.{layer}.mixer.conv1d.weight": "blocks.{layer}.mixer.conv_weight",
    "backbone.layers.{layer}.mixer.conv1d.bias": "blocks.{layer}.mixer.conv_bias",
    "backbone.layers.{layer}.mixer.x_proj.weight": "blocks.{layer}.mixer.x_proj.weight",
    "backbone.layers.{layer}.mixer.dt_proj.weight": "blocks.{layer}.mixer.dt_proj.weight",
    "backbone.layers.{layer}.mixer.dt_proj.bias": "blocks.{layer}.mixer.dt_proj.bias",
    "backbone.layers.{layer}.mixer.dt_bias": "blocks.{layer}.mixer.dt_bias",
    "backbone.layers.{layer}.mixer.A_log": "blocks.{layer}.mixer.A_log",
    "backbone.layers.{layer}.mixer.D": "blocks.{layer}.mixer.D",
    "backbone.layers.{layer}.mixer.norm.weight": "blocks.{layer}.mixer.norm.weight",
    "backbone.layers.{layer}.mixer.out_proj.weight": "blocks.{layer}.mixer.out_proj.weight",
    "backbone.layers.{layer}.mixer.out_proj.bias": "blocks.{layer}.mixer.out_proj.bias",
    "backbone.norm_f.weight": "final_norm.weight",
    "lm_head.weight": "unembedding",
}

RESHAPES = {"backbone.layers.{layer}.mixer.conv1d.weight": CONV_TAPS}

DEFAULTS: dict[str, Any] = {
    "d_model": 2560,
    "d_intermediate": 0,
    "n_layer": 64,
    "vocab_size": 50277,
    "ssm_cfg": {},
    "attn_layer_idx": [],
    "rms_norm": True,
    "residual_in_fp32": True,
    "pad_vocab_size_multiple": 8,
    "tie_embeddings": True,
}
# What a layer is made of. Other keys of `ssm_cfg` only choose initial weights or kernels.
MAMBA1_LAYER: dict[str, Any] = {
    "d_state": 16,
    "d_conv": 4,
    "expand": 2,
    "dt_rank": "auto",
    "conv_bias": True,
    "bias": False,
}
MAMBA2_LAYER: dict[str, Any] = {
    "d_state": 128,
    "d_conv": 4,
    "expand": 2,
    "headdim": 64,
    "d_ssm": None,
    "ngroups": 1,
    "D_has_hdim": False,
    "rmsnorm": True,
    "norm_before_gate": False,
    "dt_limit": (0.0, math.inf),
    "bias": False,
    "conv_bias": True,
}
NORM_EPS = 1e-5


def layer_kind(disk: DiskConfig) -> str:
    """The kind of layer that `ssm_cfg` asks for: "Mamba1" or "Mamba2"."""
    return (disk.get("ssm_cfg") or {}).get("layer", "Mamba1")


def mamba1_config_from_disk(disk: DiskConfig) -> Mamba1Config:
    """Our configuration; ModelError for hybrids and layers that we have not."""
    d = DEFAULTS | dict(disk)
    layer = MAMBA1_LAYER | (d["ssm_cfg"] or {})
    rank = layer["dt_rank"]
    return Mamba1Config(
        **_shared_from_disk(d, layer),
        d_inner=int(layer["expand"] * d["d_model"]),
        dt_rank=math.ceil(d["d_model"] / 16) if rank == "auto" else rank,
    )


def mamba2_config_from_disk(disk: DiskConfig) -> Mamba2Config:
    """Our configuration; ModelError for hybrids and layers that we have not."""
    d = DEFAULTS | dict(disk)
    layer = MAMBA2_LAYER | (d["ssm_cfg"] or {})
    runs_only(layer, d_ssm=None, D_has_hdim=False)
    inner = int(layer["expand"] * d["d_model"])
    norm = "before_gate" if layer["norm_before_gate"] else "after_gate"
    return Mamba2Config(
        **_shared_from_disk(d, layer),
        d_inner=inner,
        n_heads=inner // layer["headdim"],
        head_dim=layer["headdim"],
        n_groups=layer["ngroups"],
        gated_norm=norm if layer["rmsnorm"] else None,
        norm_scope="group",
        dt_limit=tuple(layer["dt_limit"]),
    )


def mamba1_config_to_disk(config: Mamba1Config) -> dict[str, Any]:
    """config.json; ModelError for what the original code does not have."""
    writes_only("state-spaces", config, bcdt_norm_eps=None)
    layer = {"layer": "Mamba1", "dt_rank": config.dt_rank}
    return _shared_to_disk(config, layer)


def mamba2_config_to_disk(config: Mamba2Config) -> dict[str, Any]:
    """config.json; ModelError for what the original code does not have."""
    if config.n_groups > 1:
        writes_only("state-spaces", config, norm_scope="group")
    layer = {
        "layer": "Mamba2",
        "headdim": config.head_dim,
        "ngroups": config.n_groups,
        "rmsnorm": config.gated_norm is not None,
        "norm_before_gate": config.gated_norm == "before_gate",
        "dt_limit": config.dt_limit,
    }
    return _shared_to_disk(config, layer)


def _shared_from_disk(d: DiskConfig, layer: DiskConfig) -> dict[str, Any]:
    if d["attn_layer_idx"]:
        raise ModelError(
            f"config.json says that layers {list(d['attn_layer_idx'])} are attention layers, and hybrids of "
            "Mamba and attention cannot be run"
        )
    runs_only(d, d_intermediate=0, rms_norm=True)
    multiple = d["pad_vocab_size_multiple"]
    return {
        "n_layers": d["n_layer"],
        "d_model": d["d_model"],
        "vocab_size": math.ceil(d["vocab_size"] / multiple) * multiple,
        "norm_eps": NORM_EPS,
        "tie_embeddings": d["tie_embeddings"],
        "residual_in_fp32": d["residual_in_fp32"],
        "d_state": layer["d_state"],
        "d_conv": layer["d_conv"],
        "proj_bias": layer["bias"],
        "conv_bias": layer["conv_bias"],
    }


def _shared_to_disk(config: Mamba1Config | Mamba2Config, layer: DiskConfig) -> dict[str, Any]:
    writes_only("state-spaces", config, norm_eps=NORM_EPS, eos_ids=())
    return {
        "d_model": config.d_model,
        "d_intermediate": 0,
        "n_layer": config.n_layers,
        "vocab_size": config.vocab_size,
        "ssm_cfg": {
            **layer,
            "d_state": config.d_state,
            "d_conv": config.d_conv,
            "expand": whole_multiple("state-spaces", config),
            "bias": config.proj_bias,
            "conv_bias": config.conv_bias,
        },
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": config.residual_in_fp32,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 1,
        "tie_embeddings": config.tie_embeddings,
    }


_TENSORS: dict[str, Any] = {
    "model_class": "MambaLMHeadModel",
    "prefix": "backbone.",
    "head": "lm_head.weight",
    "renames": RENAMES,
    "reshapes": RESHAPES,
}
STATE_SPACES = {
    "Mamba1": DiskFormat(
        name="state-spaces Mamba1",
        config_from_disk=mamba1_config_from_disk,
        config_to_disk=mamba1_config_to_disk,
        **_TENSORS,
    ),
    "Mamba2": DiskFormat(
        name="state-spaces Mamba2",
        config_from_disk=mamba2_config_from_disk,
        config_to_disk=mamba2_config_to_disk,
        **_TENSORS,
    ),
}
