"""What one forward pass gives back: logits, the sites that were asked for, and the carry."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.models.protocol import Carry
from mambascope.sites import Segments, Taken


@dataclass(frozen=True, eq=False)
class ModelCarry:
    """What a run leaves behind: each layer's carry after each prompt's last token, and the next positions."""

    layers: list[Carry]
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class Run:
    """One forward pass over B prompts.

    ids:     token ids per prompt
    logits:  (B, T, V), (B, V) or None, as asked; shorter prompts are filled up with NaN
    carry:   where to go on from, if asked
    """

    ids: list[list[int]]
    logits: Float[Tensor, "..."] | None
    carry: ModelCarry | None
    _segments: Segments = field(repr=False)
    _recorded: dict[tuple[str, int | None], Tensor] = field(repr=False)
    n_layers: int = field(repr=False, default=0)

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each prompt."""
        return [len(row) for row in self.ids]

    def __getitem__(self, key: str | tuple[str, int]) -> Float[Tensor, "B T ..."]:
        """`run["state", 3]`: the site at layer 3, (B, T, *axes); `run["embed"]` for one that exists once."""
        return self._segments.pad(self._packed(key), fill=torch.nan)

    def taken(self, key: str | tuple[str, int], rows: np.ndarray, positions: np.ndarray) -> Taken:
        """The site's values at these positions of these prompts, (rows, positions) each, as the value of an edit."""
        first = self._segments.offsets[rows] - self._segments.starts[rows]
        return Taken(self._packed(key), first + positions)

    def _packed(self, key: str | tuple[str, int]) -> Tensor:
        site, layer = (key, None) if isinstance(key, str) else key
        if layer is not None and layer < 0:
            layer += self.n_layers
        if (site, layer) not in self._recorded:
            if layer is None and any(site == name for name, _ in self._recorded):
                raise SiteError(
                    f"site {site!r} exists once per layer, so give one too, such as run[{site!r}, 3]; this run has: "
                    f"{self._choices()}"
                )
            raise SiteError(
                f"{site!r}{'' if layer is None else f' at layer {layer}'} was not recorded by this run; "
                f"it has: {self._choices()}"
            )
        return self._recorded[site, layer]

    def _choices(self) -> str:
        layers: dict[str, list[int]] = {}
        for site, layer in self._recorded:
            layers.setdefault(site, []).extend([] if layer is None else [layer])
        named = [
            f"{site} at layers {sorted(found)}" if found else site for site, found in layers.items()
        ]
        return "; ".join(named) or "nothing (pass record=[...])"
