"""The block contract: what an architecture must offer so that every method works on it.

A block turns packed tokens (see sites/segments.py) into packed tokens:

    forward(resid: (tokens, D), segments, carry, tap) -> (resid: (tokens, D), carry)

The **carry** before position t is what positions < t leave behind in one layer: the last K-1 convolution inputs and
h_{t-1} for a Mamba, the keys and values for a transformer. `segments.slots` says which entry of the carry each segment
starts from, `segments.keep` after which tokens the returned carry is taken. Carry out fed back as carry in gives the
same numbers as one longer segment. Each site goes through `tap`; `write` and `state` exist only when the tap wants them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mambascope.sites import LayerTap, Segments, Tap


@dataclass(frozen=True, eq=False)
class MambaCarry:
    """A Mamba layer's memory, one entry per slot: `conv` (oldest input first) and `state`.

    overwrite: nobody else reads it, so the next run may write into it
    """

    conv: Float[Tensor, "slots taps channels"]
    state: Float[Tensor, "slots ..."]
    overwrite: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one entry, by the site that it belongs to."""
        return {"conv_carry": tuple(self.conv.shape[1:]), "state": tuple(self.state.shape[1:])}

    def taken(self, segments: Segments) -> "MambaCarry":
        """The entries of the segments' slots, in memory that may be written into: its own where it may be, else a copy."""
        whole = segments.count == len(self.state) and segments.slots_in_order
        if whole and self.overwrite and self.conv.is_contiguous() and self.state.is_contiguous():
            return self
        index = torch.from_numpy(segments.slots).to(self.state.device)
        return MambaCarry(self.conv[index].contiguous(), self.state[index].contiguous())


@dataclass(frozen=True, eq=False)
class KeyValueCarry:
    """An attention layer's memory: slot i holds positions 0 to lengths[i]-1, at offsets[i] and on of the packed rows.

    Slots may share rows: the carries after several tokens of one prompt are prefixes of one another.
    """

    keys: Float[Tensor, "rows G P"]
    values: Float[Tensor, "rows G P"]
    offsets: np.ndarray
    lengths: np.ndarray

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one position, by the site that it belongs to."""
        return {"k": tuple(self.keys.shape[1:]), "v": tuple(self.values.shape[1:])}


Carry = MambaCarry | KeyValueCarry


@runtime_checkable
class Steps(Protocol):
    """Decoding's way through all layers of an architecture at once."""

    def __call__(
        self,
        blocks: nn.ModuleList,
        resid: Float[Tensor, "rows D"],
        segments: Segments,
        carry: Sequence[Carry],
        tap: Tap,
    ) -> tuple[Float[Tensor, "rows D"], list[Carry]] | None:
        """What `LanguageModel.backbone` gives; None where the layers must be walked through one by one."""
        ...


@runtime_checkable
class Block(Protocol):
    """One layer of any architecture."""

    def __call__(
        self,
        resid: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: Carry | None,
        tap: LayerTap,
    ) -> tuple[Float[Tensor, "some D"], Carry | None]:
        """The residual after this layer, and the carry after each token of `segments.keep` (None if there is none).

        One row per segment if `segments.ends_only`, which is asked with an idle tap alone; the carry is then whole, too.
        """
        ...
