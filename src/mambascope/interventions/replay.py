"""Replay: many variants of one base run, computing only what each of them can change.

An edit at (layer l, position p) leaves alone all layers before l, and in every layer all positions before p. So one wave walks
the layers once. At each layer the base run comes first and leaves its carry at the positions where variants begin; then
all variants that have begun run as segments that start from those carries; those that begin here join with the base run's
residual. Carries live for one layer. At the end only each row's last token reaches the unembedding.

Nothing here knows an architecture: a block takes packed segments and a carry (models/protocol.py).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import ModelError
from mambascope.interventions.active import Active
from mambascope.interventions.budget import Budget, suffixes, waves
from mambascope.interventions.metrics import Metric
from mambascope.interventions.recorder import Recorder
from mambascope.interventions.shadows import Shadows
from mambascope.interventions.variants import BaseRun, Touch, Variant, touches
from mambascope.models.language_model import LanguageModel
from mambascope.models.protocol import Carry
from mambascope.sites import Cut, Edit, Segments, Tap
from mambascope.sites.positions import ranges
from mambascope.sites.site import find_site, resolve_layers
from mambascope.sites.tap import RecordRequest

Scores = Float[np.ndarray, "variants rows"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a replay found.

    scores:   each metric, (variants, rows); rows that a variant leaves alone have the base run's value
    base:     each metric of the base run, (rows,)
    recorded: (variants, rows, T, *axes) by (site, layer), shorter prompts filled up with NaN
    """

    scores: dict[str, Scores]
    base: dict[str, Float[np.ndarray, " rows"]]
    recorded: dict[tuple[str, int], Float[Tensor, "variants rows T ..."]] = field(
        default_factory=dict
    )


@torch.no_grad()
def replay(
    model: LanguageModel,
    base: BaseRun,
    variants: Sequence[Variant],
    metrics: Mapping[str, Metric],
    *,
    record: Sequence[RecordRequest] = (),
    memory: int | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """The metrics of every variant in every row of the base run, equal to full forward passes with the same edits.

    record:   sites of the layers to keep for every variant
    memory:   bytes to stay within, as far as one variant alone allows; by default a quarter of what is free.
              The result does not depend on it
    progress: told (variants done, all variants)

    Raises SiteError for edits and records that do not fit, ModelError if one variant alone exceeds a CUDA device's memory.
    """
    lengths = np.array(base.lengths, dtype=np.int64)
    plans = [touches(model, variant, lengths) for variant in variants]
    recorder = Recorder(model, base.lengths, len(variants), record)
    used = {edit.site for variant in variants for edit in variant.edits}
    budget = Budget.of(model, memory, [*used, *(name for name, _ in recorder.keys)])
    scores = {name: np.empty((len(variants), len(base.prompts))) for name in metrics}
    found: dict[str, np.ndarray] = {}
    done, pending = 0, waves(plans, lengths, budget)
    while pending or not found:
        chosen = pending[0] if pending else range(0)
        try:
            wave = _Wave(model, base, plans, chosen, budget, recorder)
            found = wave.run(metrics, scores)
        except torch.cuda.OutOfMemoryError as error:
            budget = _smaller(budget, chosen, error)
            pending = waves(plans, lengths, budget, begin=done)
            continue
        pending, done = pending[1:], done + len(chosen)
        if progress is not None:
            progress(done, len(variants))
    return Replayed(scores, found, recorder.recorded)


def _smaller(budget: Budget, chosen: range, error: torch.cuda.OutOfMemoryError) -> Budget:
    """Half the budget, after CUDA ran out of memory."""
    if len(chosen) <= 1:
        raise ModelError(
            "CUDA memory does not suffice for one variant alone; take fewer samples or another device"
        ) from error
    torch.cuda.empty_cache()
    warnings.warn("out of CUDA memory: going on with half of it", stacklevel=3)
    return budget.halved()


class _Wave:
    """Some variants, walked through the layers together."""

    def __init__(
        self,
        model: LanguageModel,
        base: BaseRun,
        plans: list[list[Touch]],
        chosen: range,
        budget: Budget,
        recorder: Recorder,
    ) -> None:
        self.model, self.base, self.budget, self.recorder = model, base, budget, recorder
        self.chosen = chosen
        self.lengths = np.array(base.lengths, dtype=np.int64)
        # By layer, or by name for the sites outside the layers.
        self.base_edits: dict[int | str, list[Edit]] = {}
        for edit in base.edits:
            site = find_site(model.sites, edit.site)
            for layer in resolve_layers(site, edit.layers, model.config.n_layers):  # pyright: ignore[reportArgumentType]
                self.base_edits.setdefault(layer if layer is not None else edit.site, []).append(
                    edit
                )
        self.at: dict[int, list[tuple[int, Touch]]] = {}
        for number in chosen:
            for touch in plans[number]:
                if len(touch.rows):
                    self.at.setdefault(touch.layer, []).append((number, touch))
        self.n_variants = len(plans)
        self.most = sum(suffixes(plans[number], self.lengths) for number in chosen)

    def run(
        self, metrics: Mapping[str, Metric], scores: dict[str, Scores]
    ) -> dict[str, np.ndarray]:
        """Fill in the scores of the wave's variants; the base run's own metrics."""
        model, base = self.model, self.base
        segments = Segments.of(base.lengths)
        tap = model.tap(segments, base.edits, self.recorder.requests)
        ids = torch.tensor([i for prompt in base.prompts for i in prompt], device=model.device)
        resid = model.embed(ids, segments, tap)
        room = resid.new_empty(self.most, resid.shape[1])
        self.active = Active(self.n_variants, self.lengths, room)
        self.active.join(self.at.get(-1, []), resid, segments)
        self._edit_embeddings(ids, segments)
        for layer, block in enumerate(model.blocks):
            here = self.at.get(layer, [])
            self.active.join([h for h in here if not self._begins_after(h)], resid, segments)
            keep, slots = self._starts(segments)
            shadows = Shadows(self._cuts(here), self.active.rows, self.active.starts)
            shadows.ask(tap.layer(layer), segments, self.lengths)
            resid, carry = block(resid, replace(segments, keep=keep), None, tap.layer(layer))
            self.recorder.take_base(layer, tap, segments, self.chosen)
            self._advance(layer, carry, slots, shadows, tap.layer(layer).kept_views)
            del carry  # the next layer's comes to lie in its memory
            late = [h for h in here if self._begins_after(h)]
            self._join_after(layer, late, resid, segments)
        tap.recorded.clear()
        self.active.join(self.at.get(model.config.n_layers, []), resid, segments)
        return self._read(resid, segments, tap, metrics, scores)

    def _begins_after(self, touching: tuple[int, Touch]) -> bool:
        """Whether this touch is the first of its variant and changes only what the block leaves."""
        number, touch = touching
        return touch.after_block and not self.active.begun(number, touch.rows).any()

    # ---- joining ---------------------------------------------------------------------------------

    def _join_after(
        self, layer: int, joining: list[tuple[int, Touch]], resid: Tensor, base: Segments
    ) -> None:
        """Let variants begin behind a block: with the residual that it leaves in the base run, edited."""
        if not joining:
            return
        active = self.active
        new, tokens = slice(len(active.rows), None), slice(len(active.resid), None)
        active.join(joining, resid, base)
        segments = active.segments(new)
        tap = self.model.tap(segments, record=self.recorder.at(layer, "resid_post"))
        self._place_edits(tap, layer, joining, active.variants[new])
        changed = tap.layer(layer)("resid_post", active.resid[tokens])
        self.recorder.take(layer, tap, segments, active.variants[new])
        active.resid[tokens] = changed

    def _edit_embeddings(self, ids: Tensor, base: Segments) -> None:
        """The edits of the embedding, made where the token embeddings arise."""
        joining = self.at.get(-1, [])
        if not joining:
            return
        active = self.active
        segments = active.segments()
        tap = self.model.tap(segments)
        self._place_base_edits(tap, "embed")
        self._place_edits(tap, -1, joining, active.variants)
        active.resid[:] = self.model.embed(ids[active.tokens_of(base)], segments, tap)

    # ---- one layer -------------------------------------------------------------------------------

    def _starts(self, base: Segments) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of the base run after which its carry is needed, and each active pair's slot among them."""
        before = base.offsets[self.active.rows] + self.active.starts - 1
        from_nothing = self.active.starts == 0
        keep, slots = np.unique(before[~from_nothing], return_inverse=True)
        found = np.full(len(before), -1, dtype=np.int64)
        found[~from_nothing] = slots
        return keep.astype(np.int64), found

    def _cuts(self, here: list[tuple[int, Touch]]) -> list[tuple[Cut, np.ndarray]]:
        """The cuts of one layer, each with the active pairs whose variants make it."""
        makers: dict[tuple[object, ...], tuple[Cut, list[int]]] = {}
        for number, touch in here:
            for cut in touch.cuts:
                makers.setdefault(cut.key, (cut, []))[1].append(number)
        variants = self.active.variants
        return [
            (cut, np.flatnonzero(np.isin(variants, numbers))) for cut, numbers in makers.values()
        ]

    def _advance(
        self,
        layer: int,
        carry: Carry | None,
        slots: np.ndarray,
        shadows: Shadows,
        kept: Sequence[Tensor],
    ) -> None:
        """One block for all that is active, in chunks that fit the budget.

        Pairs that start from the same carry go side by side, so that it is still in the cache for all but the first.
        """
        active, here = self.active, self.at.get(layer, [])
        block = self.model.blocks[layer]
        sizes = active.sizes
        offsets = np.cumsum(sizes) - sizes
        order = np.lexsort((active.starts, active.rows))
        for first, last in self.budget.chunks(sizes[order]):
            pairs = order[first:last]
            segments = active.segments(pairs, slots)
            tap = self.model.tap(segments, record=self.recorder.at(layer))
            self._place_base_edits(tap, layer)
            self._place_edits(tap, layer, here, active.variants[pairs])
            shadows.place(tap.layer(layer), kept, segments, pairs, self.lengths)
            own = torch.from_numpy(ranges(offsets[pairs], sizes[pairs])).to(active.resid.device)
            # Behind the last layer only the last tokens are read.
            ends = tap.layer(layer).idle and layer == self.model.config.n_layers - 1
            segments = replace(segments, ends_only=ends)
            left, _ = block(active.resid[own], segments, carry, tap.layer(layer))
            self.recorder.take(layer, tap, segments, active.variants[pairs])
            active.resid[segments.needed(own)] = left

    def _place_base_edits(self, tap: Tap, *places: int | str) -> None:
        """The base run's own edits of a layer, or of sites outside the layers, on the suffixes too."""
        for place in places:
            inside = place if isinstance(place, int) else None
            for edit in self.base_edits.get(place, ()):
                tap.place(edit, self.lengths, np.arange(tap.segments.count), [inside])

    def _place_edits(
        self, tap: Tap, layer: int, touching: list[tuple[int, Touch]], variants: np.ndarray
    ) -> None:
        """The variants' edits at this layer, each on the segments of its own variant."""
        inside = layer if 0 <= layer < self.model.config.n_layers else None
        order = np.argsort(variants, kind="stable")
        ascending = variants[order]
        for number, touch in touching:
            low, high = np.searchsorted(ascending, [number, number + 1])
            for edit in touch.edits if high > low else ():
                tap.place(edit, self.lengths, order[low:high], [inside])

    # ---- reading ---------------------------------------------------------------------------------

    def _read(
        self,
        resid: Tensor,
        base: Segments,
        tap: Tap,
        metrics: Mapping[str, Metric],
        scores: dict[str, Scores],
    ) -> dict[str, np.ndarray]:
        """Each metric of the last tokens."""
        every = np.arange(len(self.lengths))
        last = torch.from_numpy(base.last).to(resid.device)
        found = self._metrics(resid[last], every, None, metrics)
        for name, values in found.items():
            scores[name][self.chosen.start : self.chosen.stop] = values
        active = self.active
        ends = np.cumsum(active.sizes) - 1
        final = active.resid[torch.from_numpy(ends).to(resid.device)]
        step = self.budget.rows
        for first in range(0, len(ends), step):
            part = slice(first, first + step)
            rows, variants = active.rows[part], active.variants[part]
            for name, values in self._metrics(final[part], rows, variants, metrics).items():
                scores[name][variants, rows] = values
        return found

    def _metrics(
        self,
        final: Tensor,
        rows: np.ndarray,
        variants: np.ndarray | None,
        metrics: Mapping[str, Metric],
    ) -> dict[str, np.ndarray]:
        """The metrics of these last residuals, after the edits behind the last block."""
        segments = Segments.of(np.ones(len(rows)), rows=rows, starts=self.lengths[rows] - 1)
        tap = self.model.tap(segments)
        self._place_base_edits(tap, "final_norm", "logits")
        if variants is not None:
            n_layers = self.model.config.n_layers
            self._place_edits(tap, n_layers, self.at.get(n_layers, []), variants)
        logits = self.model.unembed(final, tap)
        index = torch.from_numpy(rows).to(logits.device)
        return {name: metric(logits, index).cpu().numpy() for name, metric in metrics.items()}
