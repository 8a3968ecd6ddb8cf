"""Single Mamba-1 layers written by hand, in features: a latch, a shift, and a layer that does next to nothing.

Channels 0 to k-1 carry what is moved, the next k a competing answer that goes nowhere useful, then one channel for the
constant and one for the flag that opens the readout. State 0 holds; the others stay empty.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mambascope.models.mamba1 import Mamba1Mixer
from mambascope.models.planted.features import CLASSES, WIDTH, index

INNER = 2 * CLASSES + 2
CONSTANT, FLAG = INNER - 2, INNER - 1
HOLD = 1e-4  # |A|: the state forgets next to nothing over a prompt
STEP = 0.5
NOISE = 0.02
# What the output projection takes, so that a feature that was moved is about as large as one of a word.
LATCHED, SHIFTED = 0.04, 0.2


@torch.no_grad()
def quiet(mixer: Mamba1Mixer, random: torch.Generator) -> None:
    """Small random weights: noise on top of the mechanism."""
    for parameter in mixer.parameters():
        parameter.normal_(0, NOISE, generator=random)
    mixer.A_log.copy_(torch.arange(1, mixer.config.d_state + 1).log())
    mixer.dt_proj.bias.fill_(_inverse_softplus(STEP))


@torch.no_grad()
def latch(mixer: Mamba1Mixer, source: str, target: str, flag: str, order: Sequence[int]) -> None:
    """Write feature i of `source` into the state wherever it occurs, hold it, and read it as feature order[i] of `target`
    at the tokens that carry `flag`.
    """
    _clear(mixer)
    _read_source(mixer, source)
    mixer.conv_weight[:, -1] = 1.0
    mixer.in_proj.weight[INNER : 2 * INNER, index("one")] = 4.0
    rank, state = mixer.config.dt_rank, mixer.config.d_state
    mixer.x_proj.weight[rank, CONSTANT] = 0.5
    mixer.in_proj.weight[FLAG, index(flag)] = 1.0
    mixer.x_proj.weight[rank + state, FLAG] = 0.5
    _write_target(mixer, target, order, LATCHED)


@torch.no_grad()
def shift(
    mixer: Mamba1Mixer, source: str, target: str, flag: str, order: Sequence[int], lag: int
) -> None:
    """Copy `source` from `lag` tokens ago into `target` at the tokens that carry `flag`, by the convolution alone."""
    _clear(mixer)
    _read_source(mixer, source)
    mixer.conv_weight[:, -1 - lag] = 1.0
    mixer.D.fill_(1.0)
    mixer.in_proj.weight[INNER : 2 * INNER, index(flag)] = 1.0
    _write_target(mixer, target, order, SHIFTED)


def _clear(mixer: Mamba1Mixer) -> None:
    for parameter in mixer.parameters():
        parameter.zero_()
    mixer.A_log.fill_(math.log(HOLD))
    mixer.dt_proj.bias.fill_(_inverse_softplus(STEP))


def _read_source(mixer: Mamba1Mixer, source: str) -> None:
    for i in range(CLASSES):
        mixer.in_proj.weight[i, index(source, i)] = 1.0
        mixer.in_proj.weight[CLASSES + i, index("other", i)] = 1.0
    mixer.in_proj.weight[CONSTANT, index("one")] = 4.0


def _write_target(mixer: Mamba1Mixer, target: str, order: Sequence[int], size: float) -> None:
    for i in range(CLASSES):
        mixer.out_proj.weight[index(target, order[i]), i] = size
        mixer.out_proj.weight[index("aside", i), CLASSES + i] = size


def rotate(mixer: Mamba1Mixer, turn: Tensor) -> None:
    """Move the layer from features to the residual stream: turn (WIDTH, WIDTH) has the features' directions as columns."""
    assert turn.shape == (WIDTH, WIDTH)
    with torch.no_grad():
        mixer.in_proj.weight.copy_(mixer.in_proj.weight @ turn.T)
        mixer.out_proj.weight.copy_(turn @ mixer.out_proj.weight)


def _inverse_softplus(x: float) -> float:
    return math.log(math.expm1(x))
