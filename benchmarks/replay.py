"""A whole causal-trace grid by replay against forward hooks on transformers, on the same random weights, in one process.

    python benchmarks/replay.py [--quick] [--threads 2]

Prints a Markdown table. Each case restores the clean residual after every layer at every position from the subject on, with
ten noise samples. `hooks` is the mean of some random cells times the number of cells; `products` the time that the matrix
products of the rows and layers that have to be computed take at the fastest speed measured here, `share` their part of
our time.
"""

import argparse
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from _shared import LAYERS, VOCAB, WIDTH, Timing, products_of, reference
from torch import Tensor

import mambascope as ms
from mambascope.interventions import BaseRun, Variant, answer_probability, replay

SAMPLES, SUBJECT = 10, slice(1, 5)
MANY_TOKENS = 2048


@dataclass(frozen=True)
class Case:
    """One grid: every `stride`-th position from the subject on."""

    architecture: str
    tokens: int
    stride: int
    goal: float

    @property
    def positions(self) -> range:
        """The positions that are restored."""
        return range(SUBJECT.start, self.tokens, self.stride)


CASES = (
    Case("Mamba-1", 12, 1, 20),
    Case("Mamba-1", 64, 8, 30),
    Case("Mamba-2", 12, 1, 150),
    Case("GPT-2", 12, 1, 5),
)


class ByHooks:
    """The naive way: one forward pass of the transformers model per cell, with a hook on one layer."""

    def __init__(self, model: Any, ids: Tensor, noise: Tensor, answer: int) -> None:
        self.model, self.answer = model, answer
        mamba = hasattr(model, "backbone")
        self.layers = model.backbone.layers if mamba else model.transformer.h
        self.corrupted = model.get_input_embeddings()(ids).repeat(SAMPLES, 1, 1)
        self.corrupted[:, SUBJECT] += noise
        self.clean: list[Tensor] = []
        handles = [layer.register_forward_hook(self._keep) for layer in self.layers]
        model(ids, use_cache=False)
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


def products(model: ms.LanguageModel, case: Case) -> float:
    """Seconds that the matrix products of the rows which must be computed take at the fastest speed at hand."""
    seconds = min(Timing.of(list(products_of(model, MANY_TOKENS)), 3).medians)
    per_token = seconds / MANY_TOKENS / model.config.n_layers
    n = model.config.n_layers
    suffixes = sum(case.tokens - p for p in case.positions)
    rows = case.tokens * n + suffixes * n * (n - 1) // 2
    return SAMPLES * rows * per_token


@torch.no_grad()
def measure(case: Case, layers: int, cells: int, repeats: int) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    theirs = reference(case.architecture, layers, WIDTH, VOCAB).eval()
    ours = ms.load(theirs)
    ids = torch.randint(0, VOCAB, (1, case.tokens))
    noise = 0.06 * torch.randn(SAMPLES, SUBJECT.stop - SUBJECT.start, WIDTH)
    clean = ours.run(ids, record=["resid_post"], logits="last")
    assert clean.logits is not None
    answer = int(clean.logits[0].argmax())
    corrupt = ms.Edit(
        site="embed", op="add", positions=range(SUBJECT.start, SUBJECT.stop), value=noise
    )
    base = BaseRun([ids[0].tolist()] * SAMPLES, (corrupt,))
    grid = [(layer, p) for layer in range(layers) for p in case.positions]
    variants = [
        Variant(
            (ms.Edit(site="resid_post", layers=n, positions=p, value=clean["resid_post", n][0, p]),)
        )
        for n, p in grid
    ]
    metrics = {"p": answer_probability(answer)}
    scores = replay(ours, base, variants, metrics).scores["p"].mean(1)
    hooks = ByHooks(theirs, ids, noise, answer)
    chosen = random.Random(0).sample(range(len(grid)), cells)
    hooks.cell(*grid[chosen[0]])
    slow, fast, gap = [], [], 0.0
    for number, index in enumerate(chosen):
        started = time.perf_counter()
        found = hooks.cell(*grid[index])
        slow.append(time.perf_counter() - started)
        gap = max(gap, abs(found - scores[index]))
        if number % (len(chosen) // repeats) == 0:
            started = time.perf_counter()
            replay(ours, base, variants, metrics)
            fast.append(time.perf_counter() - started)
    naive, mine = statistics.mean(slow) * len(grid), statistics.median(fast)
    bound = products(ours, case)
    return (
        f"| {case.architecture}, T {case.tokens} | {len(grid)} | {mine:.2f} s | {naive:.0f} s "
        f"| {naive / mine:.1f} ({case.goal:g}) | {bound:.2f} s | {bound / mine:.0%} (50%) | {gap:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the layers, fewer cells")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    layers, cells, repeats = (LAYERS // 4, 4, 1) if chosen.quick else (LAYERS, 12, 3)
    print(f"{layers} layers, {chosen.threads} threads, torch {torch.__version__}\n")
    print(
        "| case | cells | replay | hooks | times faster (goal) | products | share (goal) | largest gap |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(
            measure(case, layers // (2 if case.architecture == "GPT-2" else 1), cells, repeats),
            flush=True,
        )


if __name__ == "__main__":
    main()
