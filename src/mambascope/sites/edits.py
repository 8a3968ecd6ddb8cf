"""An edit: one change of one site, at layers x positions x units, made while the model runs.

Ops: `replace` (the value), `add` (the value), `scale` (by the value), `zero`, `apply` (a function of the old value).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mambascope.errors import SiteError

Op = Literal["replace", "add", "scale", "zero", "apply"]
Units = int | slice | Sequence[int] | tuple[int | slice | Sequence[int] | None, ...] | None
Positions = int | Sequence[int] | Sequence[Sequence[int]] | None


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
               in both directions: a value with ten rows makes ten rows of a single prompt.
               apply: a function from the old values (tokens, *axes) to the new ones, each token by itself
    units:     which entries of the site's axes, from the left: an index, a slice, a list, or a tuple with one of these
               (or None for all) per axis; None is all of them. The value's axes are then those of the chosen part
    """

    site: str
    op: str = "replace"
    layers: int | Sequence[int] | None = None
    positions: Positions = None
    rows: Sequence[int] | None = None
    value: Tensor | float | Callable[[Tensor], Tensor] | None = None
    units: Units = None

    def __post_init__(self) -> None:
        if self.op not in get_args(Op):
            raise SiteError(f"unknown op {self.op!r}; an edit can: {', '.join(get_args(Op))}")
        if self.op == "zero" and self.value is not None:
            raise SiteError("op 'zero' takes no value; leave it out")
        if self.op == "apply" and (not callable(self.value) or isinstance(self.value, Tensor)):
            raise SiteError("op 'apply' needs a function as value")
        if self.op in ("replace", "add", "scale") and not isinstance(
            self.value, int | float | Tensor
        ):
            kind = type(self.value).__name__
            raise SiteError(f"op {self.op!r} needs a tensor or a number as value, not {kind}")

    def row_positions(self, lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
        """(row, its positions counted from 0) of each row meant; SiteError if one is out of range."""
        rows = range(len(lengths)) if self.rows is None else self.rows
        for row in rows:
            if not 0 <= row < len(lengths):
                raise SiteError(f"row {row} is out of range: the run has {len(lengths)} prompts")
        return [
            (row, [_in_range(p, lengths[row], row) for p in wanted])
            for row, wanted in zip(
                rows, self._positions_by_row([lengths[row] for row in rows]), strict=True
            )
        ]

    def _positions_by_row(self, lengths: Sequence[int]) -> list[list[int]]:
        positions = self.positions
        if positions is None:
            return [list(range(length)) for length in lengths]
        if isinstance(positions, int):
            return [[positions]] * len(lengths)
        if any(isinstance(p, Sequence) for p in positions):
            if len(positions) != len(lengths):
                raise SiteError(
                    f"positions has {len(positions)} rows, but the edit concerns {len(lengths)}"
                )
            return [[p] if isinstance(p, int) else list(p) for p in positions]
        return [[int(p) for p in positions]] * len(lengths)  # pyright: ignore[reportArgumentType]

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


def _in_range(position: int, length: int, row: int) -> int:
    if not -length <= position < length:
        raise SiteError(
            f"position {position} is out of range: prompt {row} has positions 0 to {length - 1}"
        )
    return position % length


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
