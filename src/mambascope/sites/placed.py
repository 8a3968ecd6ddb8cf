"""An edit on its tokens: where in a run's packed tokens it is made, and what it makes of the values there."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.edits import Edit, Taken
from mambascope.sites.segments import Segments
from mambascope.sites.site import Site


@dataclass(frozen=True, eq=False)
class PlacedEdit:
    """An edit on its packed tokens, ascending; `row` and `nth` say which entry of the value each one gets.

    keys: of a pattern, the size of its last axis where all prompts run side by side, for which the edit was written; else None
    """

    edit: Edit
    tokens: np.ndarray
    row: np.ndarray
    nth: np.ndarray
    keys: int | None = None

    def values(self, chosen: np.ndarray, old: Tensor, axes: int) -> Tensor | float:
        """The value for the chosen entries of `tokens`, ready to combine with `old` (tokens, *axes)."""
        value = self.edit.value
        if isinstance(value, Taken):
            return self._looked_up(value, chosen, old)
        if not isinstance(value, Tensor):
            return float(value)  # pyright: ignore[reportArgumentType]
        value = value.to(old.device, old.dtype)
        if value.ndim <= axes:
            return value
        index_last = self.nth[chosen] if value.shape[-axes - 1] > 1 else np.zeros(len(chosen), int)
        if value.ndim == axes + 1:
            return value[torch.from_numpy(index_last)]
        index_row = self.row[chosen] if value.shape[0] > 1 else np.zeros(len(chosen), int)
        return value[torch.from_numpy(index_row), torch.from_numpy(index_last)]

    def _looked_up(self, value: Taken, chosen: np.ndarray, old: Tensor) -> Tensor:
        index = torch.from_numpy(value.index[self.row[chosen], self.nth[chosen]])
        taken = value.source[index.to(value.source.device)].to(old.device, old.dtype)
        # Of a pattern that was recorded in another run, which had a longest prompt of its own.
        missing = old.shape[-1] - taken.shape[-1]
        return F.pad(taken, (0, missing)) if missing else taken

    def changed(self, old: Tensor, chosen: np.ndarray) -> Tensor:
        """`old` (chosen tokens, *axes) after this edit.

        A pattern has as many keys as the longest prompt that runs beside it; those behind a prompt's own end are 0. So fewer
        keys are filled up to the edit's own number, and what is behind the end is dropped again.
        """
        missing = 0 if self.keys is None else self.keys - old.shape[-1]
        if missing > 0:
            return self._new(F.pad(old, (0, missing)), chosen)[..., : old.shape[-1]]
        return self._new(old, chosen)

    def _new(self, old: Tensor, chosen: np.ndarray) -> Tensor:
        units = self.edit.unit_index(old.shape[1:])
        if units is None:
            return self._combine(old, chosen, old.ndim - 1)
        index = (torch.arange(len(old)).view(-1, *[1] * (old.ndim - 1)), *units)
        new = self._combine(old[index], chosen, old.ndim - 1)
        return old.index_put(index, new)

    def _combine(self, old: Tensor, chosen: np.ndarray, axes: int) -> Tensor:
        op, value = self.edit.op, self.edit.value
        if op == "zero":
            return torch.zeros_like(old)
        if op == "apply":
            new = value(old)  # pyright: ignore[reportCallIssue, reportOptionalCall]
            if not isinstance(new, Tensor) or new.shape != old.shape:
                got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
                raise SiteError(
                    f"the function applied to site {self.edit.site!r} must return shape "
                    f"{tuple(old.shape)}, not {got}"
                )
            return new.to(old.dtype)
        operand = self.values(chosen, old, axes)
        if op == "replace":
            full = torch.as_tensor(operand, dtype=old.dtype, device=old.device)
            return full.expand_as(old)
        return old + operand if op == "add" else old * operand


def place(
    edit: Edit, site: Site, segments: Segments, lengths: np.ndarray, among: np.ndarray
) -> PlacedEdit | None:
    """The edit on its tokens in these segments, None if there are none; SiteError if its value does not fit."""
    rows, counts, positions = edit.places(lengths)
    longest = int(lengths.max())
    _check_value(edit, site, len(rows), int(counts.max(initial=0)), longest)
    entry_of = np.full(len(lengths), -1, dtype=np.int64)
    entry_of[rows] = np.arange(len(rows))
    entry = entry_of[segments.rows[among]]
    among, entry = among[entry >= 0], entry[entry >= 0]
    # One line per (segment, position wanted of its prompt).
    each = counts[entry]
    row, segment = np.repeat(entry, each), np.repeat(among, each)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)
    wanted = positions[(np.cumsum(counts) - counts)[row] + nth]
    within = wanted - segments.starts[segment]
    here = (within >= 0) & (within < segments.lengths[segment])
    if not here.any():
        return None
    tokens = segments.offsets[segment] + within
    ascending = np.argsort(tokens[here], kind="stable")
    tokens, row, nth = (x[here][ascending] for x in (tokens, row, nth))
    return PlacedEdit(edit, tokens, row, nth, longest if None in site.shape else None)


def _check_value(edit: Edit, site: Site, rows: int, positions: int, keys: int) -> None:
    """SiteError unless the value broadcasts against (rows, positions, *axes of the site); a pattern's last axis has `keys`."""
    if not isinstance(edit.value, Tensor | Taken):
        return
    if isinstance(edit.value, Taken) and None in site.shape:
        return  # another run may have had other keys
    shape = [keys if size is None else size for size in site.shape]
    index = edit.unit_index(shape)
    chosen = shape if index is None else list(torch.broadcast_shapes(*(i.shape for i in index)))
    full = [rows, positions, *chosen]
    given = list(edit.value.shape)
    fits = len(given) <= len(full) and all(
        g == f or (g == 1 and isinstance(edit.value, Tensor))
        for g, f in zip(reversed(given), reversed(full), strict=False)
    )
    if not fits:
        axes = ", ".join(("rows", "positions", *site.axes))
        raise SiteError(
            f"a value of shape {tuple(given)} does not fit site {edit.site!r}: "
            f"it must broadcast against ({axes}) = {tuple(full)}"
        )
