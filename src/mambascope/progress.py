"""The bar on stderr: what is done, how much of it, and the time left. Where stderr is no terminal, nothing is drawn."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar for one thing after the other; drawn while it is entered.

    kept:     whether the bar stays on the screen at the end
    estimate: over how many seconds the speed is averaged that the time left follows from
    """

    def __init__(
        self,
        doing: str,
        console: Console | None = None,
        *,
        kept: bool = False,
        estimate: float = 30.0,
    ) -> None:
        self.console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
            transient=not kept,
            disable=not self.shown,
            speed_estimate_period=estimate,
        )
        self._task = self._bar.add_task(doing, total=None, figures="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def shown(self) -> bool:
        """Whether there is a terminal to draw on; elsewhere whoever has something to say prints a line."""
        return self.console.is_terminal

    def begin(self, doing: str, done: int, total: int) -> None:
        """Something else begins, of which `done` was done before; speed and time left start anew."""
        self._bar.reset(self._task, description=doing, completed=done, total=total, figures="")

    def move(self, done: int, figures: str = "") -> None:
        """So much is done in all; `figures` are shown beside it."""
        self._bar.update(self._task, completed=done, figures=figures)

    def follow(self, doing: str) -> Callable[[int, int], None]:
        """What a method takes as its `progress`: told (done, total) of what it is doing, it moves the bar."""

        def advance(done: int, total: int) -> None:
            self._bar.update(self._task, description=doing, completed=done, total=total)

        return advance
