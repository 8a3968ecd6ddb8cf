"""Model configurations: frozen, one class per architecture, the fields in our own names (checkpoints/ translates)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

EosIds = tuple[int, ...]


class ModelConfig(BaseModel):
    """What every architecture has. Sizes in units of scalars; `vocab_size` counts the embedding's rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Any  # each subclass narrows it to its own name
    n_layers: int
    d_model: int
    vocab_size: int
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    eos_ids: EosIds = ()
    residual_in_fp32: bool = True


class Mamba1Config(ModelConfig):
    """Mamba (Gu & Dao 2023); with `bcdt_norm_eps` set, Falcon-Mamba (weightless RMS norm on B, C and dt)."""

    architecture: Literal["mamba1"] = "mamba1"
    d_inner: int
    d_state: int = 16
    d_conv: int = 4
    dt_rank: int
    proj_bias: bool = False
    conv_bias: bool = True
    bcdt_norm_eps: float | None = None


class Mamba2Config(ModelConfig):
    """Mamba-2 (Dao & Gu 2024).

    gated_norm: "after_gate" normalises y * silu(gate), "before_gate" normalises y, None has no such norm.
    norm_scope: "group" takes the mean square within each of the n_groups groups (the original code), "width" over all
    of d_inner (transformers before 5). They differ only where n_groups > 1.
    """

    architecture: Literal["mamba2"] = "mamba2"
    d_inner: int
    n_heads: int
    head_dim: int = 64
    d_state: int = 128
    n_groups: int = 1
    d_conv: int = 4
    proj_bias: bool = False
    conv_bias: bool = True
    gated_norm: Literal["after_gate", "before_gate"] | None = "after_gate"
    norm_scope: Literal["group", "width"] = "group"
    dt_limit: tuple[float, float] = (0.0, float("inf"))

    @model_validator(mode="after")
    def _sizes_agree(self) -> "Mamba2Config":
        if self.n_heads * self.head_dim != self.d_inner:
            raise ValueError(
                f"n_heads x head_dim = {self.n_heads * self.head_dim}, but d_inner is {self.d_inner}"
            )
        if self.n_heads % self.n_groups:
            raise ValueError(f"{self.n_heads} heads cannot be shared among {self.n_groups} groups")
        return self

    @property
    def conv_width(self) -> int:
        """Channels that pass the convolution: u, B and C side by side."""
        return self.d_inner + 2 * self.n_groups * self.d_state


class Llama3Rope(BaseModel):
    """Llama 3.1's rotary frequencies: those that turn fewer than `low_freq_factor` times in `original_max_positions`
    are divided by `factor`, those that turn more than `high_freq_factor` times stay, the others are blended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


class TransformerConfig(ModelConfig):
    """A decoder-only transformer: GPT-2, GPT-NeoX / Pythia or Llama, by its fields.

    positions: "learned" adds an embedding per position, "rotary" turns the first `rotary_dim` entries of q and k.
    n_kv_heads: heads of k and v; each serves n_heads / n_kv_heads heads of q.
    parallel: attention and MLP both read resid_pre (NeoX); otherwise the MLP reads resid_mid.
    gated_mlp: silu(gate(x)) * up(x) (Llama); otherwise act(up(x)).
    """

    architecture: Literal["transformer"] = "transformer"
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_mlp: int
    activation: Literal["gelu", "gelu_tanh", "silu", "relu"] = "gelu"
    norm: Literal["layer", "rms"] = "layer"
    positions: Literal["learned", "rotary"] = "learned"
    max_positions: int | None = None
    rotary_dim: int = 0
    rope_theta: float = 10000.0
    rope_scaling: Llama3Rope | None = None
    parallel: bool = False
    gated_mlp: bool = False
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    residual_in_fp32: bool = False

    @model_validator(mode="after")
    def _heads_agree(self) -> "TransformerConfig":
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} heads cannot share {self.n_kv_heads} key/value heads")
        if self.positions == "rotary" and not 0 < self.rotary_dim <= self.head_dim:
            raise ValueError(f"rotary_dim must be 1 to {self.head_dim}, not {self.rotary_dim}")
        if self.rotary_dim % 2:
            raise ValueError(f"rotary_dim must be even, not {self.rotary_dim}")
        return self
