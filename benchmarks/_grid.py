"""A whole causal-trace grid on random weights: the clean residual restored after every layer, at positions from the subject on.

Built once for a model of transformers and for ours with the same weights, so that any two ways of filling the grid can be
timed and compared cell by cell.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _shared import VOCAB, WIDTH, reference
from torch import Tensor

import mambascope as ms
from mambascope.interventions import BaseRun, Variant, answer_probability, replay

SAMPLES, SUBJECT = 10, slice(1, 5)
NOISE = 0.06  # three times the standard deviation of embeddings drawn with 0.02

Cell = tuple[int, int]


@dataclass
class Grid:
    """One model, one random prompt, ten noise samples; every `stride`-th position from the subject on."""

    architecture: str
    layers: int
    tokens: int
    stride: int = 1
    theirs: Any = field(init=False)
    ours: ms.LanguageModel = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.theirs = reference(self.architecture, self.layers, WIDTH, VOCAB).eval()
        self.ours = ms.load(self.theirs)
        self.ids = torch.randint(0, VOCAB, (1, self.tokens))
        self.noise = NOISE * torch.randn(SAMPLES, SUBJECT.stop - SUBJECT.start, WIDTH)
        clean = self.ours.run(self.ids, record=["resid_post"], logits="last")
        assert clean.logits is not None
        self.answer = int(clean.logits[0].argmax())
        corrupt = ms.Edit(
            site="embed", op="add", positions=range(SUBJECT.start, SUBJECT.stop), value=self.noise
        )
        self.base = BaseRun([self.ids[0].tolist()] * SAMPLES, (corrupt,))
        self.variants = [
            Variant((ms.Edit(site="resid_post", layers=n, positions=p, value=value),))
            for n, p in self.cells
            for value in (clean["resid_post", n][0, p],)
        ]

    @property
    def positions(self) -> range:
        """The positions that are restored."""
        return range(SUBJECT.start, self.tokens, self.stride)

    @property
    def cells(self) -> list[Cell]:
        """(layer, position) of every cell."""
        return [(layer, p) for layer in range(self.layers) for p in self.positions]

    def some_cells(self, count: int) -> list[int]:
        """The numbers of some random cells, the same each time."""
        return random.Random(0).sample(range(len(self.cells)), count)

    def replayed(self, memory: int | None = None) -> np.ndarray:
        """The mean answer probability of every cell, by replay within so many bytes."""
        metrics = {"p": answer_probability(self.answer)}
        found = replay(self.ours, self.base, self.variants, metrics, memory=memory)
        return found.scores["p"].mean(1)

    @property
    def rows(self) -> int:
        """Tokens times layers that must be computed: the base run, and behind each cell its suffix in all later layers."""
        n = self.layers
        suffixes = sum(self.tokens - p for p in self.positions)
        return SAMPLES * (self.tokens * n + suffixes * n * (n - 1) // 2)


class ByHooks:
    """The naive way: one forward pass of the transformers model per cell, with a hook on one layer."""

    def __init__(self, grid: Grid) -> None:
        self.model, self.answer = grid.theirs, grid.answer
        mamba = hasattr(self.model, "backbone")
        self.layers = self.model.backbone.layers if mamba else self.model.transformer.h
        self.corrupted = self.model.get_input_embeddings()(grid.ids).repeat(SAMPLES, 1, 1)
        self.corrupted[:, SUBJECT] += grid.noise
        self.clean: list[Tensor] = []
        handles = [layer.register_forward_hook(self._keep) for layer in self.layers]
        self.model(grid.ids, use_cache=False)
        for handle in handles:
            handle.remove()

    def _keep(self, _: Any, __: Any, out: Any) -> None:
        self.clean.append(out[0] if isinstance(out, tuple) else out)

    def cell(self, layer: int, position: int) -> float:
        """The mean answer probability after restoring one cell."""

        def restore(_: Any, __: Any, out: Any) -> Any:
            resid = (out[0] if isinstance(out, tuple) else out).clone()
            resid[:, position] = self.clean[layer][0, position]
            return (resid, *out[1:]) if isinstance(out, tuple) else resid

        handle = self.layers[layer].register_forward_hook(restore)
        logits = self.model(inputs_embeds=self.corrupted, use_cache=False).logits
        handle.remove()
        return float(logits[:, -1].softmax(-1)[:, self.answer].mean())
