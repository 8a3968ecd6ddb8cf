"""Sites recorded for every variant of a replay: the base run's value wherever a variant has not begun."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mambascope.errors import SiteError
from mambascope.models.language_model import LanguageModel
from mambascope.sites import Segments, Tap
from mambascope.sites.site import find_site, resolve_layers
from mambascope.sites.tap import RecordRequest

Key = tuple[str, int]


class Recorder:
    """Collects (variants, rows, T, *axes) for each (site, layer) that was asked for."""

    def __init__(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        variants: int,
        record: Sequence[RecordRequest],
    ) -> None:
        self.lengths, self.variants = lengths, variants
        self.recorded: dict[Key, Tensor] = {}
        self.keys: list[Key] = []
        for request in record:
            name, layers = (request, None) if isinstance(request, str) else request
            site = find_site(model.sites, name)
            if not site.layered:
                raise SiteError(
                    f"a replay records sites of the layers; {name!r} exists once per model"
                )
            for layer in resolve_layers(site, layers, model.config.n_layers):  # pyright: ignore[reportArgumentType]
                assert layer is not None
                self.keys.append((name, layer))

    @property
    def requests(self) -> list[RecordRequest]:
        """Everything that was asked for."""
        return list(self.keys)

    def at(self, layer: int, *only: str) -> list[RecordRequest]:
        """What was asked for at this layer, of these sites if any are named."""
        return [k for k in self.keys if k[1] == layer and (not only or k[0] in only)]

    def take_base(self, layer: int, tap: Tap, segments: Segments, chosen: range) -> None:
        """The base run's values, for all of these variants."""
        for key in (k for k in self.keys if k[1] == layer):
            padded = segments.pad(tap.recorded.pop(key), fill=torch.nan)
            if key not in self.recorded:
                self.recorded[key] = padded.new_full((self.variants, *padded.shape), torch.nan)
            self.recorded[key][chosen.start : chosen.stop] = padded

    def take(self, layer: int, tap: Tap, segments: Segments, variants: np.ndarray) -> None:
        """The values of some segments, each of its own variant."""
        for key in (k for k in self.keys if k[1] == layer and k in tap.recorded):
            value = tap.recorded[key]
            index = (np.repeat(variants, segments.lengths), segments.token_rows, segments.positions)
            into = tuple(torch.from_numpy(i).to(value.device) for i in index)
            whole = self.recorded[key]
            if value.shape[1:] == whole.shape[3:]:
                whole[into] = value
            else:  # a pattern over fewer keys than the longest prompt has
                whole[(*into, slice(None), slice(0, value.shape[-1]))] = value
