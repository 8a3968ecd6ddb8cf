"""What each architecture's mixer gives to its full map (mixer_map.py), for one layer of one prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mambascope.methods.attention.mixer_map import Convolved, MixerMap
from mambascope.methods.attention.readings import Reading
from mambascope.methods.attention.scans import KINDS, Maps
from mambascope.models.language_model import LanguageModel
from mambascope.models.mamba2 import GatedNorm

MAMBA_SITES = ("norm", "conv_in", "gate", "dt", "B", "C", "scan_out", "mixer_out")


def mixer_map(model: LanguageModel, layer: int, reading: Reading) -> MixerMap:
    """The full map of a layer; `reading` holds `sites_of` the model."""
    maps = KINDS[model.config.architecture].maps(model, layer, reading, True)
    return FULL[model.config.architecture].build(model.blocks[layer], maps, reading)


def mixer_sites(model: LanguageModel) -> tuple[str, ...]:
    """The sites that `mixer_map` needs."""
    return FULL[model.config.architecture].sites


def _mamba1(block: Any, maps: Maps, reading: Reading) -> MixerMap:
    mixer, inner = block.mixer, block.mixer.config.d_inner
    gain = F.silu(reading["gate"])
    around = _convolved(mixer, inner, reading, mixer.D, gain)
    into = mixer.in_proj.weight[:inner]
    return _assembled(maps, torch.arange(inner), around, into, mixer.out_proj.weight, reading)


def _mamba2(block: Any, maps: Maps, reading: Reading) -> MixerMap:
    mixer, c = block.mixer, block.mixer.config
    gain = _gated_norm_gain(mixer.norm, reading["scan_out"].flatten(1), reading["gate"])
    skip = mixer.D.repeat_interleave(c.head_dim)
    around = _convolved(mixer, c.d_inner, reading, skip, gain)
    into = mixer.in_proj.weight[c.d_inner : 2 * c.d_inner]
    heads = torch.arange(c.d_inner) // c.head_dim
    return _assembled(maps, heads, around, into, mixer.out_proj.weight, reading)


def _transformer(block: Any, maps: Maps, reading: Reading) -> MixerMap:
    attention, c = block.attention, block.attention.config
    values = attention.v_proj.weight.unflatten(0, (c.n_kv_heads, c.head_dim))
    into = values.repeat_interleave(c.n_heads // c.n_kv_heads, 0).flatten(0, 1)
    heads = torch.arange(len(into)) // c.head_dim
    return _assembled(maps, heads, None, into, attention.out_proj.weight, reading)


def _convolved(
    mixer: Any, inner: int, reading: Reading, skip: Tensor, gain: Float[Tensor, "T E"]
) -> Convolved:
    """The scan's input is the first `inner` channels of the convolution."""
    x = reading["conv_in"][:, :inner]
    taps = mixer.conv_weight[:inner].to(x.dtype)
    before = F.pad(x, (0, 0, taps.shape[1] - 1, 0)).unfold(0, taps.shape[1], 1)
    into_silu = torch.einsum("tek,ek->te", before, taps)
    if mixer.conv_bias is not None:
        into_silu = into_silu + mixer.conv_bias[:inner]
    return Convolved(taps, torch.sigmoid(into_silu), skip.to(x.dtype), gain)


def _gated_norm_gain(
    norm: GatedNorm | None, y: Float[Tensor, "T E"], z: Float[Tensor, "T E"]
) -> Float[Tensor, "T E"]:
    """What Mamba-2's gated norm multiplies the scan's output by, its scale held ."""
    gain = F.silu(z)
    if norm is None:
        return gain
    normed = (y if norm.before_gate else y * gain).unflatten(1, (norm.groups, -1))
    scale = torch.rsqrt(normed.square().mean(-1, keepdim=True) + norm.eps)
    return gain * norm.weight * scale.expand_as(normed).flatten(1)


def _assembled(
    maps: Maps,
    unit_of: Tensor,
    around: Convolved | None,
    into: Tensor,
    out: Tensor,
    reading: Reading,
) -> MixerMap:
    norm, mixer_out = reading["norm"], reading["mixer_out"]
    into, out = into.to(norm.dtype), out.to(norm.dtype)
    unit_of = unit_of.to(norm.device)
    return MixerMap(maps, unit_of, around, into, out, norm @ into.mT, mixer_out)


@dataclass(frozen=True)
class Full:
    """The sites that an architecture's full map needs, and what makes it of a block."""

    sites: tuple[str, ...]
    build: Callable[[Any, Maps, Reading], MixerMap]


FULL = {
    "mamba1": Full(MAMBA_SITES, _mamba1),
    "mamba2": Full(MAMBA_SITES, _mamba2),
    "transformer": Full(("norm", "pattern", "mixer_out"), _transformer),
}
