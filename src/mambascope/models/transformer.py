"""Decoder-only transformers: GPT-2 (Radford et al. 2019), GPT-NeoX (Black et al. 2022), Llama (Touvron et al. 2023).

Reference: GPT2Block, GPTNeoXLayer and LlamaDecoderLayer in transformers. Differences: works on packed tokens with a
carry, every intermediate is a site, q, k and v have a projection each, and there is no dropout. Learned positions are
added by LanguageModel.embed.

    q, k, v = q_proj(x), k_proj(x), v_proj(x)      x = norm(resid_pre); q (tokens, H, P); k, v (tokens, G, P)
    pattern = softmax(rot(q) rot(k)^T / sqrt(P))   pattern        (tokens, H, keys)
    heads   = pattern v                            heads          (tokens, H, P)
    mid     = resid + out_proj(heads)              attn_out = mixer_out, resid_mid    (tokens, D)
    up      = up_proj(mlp_norm(mid))               mlp_norm (tokens, D), mlp_pre      (tokens, M)
    resid   = mid + down_proj(act(up))             mlp_act (tokens, M), mlp_out, resid_post

Parallel blocks (NeoX) compute the MLP from resid_pre instead of mid. In a gated MLP (Llama) `mlp_pre` is the gate
before its activation, and `mlp_act` = act(gate_proj(x)) * up_proj(x): always what down_proj reads.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mambascope.models.attention import (
    attend,
    cut_pattern,
    kept_slots,
    remember,
    weigh_values,
)
from mambascope.models.config import TransformerConfig
from mambascope.models.kernels import linear
from mambascope.models.norms import LayerNorm, RMSNorm
from mambascope.models.protocol import Carry, KeyValueCarry
from mambascope.models.rotary import rotate, turn_of
from mambascope.sites import LayerTap, Segments, Site

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
}


def transformer_sites(config: TransformerConfig) -> list[Site]:
    """The sites of one layer beside those that every architecture has."""
    c = config
    width, mlp = (("D",), (c.d_model,)), (("M",), (c.d_mlp,))
    key_value = (("G", "P"), (c.n_kv_heads, c.head_dim))
    return [
        Site("q", ("H", "P"), (c.n_heads, c.head_dim)),
        Site("k", *key_value),
        Site("v", *key_value),
        Site("pattern", ("H", "keys"), (c.n_heads, None)),
        Site("heads", ("H", "P"), (c.n_heads, c.head_dim)),
        Site("attn_out", *width),
        Site("resid_mid", *width),
        Site("mlp_norm", *width),
        Site("mlp_pre", *mlp),
        Site("mlp_act", *mlp),
        Site("mlp_out", *width),
    ]


def transformer_norm(config: TransformerConfig) -> nn.Module:
    """The norm of this configuration's kind."""
    kind = RMSNorm if config.norm == "rms" else LayerNorm
    return kind(config.d_model, config.norm_eps)


class Attention(nn.Module):
    """Multi-head attention, with fewer key/value heads than query heads if asked (Ainslie et al. 2023)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = c = config
        queries, keys = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
        self.q_proj = nn.Linear(c.d_model, queries, bias=c.qkv_bias)
        self.k_proj = nn.Linear(c.d_model, keys, bias=c.qkv_bias)
        self.v_proj = nn.Linear(c.d_model, keys, bias=c.qkv_bias)
        self.out_proj = nn.Linear(queries, c.d_model, bias=c.out_bias)

    def forward(
        self,
        x: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: KeyValueCarry | None,
        tap: LayerTap,
    ) -> tuple[Float[Tensor, "some D"], KeyValueCarry | None]:
        """The attention's output before `attn_out`, and the carry after each kept token."""
        q = tap("q", self._heads(x, self.q_proj))
        k = tap("k", self._heads(x, self.k_proj))
        v = tap("v", self._heads(x, self.v_proj))
        if self.config.positions == "rotary":
            turn = turn_of(self.config, segments.positions, q)
            q, k = rotate(q, turn), rotate(k, turn)
        memory = remember(carry, k, v, segments)
        if tap.wants("pattern") or tap.views:
            pattern = tap("pattern", cut_pattern(q, memory, segments, tap))
            heads = weigh_values(pattern, memory, segments)
        else:
            heads = attend(q, memory, segments)
        heads = tap("heads", segments.needed(heads)).flatten(1)
        return _project(heads, self.out_proj), kept_slots(memory, segments)

    def _heads(
        self, x: Float[Tensor, "tokens D"], projection: nn.Linear
    ) -> Float[Tensor, "tokens heads P"]:
        return _project(x, projection).unflatten(-1, (-1, self.config.head_dim))


class MLP(nn.Module):
    """down_proj(act(up_proj(x))), or the gated form down_proj(act(gate_proj(x)) * up_proj(x)) (Shazeer 2020)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.gate_proj = nn.Linear(c.d_model, c.d_mlp, bias=c.mlp_bias) if c.gated_mlp else None
        self.up_proj = nn.Linear(c.d_model, c.d_mlp, bias=c.mlp_bias)
        self.down_proj = nn.Linear(c.d_mlp, c.d_model, bias=c.mlp_bias)
        self.activation = ACTIVATIONS[c.activation]

    def forward(self, x: Float[Tensor, "tokens D"], tap: LayerTap) -> Float[Tensor, "tokens D"]:
        """The MLP's output before `mlp_out`."""
        if self.gate_proj is None:
            active = self.activation(tap("mlp_pre", _project(x, self.up_proj)))
        else:
            gate = tap("mlp_pre", _project(x, self.gate_proj))
            active = self.activation(gate) * _project(x, self.up_proj)
        return _project(tap("mlp_act", active), self.down_proj)


class TransformerBlock(nn.Module):
    """Norm, attention, residual, norm, MLP, residual; or attention and MLP side by side."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.parallel = config.parallel
        self.norm = transformer_norm(config)
        self.attention = Attention(config)
        self.mlp_norm = transformer_norm(config)
        self.mlp = MLP(config)

    def forward(
        self,
        resid: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: Carry | None,
        tap: LayerTap,
    ) -> tuple[Float[Tensor, "some D"], Carry | None]:
        """See models/protocol.py."""
        assert carry is None or isinstance(carry, KeyValueCarry)
        resid = tap("resid_pre", resid)
        normed = tap("norm", self.norm(resid))
        out, carry = self.attention(normed, segments, carry, tap)
        out = tap("mixer_out", tap("attn_out", out))
        resid = segments.needed(resid)
        mid = tap("resid_mid", resid + out)
        normed = tap("mlp_norm", self.mlp_norm(resid if self.parallel else mid))
        out = tap("mlp_out", self.mlp(normed, tap))
        return tap("resid_post", mid + out), carry


def _project(x: Float[Tensor, "tokens I"], by: nn.Linear) -> Float[Tensor, "tokens O"]:
    return linear(x, by.weight, by.bias)
