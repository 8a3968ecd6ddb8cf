"""One worker, in this process."""

from collections.abc import Iterator, Sequence

from mambascope.runner.executors.base import Executor
from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit
from mambascope.runner.worker import Worker


class Here(Executor):
    """Does one unit after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """Each unit in its turn."""
        for unit in units:
            if stop.asked:
                return
            yield self._worker.run(unit)

    def close(self, *, at_once: bool) -> None:
        """Nothing was started."""
