"""What a target's mixers take in and give out, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mambascope.models.language_model import LanguageModel
from mambascope.models.recurrence import convolved
from mambascope.models.run import Run

SITES = ("norm", "gate", "conv_in", "mixer_out")


@dataclass(frozen=True, eq=False)
class Streams:
    """Each row's target in every layer.

    windows: what the convolution sees at the target, oldest first; 0 before the prompt's beginning
    """

    norm: Float[Tensor, "layers rows D"]
    gate: Float[Tensor, "layers rows E"]
    windows: Float[Tensor, "layers rows K channels"]
    mixer_out: Float[Tensor, "layers rows D"]

    def only(self, rows: np.ndarray) -> "Streams":
        """Those of some rows."""
        index = torch.from_numpy(rows).to(self.norm.device)
        parts = (self.norm, self.gate, self.windows, self.mixer_out)
        return Streams(*(part[:, index] for part in parts))


def read_streams(model: LanguageModel, run: Run, targets: Sequence[int]) -> Streams:
    """The streams of a run that recorded SITES."""
    places = np.array(targets)[:, None]
    window = places + np.arange(1 - _mixer(model, 0).config.d_conv, 1)
    windows = at_places(run, "conv_in", np.maximum(window, 0))
    windows[:, torch.from_numpy(window < 0).to(windows.device)] = 0.0
    norm, gate, mixer_out = (
        at_places(run, name, places)[:, :, 0] for name in ("norm", "gate", "mixer_out")
    )
    return Streams(norm, gate, windows, mixer_out)


def at_places(
    run: Run, site: str, places: np.ndarray
) -> Float[Tensor, "layers rows positions ..."]:
    """The site in every layer at these positions (rows, positions)."""
    rows = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    return torch.stack(
        [run.taken((site, layer), rows, places).values() for layer in range(run.n_layers)]
    )


def skip_changes(
    model: LanguageModel, own: Streams, free: Streams, on_source: Bool[np.ndarray, "rows K"]
) -> Float[Tensor, "2 layers rows ..."]:
    """By how much the skip D u changes at the target when its own stream becomes `free`: with the convolution's taps on the
    source as they are, and with those taps gone.

    on_source: whether each tap lies on the source
    """
    gone = torch.from_numpy(on_source).to(own.norm.device)[:, :, None]
    found = [
        [
            _skip(model, layer, windows(free.windows[layer]))
            - _skip(model, layer, windows(own.windows[layer]))
            for layer in range(len(own.norm))
        ]
        for windows in (lambda seen: seen, lambda seen: seen.masked_fill(gone, 0.0))
    ]
    return torch.stack([torch.stack(layers) for layers in found])


def _skip(
    model: LanguageModel, layer: int, windows: Float[Tensor, "rows K channels"]
) -> Float[Tensor, "rows ..."]:
    """D u: of Mamba-2's convolution the first channels are u."""
    mixer = _mixer(model, layer)
    axes = [size or 0 for size in model.sites["skip"].shape]
    inner = convolved(windows, mixer.conv_weight, mixer.conv_bias)
    u = inner[:, : mixer.config.d_inner].unflatten(1, axes)
    return mixer.D.view(-1, *[1] * (len(axes) - 1)) * u


def _mixer(model: LanguageModel, layer: int) -> Any:
    """Either Mamba's: they name convolution and skip alike."""
    return model.blocks[layer].mixer
