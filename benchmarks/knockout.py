"""Knockouts of the subject for the last token, all windows of nine layers, against hooks on transformers, on the same weights.

    python benchmarks/knockout.py [--threads 2] [--prompts 64] [--quick]

The naive side is a prompt and a window at a time: a forward pass of the transformers model in which hooks on the window's
mixers recompute their scan in PyTorch, token by token, with a second state that lacks the subject's writes for the last token.
Like any hook it recomputes what the mixer has just computed, and transformers' Mamba-2 pads each prompt to 256 tokens. `bare`
does without both: the same PyTorch in place of every layer's mixer. Both are timed on some cells, by turns with ours, and their
time is that per cell times the number of windows. The script fails if our largest error in these cells, from float64, is more
than twice theirs, or either is large. `ours` is one replay of all windows of all prompts; `alone` one of a single prompt, as
`ms.knockout` does it.
"""

import argparse
import random

import numpy as np
import torch
from _shared import LAYERS, Timing
from _windows import Setting

GOALS = {"Mamba-1": 30.0, "Mamba-2": 150.0}
CELLS = 6
AGREEING = 2e-3  # the largest error, of the largest change that the cuts make in a probability
AS_GOOD = 2.0  # times the other sides' largest error: the most that ours may be
HEAD = (
    "case", "prompts/s, ours", "alone", "hooks, s per prompt", "times faster (goal)", "alone",
    "bare, s per prompt", "times faster", "largest error", "theirs (change)",
)  # fmt: skip


@torch.no_grad()
def table(layers: int, prompts: int, repeats: int) -> None:
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for architecture, goal in GOALS.items():
        setting = Setting(architecture, layers, prompts)
        draw = random.Random(0)
        cells = [(draw.randrange(prompts), draw.choice(setting.starts)) for _ in range(CELLS)]
        error, other, change = agreement(setting, cells)
        calls = [
            lambda setting=setting: setting.replayed(prompts),
            lambda setting=setting: setting.replayed(1),
            lambda setting=setting, cells=cells: [setting.hooked(p, s) for p, s in cells],
            lambda setting=setting, cells=cells: [setting.bare(p, s) for p, s in cells],
        ]
        together, alone, *naive = Timing.of(calls, repeats).medians
        hooks, bare = (seconds / CELLS * len(setting.starts) for seconds in naive)
        print(
            f"| {architecture} | {prompts / together:.1f} | {1 / alone:.1f} | {hooks:.2f} "
            f"| {hooks * prompts / together:.0f} ({goal:g}) | {hooks / alone:.0f} "
            f"| {bare:.2f} | {bare * prompts / together:.0f} | {error:.1e} | {other:.1e} ({change:.1e}) |",
            flush=True,
        )


def agreement(setting: Setting, cells: list[tuple[int, int]]) -> tuple[float, float, float]:
    """The largest error of our probabilities in some cells, that of the other sides, and how far the cuts move them at most.

    Errors are taken from float64. The models are deep and random, so that rounding alone moves all of them.
    """
    grid, exact = setting.replayed(setting.prompts), setting.exact([p for p, _ in cells])
    ours = np.array([grid[s, p] for p, s in cells])
    true = np.array([exact[s, number] for number, (_, s) in enumerate(cells)])
    theirs = np.array([[setting.hooked(p, s), setting.bare(p, s)] for p, s in cells])
    plain = np.array([setting.probability(p) for p, _ in cells])
    error, other = abs(ours - true).max(), abs(theirs - true[:, None]).max()
    change = abs(plain - true).max()
    if error > AS_GOOD * other or max(error, other) > AGREEING * change:
        raise SystemExit(
            f"the errors are {error:.1e} (ours) and {other:.1e} where the cuts change {change:.1e}"
        )
    return error, other, change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="ten layers, eight prompts")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    layers, prompts, repeats = (10, 8, 1) if chosen.quick else (LAYERS, chosen.prompts, 3)
    print(
        f"{layers} layers, {prompts} prompts, {chosen.threads} threads, torch {torch.__version__}\n"
    )
    table(layers, prompts, repeats)


if __name__ == "__main__":
    main()
