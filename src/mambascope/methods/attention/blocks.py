"""Walking over the pairs of target and source tokens in blocks, so that no unreduced map is ever held whole."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mambascope.methods.attention.scans import Maps

TARGETS = 128  # of a scan's map at a time, with all their sources
NUMBERS = 2**22  # of an unreduced block: more would leave the cache
PAIRS = 64  # targets, and sources, of a full map at a time, with all channels

Step = Callable[[], None]


def ranges(tokens: int, size: int) -> list[range]:
    """The tokens in runs of this size; the last may be shorter."""
    return [range(begin, min(begin + size, tokens)) for begin in range(0, tokens, size)]


def mean_abs(
    maps: Maps, units: Int64[Tensor, " units"], tokens: int, step: Step
) -> Float[Tensor, "targets sources"]:
    """The mean of |alpha| over these units."""
    found: Tensor | None = None
    for targets, chunk in _chunks(units, tokens, step):
        part = maps.block(chunk, targets, range(targets.stop)).abs_().sum(0)
        found = part.new_zeros(tokens, tokens) if found is None else found
        found[targets.start : targets.stop, : targets.stop] += part
    assert found is not None
    return found / len(units)


def every_unit(
    maps: Maps, units: Int64[Tensor, " units"], tokens: int, step: Step, into: np.ndarray
) -> None:
    """alpha of each of these units, written into (targets, sources, units), which holds zeros."""
    done = 0
    for targets, chunk in _chunks(units, tokens, step):
        done = 0 if done == len(units) else done
        block = maps.block(chunk, targets, range(targets.stop)).permute(1, 2, 0)
        place = slice(done, done + len(chunk))
        into[targets.start : targets.stop, : targets.stop, place] = block.cpu().numpy()
        done += len(chunk)


def of_pairs(
    measure: Callable[[range, range], Tensor], tokens: int, step: Step
) -> Float[Tensor, "targets sources"]:
    """What `measure` finds for every pair of a target and a source that is not behind it."""
    found: Tensor | None = None
    for targets in ranges(tokens, PAIRS):
        for sources in ranges(targets.stop, PAIRS):
            part = measure(targets, sources)
            found = part.new_zeros(tokens, tokens) if found is None else found
            found[targets.start : targets.stop, sources.start : sources.stop] = part
        step()
    assert found is not None
    return found


def _chunks(units: Tensor, tokens: int, step: Step) -> Iterator[tuple[range, Tensor]]:
    """Targets, and units, so few at a time that their block with all sources stays small."""
    for targets in ranges(tokens, TARGETS):
        at_once = max(1, NUMBERS // (len(targets) * targets.stop))
        for chunk in torch.split(units, at_once):
            yield targets, chunk
        step()
