"""An edit: one change of one site, at layers x positions x units, made while the model runs.

Ops: `replace` (the value), `add` (the value), `scale` (by the value), `zero`, `apply` (a function of the old value).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.positions import Index, Places, Positions, places_of

Op = Literal["replace", "add", "scale", "zero", "apply"]
Units = int | slice | Sequence[int] | tuple[int | slice | Sequence[int] | None, ...] | None


@dataclass(frozen=True, eq=False)
class Taken:
    """Values that a run recorded, looked up where the edit is made: thousands of edits then hold no copies of them.

    source: packed, as recorded
    index:  the token of `source` that each position of each row gets
    """

    source: Float[Tensor, "tokens ..."]
    index: Int64[np.ndarray, "rows positions"]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, positions, *axes)."""
        return (*self.index.shape, *self.source.shape[1:])

    def values(self) -> Float[Tensor, "rows positions ..."]:
        """All of them, looked up."""
        return self.source[torch.from_numpy(self.index).to(self.source.device)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One change of one site.

    site:      a name from `model.sites`
    op:        "replace", "add", "scale", "zero" or "apply"
    layers:    a layer or several; None is every layer (and the only choice for `embed`, `final_norm`, `logits`)
    positions: a position or several, negative ones counted from the prompt's end; a list of lists gives each row its
               own; None is every position
    rows:      the prompts of the batch that it concerns; None is all of them. `positions` and `value` then have one
               entry for each of these
    value:     replace, add, scale: a number or a tensor that broadcasts against (rows, positions, *axes of the site),
               in both directions: a value with ten rows makes ten rows of a single prompt. Or what a run recorded (`Taken`).
               apply: a function from the old values (tokens, *axes) to the new ones, each token by itself
    units:     which entries of the site's axes, from the left: an index, a slice, a list, or a tuple with one of these
               (or None for all) per axis; None is all of them. The value's axes are then those of the chosen part
    """

    site: str
    op: str = "replace"
    layers: int | Sequence[int] | None = None
    positions: Positions = None
    rows: Sequence[int] | Index | None = None
    value: Tensor | Taken | float | Callable[[Tensor], Tensor] | None = None
    units: Units = None

    def __post_init__(self) -> None:
        if self.op not in get_args(Op):
            raise SiteError(f"unknown op {self.op!r}; an edit can: {', '.join(get_args(Op))}")
        if self.op == "zero" and self.value is not None:
            raise SiteError("op 'zero' takes no value; leave it out")
        if self.op == "apply" and (not callable(self.value) or isinstance(self.value, Tensor)):
            raise SiteError("op 'apply' needs a function as value")
        if self.op in ("replace", "add", "scale") and not isinstance(
            self.value, int | float | Tensor | Taken
        ):
            kind = type(self.value).__name__
            raise SiteError(f"op {self.op!r} needs a tensor or a number as value, not {kind}")

    def places(self, lengths: Index) -> Places:
        """Where it is made in prompts of these lengths; SiteError if a row or a position is out of range."""
        return places_of(self.positions, self.rows, lengths)

    def unit_index(self, shape: Sequence[int]) -> tuple[Tensor, ...] | None:
        """Indices that pick the units out of (tokens, *shape), one per axis and outer to each other; None for all."""
        if self.units is None:
            return None
        per_axis = list(self.units) if isinstance(self.units, tuple) else [self.units]
        if len(per_axis) > len(shape):
            raise SiteError(
                f"units names {len(per_axis)} axes, but site {self.site!r} has {len(shape)}"
            )
        per_axis += [None] * (len(shape) - len(per_axis))
        chosen = [_axis_index(u, size, self.site) for u, size in zip(per_axis, shape, strict=True)]
        return tuple(
            index.view(-1, *[1] * (len(shape) - axis - 1)) for axis, index in enumerate(chosen)
        )


def _axis_index(units: int | slice | Sequence[int] | None, size: int, site: str) -> Tensor:
    if units is None:
        return torch.arange(size)
    if isinstance(units, slice):
        wanted = torch.arange(size)[units]
    else:
        wanted = torch.tensor([units] if isinstance(units, int) else list(units))
    if len(wanted) == 0:
        raise SiteError(f"units selects nothing of site {site!r}")
    if wanted.max() >= size or wanted.min() < -size:
        raise SiteError(
            f"unit {wanted.max().item()} is out of range: the axis of site {site!r} has {size}"
        )
    return wanted % size
