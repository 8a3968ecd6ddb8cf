"""Forward passes and training steps against transformers, on the same random weights, in one process.

    python benchmarks/forward.py [--quick] [--threads 2]

Prints Markdown tables. `ours` is the backbone without the unembedding, `products` the matrix products of the same shapes
alone on the fastest backend, `share` their part of our time. Both sides are measured in turn and reported as medians, so
that a busy machine disturbs both; yet figures from a busy machine are worth little.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _shared import LAYERS, VOCAB, WIDTH, Timing, products_of, reference
from torch import nn

import mambascope as ms
from mambascope.sites import Segments

CASES = (("Mamba-1", 10, 64), ("Mamba-1", 10, 12), ("Mamba-2", 10, 12), ("Mamba-2", 10, 64))
GOALS = {
    ("Mamba-1", 64): (6.0, 0.5),
    ("Mamba-1", 12): (2.5, 0.5),
    ("Mamba-2", 12): (30.0, 0.4),
    ("Mamba-2", 64): (6.0, 0.4),
}


def backbone_of(model: ms.LanguageModel, ids: torch.Tensor) -> Callable[[], Any]:
    """Our backbone on a rectangular batch."""
    segments = Segments.of([ids.shape[1]] * ids.shape[0])

    def call() -> torch.Tensor:
        tap = model.tap(segments)
        resid, _ = model.backbone(model.embed(ids.flatten(), segments, tap), segments, None, tap)
        return model.final_norm(resid)

    return call


@torch.no_grad()
def forward_table(layers: int, repeats: int) -> None:
    print(
        "| case | ours | transformers | times faster (goal) | products | share (goal) | largest gap |"
    )
    print("|---|---|---|---|---|---|---|")
    models: dict[str, tuple[nn.Module, ms.LanguageModel]] = {}
    for architecture, rows, steps in CASES:
        if architecture not in models:
            theirs = reference(architecture, layers, WIDTH, VOCAB).eval()
            models = {architecture: (theirs, ms.load(theirs))}
        theirs, ours = models[architecture]
        ids = torch.randint(0, VOCAB, (rows, steps))
        run = backbone_of(ours, ids)
        body: Any = theirs.backbone
        gap = float((run().view(rows, steps, -1) - body(ids).last_hidden_state).abs().max())
        quick = Timing.of([run, *products_of(ours, rows * steps)], 4 * repeats).medians
        slow = Timing.of([run, lambda body=body, ids=ids: body(ids)], repeats).medians
        faster, share = slow[1] / slow[0], min(quick[1:]) / quick[0]
        goal = GOALS[architecture, steps]
        print(
            f"| {architecture}, B {rows}, T {steps} | {quick[0] * 1e3:.0f} ms | {slow[1] * 1e3:.0f} ms "
            f"| {faster:.1f} ({goal[0]:g}) | {min(quick[1:]) * 1e3:.0f} ms "
            f"| {share:.0%} ({goal[1]:.0%}) | {gap:.1e} |",
            flush=True,
        )


def training_table(repeats: int) -> None:
    """Forward and backward of a Mamba-1 of 3M parameters, B 16, T 64."""
    theirs = reference("Mamba-1", 14, 160, 4096)
    ours = ms.load(theirs).train().requires_grad_(True)
    ids = torch.randint(0, 4096, (16, 65))
    past, target = ids[:, :-1], ids[:, 1:].flatten()
    segments = Segments.of([past.shape[1]] * len(past))

    def our_step() -> None:
        logits, _ = ours(past.flatten(), segments)
        assert logits is not None
        F.cross_entropy(logits, target).backward()

    def their_step() -> None:
        F.cross_entropy(theirs(past).logits.flatten(0, 1), target).backward()

    mine, other = Timing.of([our_step, their_step], repeats).medians
    count = sum(np.prod(p.shape) for p in ours.parameters()) / 1e6
    print("\n| training step | ours | transformers | times faster |")
    print("|---|---|---|---|")
    print(
        f"| Mamba-1, {count:.1f}M parameters, B 16, T 64 | {mine * 1e3:.0f} ms, {past.numel() / mine:,.0f} tokens/s "
        f"| {other * 1e3:.0f} ms, {past.numel() / other:,.0f} tokens/s | {other / mine:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the layers, one repeat")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    layers, repeats = (LAYERS // 4, 1) if chosen.quick else (LAYERS, 3)
    print(f"{layers} layers, {chosen.threads} threads, torch {torch.__version__}\n")
    forward_table(layers, repeats)
    training_table(repeats)


if __name__ == "__main__":
    main()
