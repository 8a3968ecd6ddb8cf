"""Matched random controls: as many other positions as a source has, drawn for each prompt."""

import zlib
from collections.abc import Sequence

import numpy as np


def random_others(
    name: str, own: Sequence[int], targets: Sequence[int], ids: Sequence[int], seed: int
) -> list[int]:
    """As many positions as `own`, ascending, that some target can read and that are neither own nor a target's.

    name: of the control. Drawn by seed, name and the prompt's token ids, whatever else is asked
    Gives none if the prompt has too few.
    """
    others = sorted(set(range(max(targets) + 1)) - {*own, *targets})
    if len(others) < len(own):
        return []
    key = zlib.crc32(f"{name}/{[*ids]}".encode())
    drawn = np.random.default_rng([seed, key]).choice(others, len(own), replace=False)
    return sorted(drawn.tolist())
