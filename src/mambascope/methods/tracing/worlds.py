"""What a trace exchanges: the clean run, the corrupted run, and the edits that carry a value from one to the other."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from mambascope.errors import ConfigError, SiteError
from mambascope.interventions import BaseRun
from mambascope.interventions.prompt import SubjectPrompt
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import Corrupted
from mambascope.models.language_model import LanguageModel
from mambascope.models.run import Run
from mambascope.sites import Edit

RESIDUAL = ("resid_pre", "resid_mid", "resid_post")
SEVERED = {"scan": "scan_out", "conv": "u", "gate": "gate", "mixer": "mixer_out"}


class Worlds:
    """The clean and the corrupted run with what is exchanged between them, and the base run that variants change."""

    def __init__(
        self,
        model: LanguageModel,
        asked: SubjectPrompt,
        corrupted: Corrupted,
        config: TracingConfig,
    ) -> None:
        self.model, self.config, self.corrupted = model, config, corrupted
        self.severed = tuple(SEVERED.get(name, name) for name in config.sever)
        for name in self.severed:
            window_size(model, name, None)
            if name in config.sites:
                raise ConfigError(f"site {name!r} cannot be exchanged and severed at once")
        restoring = config.direction == "restore"
        giving, staying = list(config.sites), list(self.severed)
        clean = model.run([asked.ids], record=giving if restoring else staying, logits="last")
        other = model.run(
            corrupted.run.prompts,
            edits=corrupted.run.edits,
            record=staying if restoring else giving,
            logits="last",
        )
        assert clean.logits is not None and other.logits is not None
        self.clean_logits, self.corrupted_logits = clean.logits[0], other.logits
        self.base = corrupted.run if restoring else BaseRun([asked.ids] * corrupted.rows)
        self.giver, self.stayer = (clean, other) if restoring else (other, clean)
        self.clean_side = restoring

    @property
    def top(self) -> int:
        """The clean run's top token."""
        return int(self.clean_logits.argmax())

    def change(
        self, key: tuple[str, int], position: int, own: Run
    ) -> tuple[tuple[np.ndarray, np.ndarray], Tensor] | None:
        """Where in the base run (rows, positions) the site is exchanged at this position of the clean prompt, and by how much
        its value there (in `own`) changes: (rows, *axes). None where no row has such a position.
        """
        rows = np.flatnonzero(self.corrupted.partners[:, position] >= 0)
        if not len(rows):
            return None
        theirs = self.corrupted.partners[rows, position]
        mine = np.full(len(rows), position)
        given = self.giver[key]
        value = given[0, position][None] if self.clean_side else given[rows, theirs]
        at = (rows, theirs if self.clean_side else mine)
        return at, value - own[key][at]

    def exchange(self, site: str, window: int, layer: int, position: int) -> Iterator[Edit]:
        """The edits of one cell: the other run's value of the site, and what is severed."""
        rows = np.flatnonzero(self.corrupted.partners[:, position] >= 0)
        if not len(rows):
            return
        theirs = self.corrupted.partners[rows, position]
        n_layers = self.model.config.n_layers
        near = window_of(layer, window, n_layers, self.config.align)
        for each in near:
            yield self._edit(site, each, rows, theirs, position, self.giver, own=self.clean_side)
        begin = near.stop if site == "resid_post" else near.start
        for name in self.severed:
            for each in range(begin, n_layers):
                yield self._edit(
                    name, each, rows, theirs, position, self.stayer, own=not self.clean_side
                )

    def _edit(
        self,
        site: str,
        layer: int,
        rows: np.ndarray,
        theirs: np.ndarray,
        position: int,
        source: Run,
        *,
        own: bool,
    ) -> Edit:
        """Put a run's value there; `own`: it comes from the one clean row, else from each corrupted row."""
        recorded = source[site, layer]
        value = recorded[0, position] if own else recorded[rows, theirs][:, None]
        positions = theirs if self.clean_side else np.full(len(rows), position)
        return Edit(
            site=site,
            layers=layer,
            rows=rows.tolist(),
            positions=[[p] for p in positions.tolist()],
            value=value,
        )


def window_of(layer: int, window: int, n_layers: int, align: str) -> range:
    """`window` layers centred on this one (ROME: from layer - window // 2 on) or beginning with it, cut off at the ends."""
    first = layer - window // 2 if align == "centred" else layer
    return range(max(0, first), min(n_layers, first + window))


def window_size(model: LanguageModel, name: str, window: int | None) -> int:
    """The number of layers exchanged together; SiteError if this is no site of the layers."""
    site = model.sites.get(name)
    if site is None or not site.layered:
        names = ", ".join(name for name, s in model.sites.items() if s.layered)
        raise SiteError(f"cannot trace site {name!r}; this model has: {names}")
    if window is not None:
        return window
    return 1 if name in RESIDUAL else max(1, model.config.n_layers // 5)
