"""The same cells by TransformerLens' bridge, in an environment of its own, between replays of the whole grid here."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from _grid import SAMPLES, SUBJECT, Grid
from _shared import Timing

SCRIPT = Path(__file__).with_name("transformer_lens_cells.py")


def bridge_row(grid: Grid, cells: int, python: Path, threads: int) -> str:
    """One row of the table: the mean of some cells times the number of cells, against a replay of them all."""
    chosen = grid.some_cells(cells)
    before = Timing.of([grid.replayed], 2).medians[0]
    found = _cells(grid, chosen, python, threads)
    mine = statistics.median([before, Timing.of([grid.replayed], 2).medians[0]])
    naive = statistics.mean(found["seconds"]) * len(grid.cells)
    scores = grid.replayed()
    gap = max(abs(score - scores[i]) for i, score in zip(chosen, found["scores"], strict=True))
    return (
        f"| {grid.architecture}, T {grid.tokens} | {mine:.2f} s | {naive:.0f} s | {naive / mine:.1f} "
        f"| {gap:.1e} |"
    )


def _cells(grid: Grid, chosen: list[int], python: Path, threads: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid.theirs.save_pretrained(folder / "model")
        torch.save(grid.noise, folder / "noise.pt")
        asked = {
            "ids": grid.ids[0].tolist(),
            "subject": [SUBJECT.start, SUBJECT.stop],
            "samples": SAMPLES,
            "answer": grid.answer,
            "threads": threads,
            "cells": [grid.cells[i] for i in chosen],
        }
        (folder / "grid.json").write_text(json.dumps(asked))
        done = subprocess.run([python, SCRIPT, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{SCRIPT.name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
