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
from mambascope.sites.cuts import Cut
from mambascope.sites.edits import Edit
from mambascope.sites.placed import PlacedEdit, place
from mambascope.sites.segments import Segments
from mambascope.sites.site import Site, find_site, resolve_layers
from mambascope.sites.views import View, check_disjoint, targeting

Key = tuple[str, int | None]
_CUT = "cut"
RecordRequest = str | tuple[str, int | Sequence[int] | None]


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
        placed = place(edit, site, self.segments, lengths, among)
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

    @property
    def layers_idle(self) -> bool:
        """True if nothing is looked at or changed at any layer; the sites outside the layers do not matter."""
        return all(tap.idle for index, tap in self._layers.items() if index is not None)

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
