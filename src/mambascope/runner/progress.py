"""The progress of a sweep: facts done, facts per second, time left. A bar on a terminal, a line a minute elsewhere."""

import time

from mambascope.progress import ProgressBar

SECONDS = 60.0


class SweepProgress:
    """Told what begins and what is done. Speed and time left count only what this run does itself."""

    def __init__(self, bar: ProgressBar, noun: str = "facts") -> None:
        self._bar, self._noun = bar, noun
        self._doing = ""
        self._first = self._done = self._total = 0
        self._began = self._told = time.monotonic()

    def begin(self, doing: str, done: int, total: int) -> None:
        """Something else begins, in which `done` of `total` facts were done before."""
        self._doing, self._first, self._done, self._total = doing, done, done, total
        self._began = self._told = time.monotonic()
        self._bar.begin(self._doing, done, total)

    def advance(self, facts: int) -> None:
        """So many more facts are done."""
        self._done += facts
        now = time.monotonic()
        speed = (self._done - self._first) / max(now - self._began, 1e-9)
        self._bar.move(self._done, f"{speed:.2f} {self._noun}/s")
        if not self._bar.shown and now - self._told >= SECONDS:
            self._told = now
            left = (self._total - self._done) / speed
            self._bar.console.print(
                f"{self._doing}: {self._done} of {self._total}, {speed:.2f} {self._noun}/s, {left:.0f} s left",
                soft_wrap=True,
            )
