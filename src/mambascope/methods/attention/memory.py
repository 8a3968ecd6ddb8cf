"""How long a state remembers: half-lives from the actual exp(dt A), and what the state at the end still holds of each token.

    half-life   ln 2 / (dt |A|), in tokens: of each token's own dt, or of the mean dt of the prompt, which decays the state over
                the prompt as the actual dt did
    survival    exp(A (c_T - c_s)) dt_s B_s u_s: what is left at the end of what token s wrote. These sum to the last state.

The norm of a survival is Frobenius, over channels and N. Gu & Dao 2023, equation 2; for transformers there is no such thing.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mambascope.interventions.origin import origin_of
from mambascope.interventions.prompt import token_texts
from mambascope.methods.attention.fitting import check_size
from mambascope.methods.attention.readings import Reading, one_prompt, read_layers
from mambascope.methods.attention.scans import KINDS, ChannelScan, HeadScan
from mambascope.models.decay import decay_rates, half_lives
from mambascope.models.language_model import LanguageModel
from mambascope.sites.site import layers_in_range

NUMBERS = 2**22  # of survivals at a time


@torch.no_grad()
def retention(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    layers: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """How much of the state at the prompt's end stems from each token.

    Returns dims (layer, position): `written`, the norm of what the token added to the state; `surviving`, the norm of what is
    left of it at the end; `share`, how much of the last state that is, signed, summing to 1 over the positions; `half_life`, in
    tokens, the median over channels and states at this token's dt; and `state_norm` (layer). Coord `token`.
    Raises ModelError for a transformer, SiteError for a layer that is not there.
    """
    numbers = layers_in_range(layers, model.config.n_layers, "the retention")
    for number in numbers:
        decay_rates(model, number)  # before anything is run: only a Mamba has them
    ids = one_prompt(model, prompt)
    found = [
        _retained(model, layer, reading)
        for layer, reading in read_layers(model, ids, numbers, ("u", "dt", "B", "C"))
    ]
    dims = {name: ("layer", "position")[: value.ndim + 1] for name, value in found[0].items()}
    values = {
        name: (dims[name], torch.stack([each[name] for each in found]).cpu().numpy())
        for name in found[0]
    }
    return xr.Dataset(values, _coords(model, ids, numbers), _attrs(model, "retention", prompt, ids))


@torch.no_grad()
def half_life_spectrum(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    layers: int | Sequence[int] | None = None,
    *,
    by_token: bool = False,
) -> xr.Dataset:
    """The half-life of every entry of the state, in tokens, from the dt of this prompt.

    Returns `half_life` with dims (layer, channel, state) for Mamba-1 and (layer, head) for Mamba-2: after how many tokens half
    is left, at the mean dt of the prompt; with `by_token` dims (layer, position, ...), at each token's dt, and coord `token`.
    Raises ModelError for a transformer, SiteError for a layer that is not there, ConfigError if it does not fit into memory.
    """
    numbers = layers_in_range(layers, model.config.n_layers, "the half-lives")
    rates = torch.stack([decay_rates(model, number) for number in numbers])
    ids = one_prompt(model, prompt)
    steps = torch.stack(
        [
            reading["dt"] if by_token else reading["dt"].double().mean(0, keepdim=True)
            for _, reading in read_layers(model, ids, numbers, ("dt",))
        ]
    )
    check_size((*steps.shape[:2], *rates.shape[1:]), rates.element_size())
    found = torch.stack([half_lives(*each) for each in zip(rates, steps, strict=True)])
    unit = KINDS[model.config.architecture].unit
    dims = ("layer", "position", unit, "state")[: found.ndim]
    coords = _coords(model, ids, numbers)
    coords[unit] = range(found.shape[2])
    result = xr.Dataset(
        {"half_life": (dims, found.cpu().numpy())},
        coords if by_token else {name: coords[name] for name in ("layer", unit)},
        _attrs(model, "half_lives", prompt, ids),
    )
    return result if by_token else result.squeeze("position")


def survivals(scan: ChannelScan | HeadScan, u: Float[Tensor, "T ..."]) -> Iterator[Tensor]:
    """What is left at the end of what each token wrote, (T, units, ...), of some units after the other."""
    size = u[:, :1].numel() * scan.B.shape[-1]
    for units in torch.arange(scan.count, device=u.device).split(max(1, NUMBERS // size)):
        yield scan.surviving(units, u)


def _retained(model: LanguageModel, layer: int, reading: Reading) -> dict[str, Tensor]:
    """By token: written, surviving, share, half_life; and state_norm."""
    scan: Any = KINDS[model.config.architecture].maps(model, layer, reading, True)
    u = reading["u"]
    surviving, agreeing, whole = u.new_zeros(3, len(u))
    for left in survivals(scan, u):
        left = left.flatten(1)
        state = left.sum(0)
        surviving += left.square().sum(1)
        agreeing += left @ state
        whole += state.square().sum()
    return {
        "written": _norm_of_writes(reading),
        "surviving": surviving.sqrt(),
        "share": agreeing / whole,
        "half_life": _median_half_life(scan.rates, reading["dt"]),
        "state_norm": whole[0].sqrt(),
    }


def _median_half_life(rates: Tensor, dt: Float[Tensor, "T channels"]) -> Float[Tensor, " T"]:
    """The median over all entries of the state, of few tokens at a time."""
    some = dt.split(max(1, NUMBERS // rates.numel()))
    return torch.cat([half_lives(rates, part).flatten(1).median(1).values for part in some])


def _norm_of_writes(reading: Reading) -> Float[Tensor, " T"]:
    """|dt u B^T|: over the channels and heads that share a B it is a product of norms."""
    dt, u, B = reading["dt"], reading["u"], reading["B"]
    if B.ndim == 2:
        return (dt * u).norm(dim=1) * B.norm(dim=1)
    scaled = (dt[:, :, None] * u).flatten(2).norm(dim=2)
    of_heads = B.norm(dim=2).repeat_interleave(dt.shape[1] // B.shape[1], 1)
    return (scaled * of_heads).norm(dim=1)


def _coords(model: LanguageModel, ids: list[int], layers: list[int]) -> dict[str, Any]:
    return {
        "layer": layers,
        "position": range(len(ids)),
        "token": ("position", token_texts(model, ids)),
    }


def _attrs(
    model: LanguageModel, method: str, prompt: str | Sequence[int] | Tensor, ids: list[int]
) -> dict[str, object]:
    return {
        "method": method,
        "prompt": prompt if isinstance(prompt, str) else json.dumps(ids),
        "tokens": len(ids),
        "architecture": model.config.architecture,
        **origin_of(model),
    }
