"""Mamba-1 and Falcon-Mamba as transformers writes them (MambaForCausalLM, FalconMambaForCausalLM).

The two have the same tensors; Falcon-Mamba's norms of B, C and dt have no weights, only `mixer_rms_eps`.
"""

import math
from typing import Any

from mambascope.errors import ModelError
from mambascope.models.checkpoints.format import (
    CONV_TAPS,
    DiskConfig,
    DiskFormat,
    runs_only,
    writes_only,
)
from mambascope.models.checkpoints.transformers_words import eos_ids, eos_token_id
from mambascope.models.config import Mamba1Config

RENAMES: dict[str, str | tuple[str, ...]] = {
    "backbone.embeddings.weight": "embedding",
    "backbone.layers.{layer}.norm.weight": "blocks.{layer}.norm.weight",
    "backbone.layers.{layer}.mixer.in_proj.weight": "blocks.{layer}.mixer.in_proj.weight",
    "backbone.layers.{layer}.mixer.in_proj.bias": "blocks.{layer}.mixer.in_proj.bias",
    "backbone.layers.{layer}.mixer.conv1d.weight": "blocks.{layer}.mixer.conv_weight",
    "backbone.layers.{layer}.mixer.conv1d.bias": "blocks.{layer}.mixer.conv_bias",
    "backbone.layers.{layer}.mixer.x_proj.weight": "blocks.{layer}.mixer.x_proj.weight",
    "backbone.layers.{layer}.mixer.dt_proj.weight": "blocks.{layer}.mixer.dt_proj.weight",
    "backbone.layers.{layer}.mixer.dt_proj.bias": "blocks.{layer}.mixer.dt_proj.bias",
    "backbone.layers.{layer}.mixer.A_log": "blocks.{layer}.mixer.A_log",
    "backbone.layers.{layer}.mixer.D": "blocks.{layer}.mixer.D",
    "backbone.layers.{layer}.mixer.out_proj.weight": "blocks.{layer}.mixer.out_proj.weight",
    "backbone.layers.{layer}.mixer.out_proj.bias": "blocks.{layer}.mixer.out_proj.bias",
    "backbone.norm_f.weight": "final_norm.weight",
    "lm_head.weight": "unembedding",
}

RESHAPES = {"backbone.layers.{layer}.mixer.conv1d.weight": CONV_TAPS}

# What transformers assumes where config.json says nothing.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "layer_norm_epsilon": 1e-5,
    "eos_token_id": 0,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "residual_in_fp32": True,
    "time_step_rank": "auto",
    "tie_word_embeddings": True,
}
FALCON_DEFAULTS: dict[str, Any] = DEFAULTS | {"mixer_rms_eps": 1e-6}


def mamba_config_from_disk(disk: DiskConfig) -> Mamba1Config:
    """Our configuration. `expand` counts only where `intermediate_size` is not given (Falcon-Mamba 7B has both)."""
    d = DEFAULTS | dict(disk)
    runs_only(d, hidden_act="silu")
    rank = d["time_step_rank"]
    return Mamba1Config(
        n_layers=d["num_hidden_layers"],
        d_model=d["hidden_size"],
        vocab_size=d["vocab_size"],
        norm_eps=d["layer_norm_epsilon"],
        tie_embeddings=d["tie_word_embeddings"],
        eos_ids=eos_ids(d),
        residual_in_fp32=d["residual_in_fp32"],
        d_inner=d.get("intermediate_size") or int(d["expand"] * d["hidden_size"]),
        d_state=d["state_size"],
        d_conv=d["conv_kernel"],
        dt_rank=math.ceil(d["hidden_size"] / 16) if rank == "auto" else rank,
        proj_bias=d["use_bias"],
        conv_bias=d["use_conv_bias"],
    )


def falcon_config_from_disk(disk: DiskConfig) -> Mamba1Config:
    """As for Mamba-1, with the norm of B, C and dt."""
    eps = (FALCON_DEFAULTS | dict(disk))["mixer_rms_eps"]
    return mamba_config_from_disk(disk).model_copy(update={"bcdt_norm_eps": float(eps)})


def mamba_config_to_disk(config: Mamba1Config) -> dict[str, Any]:
    """config.json of a Mamba-1; ModelError for one with norms of B, C and dt."""
    writes_only("mamba", config, bcdt_norm_eps=None)
    return {"model_type": "mamba", **_shared_to_disk(config)}


def falcon_config_to_disk(config: Mamba1Config) -> dict[str, Any]:
    """config.json of a Falcon-Mamba; needs `bcdt_norm_eps`."""
    if config.bcdt_norm_eps is None:
        raise ModelError("the falcon_mamba layout needs bcdt_norm_eps")
    shared = _shared_to_disk(config)
    return {"model_type": "falcon_mamba", **shared, "mixer_rms_eps": config.bcdt_norm_eps}


def _shared_to_disk(config: Mamba1Config) -> dict[str, Any]:
    return {
        "num_hidden_layers": config.n_layers,
        "hidden_size": config.d_model,
        "vocab_size": config.vocab_size,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "eos_token_id": eos_token_id(config),
        "residual_in_fp32": config.residual_in_fp32,
        "expand": max(1, config.d_inner // config.d_model),
        "intermediate_size": config.d_inner,
        "state_size": config.d_state,
        "conv_kernel": config.d_conv,
        "time_step_rank": config.dt_rank,
        "use_bias": config.proj_bias,
        "use_conv_bias": config.conv_bias,
        "hidden_act": "silu",
    }


_TENSORS: dict[str, Any] = {
    "prefix": "backbone.",
    "head": "lm_head.weight",
    "renames": RENAMES,
    "reshapes": RESHAPES,
    "aliases": {"backbone.embedding.weight": "backbone.embeddings.weight"},
}
MAMBA = DiskFormat(
    name="mamba",
    model_class="MambaForCausalLM",
    config_from_disk=mamba_config_from_disk,
    config_to_disk=mamba_config_to_disk,
    **_TENSORS,
)
FALCON_MAMBA = DiskFormat(
    name="falcon_mamba",
    model_class="FalconMambaForCausalLM",
    config_from_disk=falcon_config_from_disk,
    config_to_disk=falcon_config_to_disk,
    **_TENSORS,
)
