"""Ctrl-C once: what is in flight is finished and written, and nothing new begins. Ctrl-C again: stop at once."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """Whether someone pressed Ctrl-C while this was entered."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        message = "finishing what is in flight; press Ctrl-C again to stop at once"
        print(f"\nmambascope: {message}", file=sys.stderr, flush=True)
