"""Mamba-2 as transformers writes it (Mamba2ForCausalLM).

Its gated norm is always there, after the gate, and since transformers 5 its mean square is taken within each group
(`group_size` = d_inner / n_groups in MambaRMSNormGated), as in the original code. Transformers 4 took it over the whole
width, which for n_groups > 1 was a deviation from the weights' own training; hence `norm_scope="group"` on reading.
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
from mambascope.models.checkpoints.transformers_words import eos_ids, eos_token_id
from mambascope.models.config import Mamba2Config

RENAMES: dict[str, str | tuple[str, ...]] = {
    "backbone.embeddings.weight": "embedding",
    "backbone.layers.{layer}.norm.weight": "blocks.{layer}.norm.weight",
    "backbone.layers.{layer}.mixer.in_proj.weight": "blocks.{layer}.mixer.in_proj.weight",
    "backbone.layers.{layer}.mixer.in_proj.bias": "blocks.{layer}.mixer.in_proj.bias",
    "backbone.layers.{layer}.mixer.conv1d.weight": "blocks.{layer}.mixer.conv_weight",
    "backbone.layers.{layer}.mixer.conv1d.bias": "blocks.{layer}.mixer.conv_bias",
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

# What transformers assumes where config.json says nothing.
DEFAULTS: dict[str, Any] = {
    "num_heads": 128,
    "head_dim": 64,
    "vocab_size": 32768,
    "hidden_size": 4096,
    "state_size": 128,
    "num_hidden_layers": 64,
    "layer_norm_epsilon": 1e-5,
    "eos_token_id": 2,
    "expand": 2,
    "conv_kernel": 4,
    "n_groups": 8,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "residual_in_fp32": True,
    "time_step_limit": (0.0, math.inf),
    "tie_word_embeddings": False,
}


def config_from_disk(disk: DiskConfig) -> Mamba2Config:
    """Our configuration."""
    d = DEFAULTS | dict(disk)
    runs_only(d, hidden_act="silu")
    low, high = (_number(limit) for limit in d["time_step_limit"])
    return Mamba2Config(
        n_layers=d["num_hidden_layers"],
        d_model=d["hidden_size"],
        vocab_size=d["vocab_size"],
        norm_eps=d["layer_norm_epsilon"],
        tie_embeddings=d["tie_word_embeddings"],
        eos_ids=eos_ids(d),
        residual_in_fp32=d["residual_in_fp32"],
        d_inner=int(d["expand"] * d["hidden_size"]),
        n_heads=d["num_heads"],
        head_dim=d["head_dim"],
        d_state=d["state_size"],
        n_groups=d["n_groups"],
        d_conv=d["conv_kernel"],
        proj_bias=d["use_bias"],
        conv_bias=d["use_conv_bias"],
        gated_norm="after_gate",
        norm_scope="group",
        dt_limit=(low, high),
    )


def config_to_disk(config: Mamba2Config) -> dict[str, Any]:
    """config.json; ModelError for a gated norm that this layout does not have."""
    writes_only("mamba2", config, gated_norm="after_gate")
    if config.norm_scope == "width" and config.n_groups > 1:
        raise ModelError(
            f"the mamba2 layout takes the gated norm within each group, and this model has "
            f"{config.n_groups} groups but norm_scope = 'width'"
        )
    # Left out where it is the default, because strict JSON cannot write infinity.
    limit = {} if config.dt_limit == (0.0, math.inf) else {"time_step_limit": config.dt_limit}
    return {
        "model_type": "mamba2",
        "num_hidden_layers": config.n_layers,
        "hidden_size": config.d_model,
        "vocab_size": config.vocab_size,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "eos_token_id": eos_token_id(config),
        "residual_in_fp32": config.residual_in_fp32,
        "expand": whole_multiple("mamba2", config),
        "num_heads": config.n_heads,
        "head_dim": config.head_dim,
        "state_size": config.d_state,
        "n_groups": config.n_groups,
        "conv_kernel": config.d_conv,
        "use_bias": config.proj_bias,
        "use_conv_bias": config.conv_bias,
        "hidden_act": "silu",
        **limit,
    }


def _number(value: Any) -> float:
    """JSON has no infinity: transformers 5 writes {"__float__": "Infinity"}, older ones Infinity."""
    return float(value["__float__"] if isinstance(value, dict) else value)


MAMBA2 = DiskFormat(
    name="mamba2",
    model_class="Mamba2ForCausalLM",
    prefix="backbone.",
    head="lm_head.weight",
    renames=RENAMES,
    reshapes=RESHAPES,
    aliases={"backbone.embedding.weight": "backbone.embeddings.weight"},
    config_from_disk=config_from_disk,
    config_to_disk=config_to_disk,
)
