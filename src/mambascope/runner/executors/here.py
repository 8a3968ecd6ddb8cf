"""One worker, in this process."""

from collections.abc import Iterator, Sequence
from types import TracebackType

from mambascope.runner.stop import Stop
from mambascope.runner.units import Done, Unit
from mambascope.runner.worker import Worker


class Here:
    """Does one unit after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> "Here":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def run(self, units: Sequence[Unit], stop: Stop) -> Iterator[Done]:
        """See Executor."""
        for unit in units:
            if stop.asked:
                return
            yield self._worker.run(unit)
