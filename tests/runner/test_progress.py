"""Where stderr is no terminal, a sweep says once a minute how far it is, by the speed of this run alone."""

import io

from rich.console import Console

from mambascope.progress import ProgressBar
from mambascope.runner.progress import SweepProgress


def test_a_line_a_minute_says_speed_and_time_left(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("mambascope.runner.progress.time.monotonic", lambda: clock[0])
    on = Console(file=io.StringIO(), force_terminal=False, width=120)
    with ProgressBar("reading facts", on) as bar:
        progress = SweepProgress(bar)
        progress.begin("tracing facts", 40, 100)
        for _ in range(5):  # 4 facts in each 20 seconds; 40 were done before
            clock[0] += 20
            progress.advance(4)
    assert on.file.getvalue() == "tracing facts: 52 of 100, 0.20 facts/s, 240 s left\n"
