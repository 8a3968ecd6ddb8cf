"""The progress of a sweep on stderr: facts done, facts per second, time left. A bar on a terminal, a line a minute elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mambascope.runner.units import Stage

DOING: dict[Stage, str] = {
    "asked": "asking facts",
    "measured": "measuring subjects",
    "traced": "tracing facts",
}
SECONDS = 60.0


class SweepProgress:
    """Told what begins and what is done. Speed and time left count only what this run does itself."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("reading facts", total=None, speed="")
        self._doing = ""
        self._first = self._done = self._total = 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, stage: Stage, done: int, total: int) -> None:
        """A stage begins, in which `done` of `total` facts were done before."""
        self._doing, self._first, self._done, self._total = DOING[stage], done, done, total
        self._began = self._told = time.monotonic()
        self._bar.reset(self._task, description=self._doing, completed=done, total=total, speed="")

    def advance(self, facts: int) -> None:
        """So many more facts are done."""
        self._done += facts
        now = time.monotonic()
        speed = (self._done - self._first) / max(now - self._began, 1e-9)
        self._bar.update(self._task, completed=self._done, speed=f"{speed:.2f} facts/s")
        if not self._console.is_terminal and now - self._told >= SECONDS:
            self._told = now
            left = (self._total - self._done) / speed
            self._console.print(
                f"{self._doing}: {self._done} of {self._total}, {speed:.2f} facts/s, {left:.0f} s left",
                soft_wrap=True,
            )
