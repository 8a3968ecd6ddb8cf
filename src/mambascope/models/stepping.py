"""Decoding's short way through a Mamba layer: one token of each row at which nothing is looked at."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from mambascope.models.kernels import can_step
from mambascope.models.protocol import Carry, MambaCarry
from mambascope.sites import LayerTap, Segments


def memory_to_step(
    x: Float[Tensor, "tokens D"], segments: Segments, carry: MambaCarry | None, tap: LayerTap
) -> MambaCarry | None:
    """What the tokens' rows remember, to be written over by what they remember next; None where the short way is closed.

    It is open for one token per segment, each going on from a carry and keeping it, with an idle tap, where the kernels can.
    """
    if carry is None or not (tap.idle and segments.steps):
        return None
    return carry.taken(segments) if can_step(x, carry.conv, carry.state) else None


def given_away(carry: Carry) -> Carry:
    """The carry for a run that may write into it."""
    return replace(carry, overwrite=True) if isinstance(carry, MambaCarry) else carry
