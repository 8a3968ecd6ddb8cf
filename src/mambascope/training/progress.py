"""The progress bar of a training: steps, loss and tokens per second, both smoothed."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SMOOTHING = 0.95


class TrainingProgress:
    """A bar on a terminal; a line every hundred steps elsewhere."""

    def __init__(self, console: Console, steps: int, first: int) -> None:
        self._console, self._steps, self._done = console, steps, first
        self._loss = self._speed = float("nan")
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=first, figures="")

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, loss: float, tokens_per_second: float) -> None:
        """One step is done."""
        self._done += 1
        self._loss = _smooth(self._loss, loss)
        self._speed = _smooth(self._speed, tokens_per_second)
        figures = f"loss {self._loss:.3f}, {self._speed:,.0f} tokens/s"
        self._bar.update(self._task, completed=self._done, figures=figures)
        if not self._console.is_terminal and self._done % 100 == 0:
            self._console.print(f"step {self._done} of {self._steps}: {figures}")


def _smooth(mean: float, value: float) -> float:
    return value if mean != mean else SMOOTHING * mean + (1 - SMOOTHING) * value
