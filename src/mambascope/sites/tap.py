"""The tap: what every site's value passes through on its way; it records it, edits it, or returns it untouched.

A block asks its `LayerTap` at each site. Where nothing is wanted that is one dictionary look-up, so an untapped run
costs what a run without taps would. Recurrent sites (`state`, `conv_carry`) are edited in the middle of a scan: the
block asks `edited` where to stop, and calls `edit` on the tokens at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.edits import Edit
from mambascope.sites.segments import Segments
from mambascope.sites.site import Site, find_site, resolve_layers

Key = tuple[str, int | None]
RecordRequest = str | tuple[str, int | Sequence[int] | None]


@dataclass(frozen=True, eq=False)
class PlacedEdit:
    """An edit on its packed tokens, ascending; `row` and `nth` say which entry of the value each one gets."""

    edit: Edit
    tokens: np.ndarray
    row: np.ndarray
    nth: np.ndarray

    def values(self, chosen: np.ndarray, old: Tensor, axes: int) -> Tensor | float:
        """The value for the chosen entries of `tokens`, ready to combine with `old` (tokens, *axes)."""
        value = self.edit.value
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

    def changed(self, old: Tensor, chosen: np.ndarray) -> Tensor:
        """`old` (chosen tokens, *axes) after this edit."""
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


@dataclass
class LayerTap:
    """The tap at one layer (None: the sites outside the layers)."""

    layer: int | None
    _edits: dict[str, list[PlacedEdit]] = field(default_factory=dict)
    _records: set[str] = field(default_factory=set)
    _store: dict[Key, Tensor] = field(default_factory=dict)
    _fired: set[Key] = field(default_factory=set)

    def __call__(self, site: str, value: Tensor) -> Tensor:
        """The value (tokens, *axes) to go on with: edited if asked, recorded if asked."""
        if site in self._edits:
            value = self.edit(site, value)
        if site in self._records:
            self.record(site, value)
        return value

    def wants(self, *sites: str) -> bool:
        """True if any of the sites is edited or recorded here."""
        return any(site in self._edits or site in self._records for site in sites)

    def records(self, site: str) -> bool:
        """True if the site is recorded here."""
        return site in self._records

    def edited(self, *sites: str) -> np.ndarray:
        """Packed indices of the tokens at which any of the sites is edited, ascending."""
        tokens = [e.tokens for site in sites for e in self._edits.get(site, ())]
        return np.unique(np.concatenate(tokens)) if tokens else np.empty(0, dtype=np.int64)

    def edit(self, site: str, value: Tensor, tokens: np.ndarray | None = None) -> Tensor:
        """`value` after the site's edits; its rows are all tokens, or those with these ascending packed indices."""
        for placed in self._edits.get(site, ()):
            self._fired.add((site, self.layer))
            if tokens is None:
                chosen, rows = np.arange(len(placed.tokens)), placed.tokens
            else:
                chosen = np.flatnonzero(np.isin(placed.tokens, tokens))
                rows = np.searchsorted(tokens, placed.tokens[chosen])
            if len(chosen):
                index = torch.from_numpy(rows).to(value.device)
                value = value.index_copy(0, index, placed.changed(value[index], chosen))
        return value

    def record(self, site: str, value: Tensor) -> None:
        """Keep the value (tokens, *axes)."""
        self._fired.add((site, self.layer))
        self._store[site, self.layer] = value


class Tap:
    """All edits and records of one run, placed on its packed tokens."""

    def __init__(
        self,
        sites: dict[str, Site],
        n_layers: int,
        segments: Segments,
        edits: Sequence[Edit] = (),
        record: Sequence[RecordRequest] = (),
    ) -> None:
        self.recorded: dict[Key, Tensor] = {}
        self._fired: set[Key] = set()
        self._layers: dict[int | None, LayerTap] = {}
        self._segments = segments
        for request in record:
            name, layers = (request, None) if isinstance(request, str) else request
            site = find_site(sites, name)
            for layer in resolve_layers(site, layers, n_layers):  # pyright: ignore[reportArgumentType]
                self.layer(layer)._records.add(name)
        for edit in edits:
            site = find_site(sites, edit.site)
            placed = _place(edit, site, segments)
            for layer in resolve_layers(site, edit.layers, n_layers):  # pyright: ignore[reportArgumentType]
                self.layer(layer)._edits.setdefault(edit.site, []).append(placed)

    def layer(self, index: int | None) -> LayerTap:
        """The tap of one layer, or of the sites outside the layers."""
        if index not in self._layers:
            self._layers[index] = LayerTap(index, _store=self.recorded, _fired=self._fired)
        return self._layers[index]

    def check_all_fired(self) -> None:
        """SiteError if an edit or a record was never reached: a silent hook is worse than none."""
        for layer, tap in self._layers.items():
            for site in [*tap._edits, *tap._records]:
                if (site, layer) not in self._fired:
                    where = "" if layer is None else f" at layer {layer}"
                    raise SiteError(
                        f"site {site!r}{where} was never reached by this run, so nothing was done"
                    )


def _place(edit: Edit, site: Site, segments: Segments) -> PlacedEdit:
    """The edit on the tokens of a batch in which every row is one segment."""
    segment_of = np.empty(int(segments.rows.max()) + 1, dtype=np.int64)
    segment_of[segments.rows] = np.arange(segments.count)
    lengths = (segments.starts + segments.lengths)[segment_of].tolist()
    wanted = edit.row_positions(lengths)
    counts = [len(positions) for _, positions in wanted]
    segment = np.repeat(segment_of[[row for row, _ in wanted]], counts)
    positions = np.array([p for _, found in wanted for p in found], dtype=np.int64)
    within = positions - segments.starts[segment]
    tokens = segments.offsets[segment] + within
    here = within >= 0
    if not here.any():
        raise SiteError(f"the edit of site {edit.site!r} touches none of the run's positions")
    row = np.repeat(np.arange(len(wanted)), counts)
    nth = np.concatenate([np.arange(count) for count in counts])
    ascending = np.argsort(tokens[here], kind="stable")
    _check_value(edit, site, len(wanted), max(counts))
    return PlacedEdit(edit, *(x[here][ascending] for x in (tokens, row, nth)))


def _check_value(edit: Edit, site: Site, rows: int, positions: int) -> None:
    """SiteError unless the value broadcasts against (rows, positions, *axes of the site)."""
    if not isinstance(edit.value, Tensor):
        return
    if None in site.shape:
        return
    shape = [int(size or 0) for size in site.shape]
    index = edit.unit_index(shape)
    chosen = shape if index is None else list(torch.broadcast_shapes(*(i.shape for i in index)))
    full = [rows, positions, *chosen]
    given = list(edit.value.shape)
    fits = len(given) <= len(full) and all(
        g in (1, f) for g, f in zip(reversed(given), reversed(full), strict=False)
    )
    if not fits:
        axes = ", ".join(("rows", "positions", *site.axes))
        raise SiteError(
            f"a value of shape {tuple(given)} does not fit site {edit.site!r}: "
            f"it must broadcast against ({axes}) = {tuple(full)}"
        )
