"""The progress of a training: steps, loss and speed, both smoothed. A bar on a terminal, a line every hundred steps elsewhere."""

from mambascope.progress import ProgressBar

SMOOTHING = 0.95
STEPS = 100


class TrainingProgress:
    """Told each step when it is done; `first` steps were done before."""

    def __init__(self, bar: ProgressBar, steps: int, first: int) -> None:
        self._bar, self._steps, self._done = bar, steps, first
        self._loss = self._speed = float("nan")
        bar.begin("training", first, steps)

    def advance(self, loss: float, tokens_per_second: float) -> None:
        """One step is done."""
        self._done += 1
        self._loss = _smooth(self._loss, loss)
        self._speed = _smooth(self._speed, tokens_per_second)
        figures = f"loss {self._loss:.3f}, {self._speed:,.0f} tokens/s"
        self._bar.move(self._done, figures)
        if not self._bar.shown and self._done % STEPS == 0:
            self._bar.console.print(f"step {self._done} of {self._steps}: {figures}")


def _smooth(mean: float, value: float) -> float:
    return value if mean != mean else SMOOTHING * mean + (1 - SMOOTHING) * value
