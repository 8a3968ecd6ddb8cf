"""A whole causal-trace grid by replay against forward hooks on transformers, on the same random weights, in one process.

    python benchmarks/replay.py [--quick] [--threads 2] [--transformer-lens PYTHON]

Prints Markdown tables. Each case restores the clean residual after every layer at every position from the subject on, with
ten noise samples. `hooks` is the mean of some random cells times the number of cells; `products` the time that the matrix
products of the rows and layers that have to be computed take at the fastest speed measured here, `share` their part of
our time, `PyTorch's` the part that they would be at the speed of PyTorch's own products. With the Python of an environment
that has TransformerLens 4, its bridge fills the same cells of the Mamba cases (transformer_lens_cells.py). Then how
replay's time grows with the number of tokens and of layers, and the memory that it takes under several budgets.
"""

import argparse
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from _bridge import bridge_row
from _grid import SAMPLES, ByHooks, Grid
from _shared import LAYERS, Timing, peak_memory, products_of

MANY_TOKENS = 2048


@dataclass(frozen=True)
class Case:
    """One grid and its goal."""

    architecture: str
    tokens: int
    stride: int
    goal: float

    def grid(self, layers: int) -> Grid:
        """The grid; a GPT-2 has half as many layers, as GPT-2 small has."""
        half = 2 if self.architecture == "GPT-2" else 1
        return Grid(self.architecture, layers // half, self.tokens, self.stride)


CASES = (
    Case("Mamba-1", 12, 1, 20),
    Case("Mamba-1", 64, 8, 30),
    Case("Mamba-2", 12, 1, 150),
    Case("GPT-2", 12, 1, 5),
)


def products(grid: Grid) -> tuple[float, float]:
    """Seconds that the products of the rows which must be computed take at the fastest speed at hand, and at PyTorch's."""
    seconds = Timing.of(list(products_of(grid.ours, MANY_TOKENS)), 3).medians
    each = grid.rows / MANY_TOKENS / grid.layers
    return each * min(seconds), each * seconds[0]


def measure(case: Case, grid: Grid, cells: int, repeats: int) -> str:
    """One row of the table."""
    scores = grid.replayed()
    hooks = ByHooks(grid)
    chosen = grid.some_cells(cells)
    hooks.cell(*grid.cells[chosen[0]])
    slow, fast, gap = [], [], 0.0
    for number, index in enumerate(chosen):
        started = time.perf_counter()
        found = hooks.cell(*grid.cells[index])
        slow.append(time.perf_counter() - started)
        gap = max(gap, abs(found - scores[index]))
        if number % (len(chosen) // repeats) == 0:
            started = time.perf_counter()
            grid.replayed()
            fast.append(time.perf_counter() - started)
    naive, mine = statistics.mean(slow) * len(grid.cells), statistics.median(fast)
    bound, plain = products(grid)
    return (
        f"| {case.architecture}, T {case.tokens} | {len(grid.cells)} | {mine:.2f} s | {naive:.0f} s "
        f"| {naive / mine:.1f} ({case.goal:g}) | {bound:.2f} s | {bound / mine:.0%} (50%) | {plain / mine:.0%} | {gap:.1e} |"
    )


def growth(layers: int) -> None:
    """How the time of a whole Mamba-1 grid grows with T and with L."""
    sizes = [(t, layers // 2) for t in (8, 16, 32)] + [(16, n) for n in (layers // 4, layers)]
    print("\n| layers | tokens | cells | rows x layers | replay | per row and layer |")
    print("|---|---|---|---|---|---|")
    for tokens, n_layers in sorted(sizes, key=lambda size: (size[1], size[0])):
        grid = Grid("Mamba-1", n_layers, tokens)
        seconds = Timing.of([grid.replayed], 2).medians[0]
        print(
            f"| {n_layers} | {tokens} | {len(grid.cells)} | {grid.rows:,} | {seconds:.2f} s "
            f"| {seconds / grid.rows * 1e6:.1f} µs |",
            flush=True,
        )


def memory(layers: int, threads: int) -> None:
    """What a replay takes beyond the model under several budgets, each in a process of its own; the result is the same.

    All take MKL for their products: left alone, each process measures which is faster, and two of them may differ in rounding.
    """
    os.environ["MAMBASCOPE_LINEAR"] = "mkl"
    print("\n| budget | peak | time | largest gap |")
    print("|---|---|---|---|")
    first = None
    for budget in (2**30, 2**28, 2**26, 2**24):
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            scores, peak, seconds = fresh.submit(within, budget, layers, threads).result()
        first = scores if first is None else first
        print(
            f"| {budget / 2**20:.0f} MiB | {peak / 2**20:.0f} MiB | {seconds:.2f} s "
            f"| {abs(scores - first).max():.1e} |",
            flush=True,
        )


@torch.no_grad()
def within(budget: int, layers: int, threads: int) -> tuple[np.ndarray, int, float]:
    """The scores of a grid replayed within a budget, the peak beyond the model in bytes, and the seconds that it took."""
    torch.set_num_threads(threads)
    Grid("Mamba-1", 1, 8).replayed()  # the kernels are compiled and the weights' copies made before
    grid = Grid("Mamba-1", layers, 32)
    grid.ours.run(grid.ids)
    started = time.perf_counter()
    scores, peak = peak_memory(lambda: grid.replayed(budget))
    return scores, peak, time.perf_counter() - started


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the layers, fewer cells")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--transformer-lens", type=Path, help="a Python that has TransformerLens 4")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    layers, cells, repeats = (LAYERS // 4, 4, 1) if chosen.quick else (LAYERS, 12, 3)
    print(
        f"{layers} layers, {SAMPLES} samples, {chosen.threads} threads, torch {torch.__version__}\n"
    )
    print(
        "| case | cells | replay | hooks | times faster (goal) | products | share (goal) | PyTorch's | largest gap |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    bridged = []
    for case in CASES:
        grid = case.grid(layers)
        print(measure(case, grid, cells, repeats), flush=True)
        if chosen.transformer_lens and case.architecture != "GPT-2" and case.tokens == 12:
            bridged.append(bridge_row(grid, cells, chosen.transformer_lens, chosen.threads))
    if bridged:
        print("\n| case | replay | TransformerLens' bridge | times faster | largest gap |")
        print("|---|---|---|---|---|", *bridged, sep="\n")
    growth(layers)
    memory(layers // 2, chosen.threads)


if __name__ == "__main__":
    main()
