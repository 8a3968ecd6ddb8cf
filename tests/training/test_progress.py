"""Where stderr is no terminal, a training says every hundred steps where it is."""

import io

import pytest
from rich.console import Console

from mambascope.progress import ProgressBar
from mambascope.training.progress import SMOOTHING, TrainingProgress


def test_every_hundred_steps_are_a_line_with_the_smoothed_figures():
    on = Console(file=io.StringIO(), force_terminal=False, width=120)
    with ProgressBar("training", on) as bar:
        progress = TrainingProgress(bar, 250, 98)
        losses = [4.0, 2.0, *[1.0] * 101]
        for loss in losses:
            progress.advance(loss, 1000.0)
    lines = on.file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 100 of 250", "step 200 of 250"]
    assert lines[0].endswith("loss 3.900, 1,000 tokens/s")
    at_200 = 1 + (0.95 * 4 + 0.05 * 2 - 1) * SMOOTHING**100
    assert float(lines[1].split()[5].rstrip(",")) == pytest.approx(at_200, abs=5e-4)
