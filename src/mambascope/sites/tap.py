"""The tap: what every site's value passes through on its way; it records it, edits it, or returns it untouched.

A block asks its `LayerTap` at each site. Where nothing is wanted that is one dictionary look-up, so an untapped run
costs what a run without taps would. Recurrent sites (`state`, `conv_carry`) are edited in the middle of a scan: the
block asks `edited` where to stop, and calls `edit` on the tokens at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.cuts import Cut
from mambascope.sites.edits import Edit, Taken
from mambascope.sites.segments import Segments
from mambascope.sites.site import Site, find_site, resolve_layers
from mambascope.sites.views import View, check_disjoint, targeting

Key = tuple[str, int | None]
_CUT = "cut"
RecordRequest = str | tuple[str, int | Sequence[int] | None]


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


@dataclass
class LayerTap:
    """The tap at one layer (None: the sites outside the layers)."""

    layer: int | None
    _edits: dict[str, list[PlacedEdit]] = field(default_factory=dict)
    _records: set[str] = field(default_factory=set)
    _store: dict[Key, Tensor] = field(default_factory=dict)
    _fired: set[Key] = field(default_factory=set)
    _views: list[View] = field(default_factory=list)
    kept_views: list[Tensor] = field(default_factory=list)

    def __call__(self, site: str, value: Tensor) -> Tensor:
        """The value (tokens, *axes) to go on with: edited if asked, recorded if asked."""
        if site in self._edits:
            value = self.edit(site, value)
        if site in self._records:
            self.record(site, value)
        return value

    @property
    def idle(self) -> bool:
        """True if nothing at this layer is looked at or changed, so that intermediates may be overwritten."""
        return not (self._edits or self._records or self._views)

    def wants(self, *sites: str) -> bool:
        """True if any of the sites is edited or recorded here."""
        return any(site in self._edits or site in self._records for site in sites)

    def records(self, site: str) -> bool:
        """True if the site is recorded here."""
        return site in self._records

    def add_view(self, view: View) -> None:
        """Let the mixer see this view; SiteError if another one has a target of its own already."""
        self._views.append(view)
        check_disjoint(self._views)

    @property
    def views(self) -> list[View]:
        """The cuts of this layer; the mixer appends the state of those that are kept to `kept_views`, in this order."""
        self._fired.add((_CUT, self.layer))
        return self._views

    def edited(self, *sites: str) -> np.ndarray:
        """Packed indices of the tokens at which any of the sites is edited, ascending."""
        tokens = [e.tokens for site in sites for e in self._edits.get(site, ())]
        return np.unique(np.concatenate(tokens)) if tokens else np.empty(0, dtype=np.int64)

    def edit(self, site: str, value: Tensor, tokens: np.ndarray | None = None) -> Tensor:
        """`value` after the site's edits; its rows are all tokens, or those with these ascending packed indices."""
        own = False  # whether `value` is a copy of ours by now, which later edits may write into
        for placed in self._edits.get(site, ()):
            self._fired.add((site, self.layer))
            if tokens is None:
                chosen, rows = np.arange(len(placed.tokens)), placed.tokens
            else:
                rows = np.minimum(np.searchsorted(tokens, placed.tokens), len(tokens) - 1)
                chosen = np.flatnonzero(tokens[rows] == placed.tokens)
                rows = rows[chosen]
            if len(chosen):
                index = torch.from_numpy(rows).to(value.device)
                value, own = value if own else value.clone(), True
                value.index_copy_(0, index, placed.changed(value[index], chosen))
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
        cuts: Sequence[Cut] = (),
    ) -> None:
        self.recorded: dict[Key, Tensor] = {}
        self._fired: set[Key] = set()
        self._layers: dict[int | None, LayerTap] = {}
        self._sites, self._n_layers, self.segments = sites, n_layers, segments
        if isinstance(record, str):
            raise SiteError(f"record is a list of sites, such as [{record!r}], not one by itself")
        for request in record:
            name, layers = (request, None) if isinstance(request, str) else request
            site = find_site(sites, name)
            for layer in resolve_layers(site, layers, n_layers):  # pyright: ignore[reportArgumentType]
                self.layer(layer)._records.add(name)
        for edit in edits:
            if not self.place(edit, _prompt_lengths(segments), np.arange(segments.count)):
                raise SiteError(
                    f"the edit of site {edit.site!r} touches none of the run's positions"
                )
        for cut in cuts:
            self._cut(cut)

    def place(
        self,
        edit: Edit,
        lengths: np.ndarray,
        among: np.ndarray,
        layers: Sequence[int | None] | None = None,
    ) -> bool:
        """Make an edit in these segments; False if it touches none of their tokens.

        lengths: the number of tokens of each prompt; several segments may belong to one
        layers:  where to make it, if not in all layers that it names
        """
        site = find_site(self._sites, edit.site)
        placed = _place(edit, site, self.segments, lengths, among)
        if placed is None:
            return False
        meant = resolve_layers(site, edit.layers, self._n_layers)  # pyright: ignore[reportArgumentType]
        for layer in meant if layers is None else layers:
            self.layer(layer)._edits.setdefault(edit.site, []).append(placed)
        return True

    def _cut(self, cut: Cut) -> None:
        """Make a cut in every segment; SiteError if no target reads from a source, or a source lies in the carry."""
        segments = self.segments
        lengths = _prompt_lengths(segments)
        view = targeting(cut, segments, lengths, np.arange(segments.count))
        if view is None:
            raise SiteError("no target of the cut reads from one of its sources")
        before = np.arange(view.sources.shape[1]) < segments.starts[view.segments, None]
        if (view.sources & before).any():
            raise SiteError("a source of the cut lies before this run, in the carry it starts from")
        for layer in cut.layers_among(self._n_layers):
            cut.check(self._sites, layer)
            self.layer(layer).add_view(view)

    def layer(self, index: int | None) -> LayerTap:
        """The tap of one layer, or of the sites outside the layers."""
        if index not in self._layers:
            self._layers[index] = LayerTap(index, _store=self.recorded, _fired=self._fired)
        return self._layers[index]

    def check_all_fired(self) -> None:
        """SiteError if an edit or a record was never reached: a silent hook is worse than none."""
        for layer, tap in self._layers.items():
            for site in [*tap._edits, *tap._records, *([_CUT] if tap._views else [])]:
                if (site, layer) not in self._fired:
                    where = "" if layer is None else f" at layer {layer}"
                    raise SiteError(
                        f"site {site!r}{where} was never reached by this run, so nothing was done"
                    )


def _prompt_lengths(segments: Segments) -> np.ndarray:
    """The number of tokens of each prompt, where every prompt is one segment."""
    lengths = np.zeros(int(segments.rows.max()) + 1, dtype=np.int64)
    lengths[segments.rows] = segments.starts + segments.lengths
    return lengths


def _place(
    edit: Edit, site: Site, segments: Segments, lengths: np.ndarray, among: np.ndarray
) -> PlacedEdit | None:
    """The edit on its tokens in these segments; None if there are none."""
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
