"""Rotary position embedding (Su et al. 2021): q and k turned by an angle that grows with the position.

Entry i of the first half of `rotary_dim` is paired with entry i of the second half, as in GPT-NeoX and Llama; entries
past `rotary_dim` stay as they are. Reference: apply_rotary_pos_emb and ROPE_INIT_FUNCTIONS in transformers. Differs:
the angles are computed in float64 and rounded once, so far positions lose nothing.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.models.config import Llama3Rope, TransformerConfig

Turn = tuple[Float[Tensor, "tokens half"], Float[Tensor, "tokens half"]]


def turn_of(config: TransformerConfig, positions: np.ndarray, like: Tensor) -> Turn:
    """Cosine and sine of each position's angles, (tokens, rotary_dim / 2), in the dtype and on the device of `like`."""
    length = 1 << max(6, int(positions.max()).bit_length())
    cos, sin = _table(_frequencies(config), length, like.dtype, like.device)
    index = torch.from_numpy(positions).to(like.device)
    return cos.index_select(0, index), sin.index_select(0, index)


def rotate(x: Float[Tensor, "tokens heads P"], turn: Turn) -> Float[Tensor, "tokens heads P"]:
    """Every head's pairs of entries turned by the token's angles."""
    cos, sin = (part[:, None, :] for part in turn)
    half = cos.shape[-1]
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


@lru_cache(maxsize=32)
def _table(
    frequencies: tuple[float, ...], length: int, dtype: torch.dtype, device: torch.device
) -> Turn:
    """The turns of positions 0 to length - 1."""
    angles = np.arange(length)[:, None] * np.array(frequencies)
    with torch.inference_mode(False):  # they may serve a run with gradients later
        cos, sin = (torch.from_numpy(f(angles)).to(device, dtype) for f in (np.cos, np.sin))
    return cos, sin


def _frequencies(config: TransformerConfig) -> tuple[float, ...]:
    """Radians per position of each pair."""
    exponents = np.arange(0, config.rotary_dim, 2) / config.rotary_dim
    frequencies = config.rope_theta**-exponents
    if config.rope_scaling is not None:
        frequencies = _llama3(frequencies, config.rope_scaling)
    return tuple(frequencies.tolist())


def _llama3(frequencies: np.ndarray, scaling: Llama3Rope) -> np.ndarray:
    """Llama 3.1's stretching: slow frequencies divided by the factor, fast ones kept, a linear blend between them."""
    s = scaling
    turns = s.original_max_positions * frequencies / (2 * math.pi)
    kept = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
    kept = np.clip(kept, 0.0, 1.0)
    return frequencies * (kept + (1 - kept) / s.factor)
