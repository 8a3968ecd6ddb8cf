"""Variants: counterfactual worlds of one base run, each a set of edits, run together by `replay` and read by metrics."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mambascope.models.language_model import LanguageModel
from mambascope.sites import Cut, Edit
from mambascope.sites.site import find_site, resolve_layers
from mambascope.sites.views import reads


@dataclass(frozen=True, eq=False)
class BaseRun:
    """What the variants vary: these prompts, one row each, of any lengths, run with these edits.

    One prompt with S noise samples is that prompt S times and one edit whose value has S rows.
    """

    prompts: Sequence[Sequence[int]]
    edits: tuple[Edit, ...] = ()

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each row."""
        return [len(prompt) for prompt in self.prompts]


@dataclass(frozen=True, eq=False)
class Variant:
    """One counterfactual world: these edits are made after those of the base run, in the rows that they name; these cuts are
    made in it.
    """

    edits: tuple[Edit, ...] = ()
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, eq=False)
class Touch:
    """What one variant first changes in one layer: in each of `rows`, nothing before the position in `starts`.

    layer: -1 for the embedding, n_layers for what comes after the last block
    """

    layer: int
    edits: tuple[Edit, ...]
    cuts: tuple[Cut, ...]
    rows: np.ndarray
    starts: np.ndarray

    @property
    def after_block(self) -> bool:
        """Whether only the residual that the block leaves is changed, so that the block itself need not run again."""
        return not self.cuts and all(edit.site == "resid_post" for edit in self.edits)


def touches(model: LanguageModel, variant: Variant, lengths: np.ndarray) -> list[Touch]:
    """The layers that a variant touches, ascending. Raises SiteError for an edit that does not fit the model."""
    n_layers = model.config.n_layers
    by_layer: dict[int, tuple[list[Edit], list[Cut]]] = defaultdict(lambda: ([], []))
    for edit in variant.edits:
        site = find_site(model.sites, edit.site)
        for layer in resolve_layers(site, edit.layers, n_layers):  # pyright: ignore[reportArgumentType]
            place = layer if layer is not None else -1 if edit.site == "embed" else n_layers
            by_layer[place][0].append(edit)
    for cut in variant.cuts:
        for layer in cut.layers_among(n_layers):
            cut.check(model.sites, layer)
            by_layer[layer][1].append(cut)
    return [_touch(layer, *by_layer[layer], lengths) for layer in sorted(by_layer)]


def _touch(layer: int, edits: list[Edit], cuts: list[Cut], lengths: np.ndarray) -> Touch:
    first = lengths.copy()  # behind the end: nothing is changed
    for edit in edits:
        rows, counts, positions = edit.places(lengths)
        np.minimum.at(first, np.repeat(rows, counts), positions)
    for cut in cuts:
        _, reading = reads(cut, lengths)
        rows, positions = np.nonzero(reading)
        np.minimum.at(first, rows, positions)
    rows = np.flatnonzero(first < lengths)
    return Touch(layer, tuple(edits), tuple(cuts), rows, first[rows])
